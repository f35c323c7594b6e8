"""Held-out prompts never overlap those that are trained on."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from ivideo.config.presets import PRESETS
from ivideo.config.settings import FinetuneSettings
from ivideo.errors import IvideoError
from ivideo.inputs.prompts import Prompt
from ivideo.metrics.registry import compared
from ivideo.progress import Silence
from ivideo.scoring.clips import ClipScore
from ivideo.training import heldout
from ivideo.training.heldout import add_second_reward, evaluate_heldout, split_heldout, spread

PROMPTS = [f"prompt {i}" for i in range(25)]


def make_settings(model: str = "some/model", **values: object) -> FinetuneSettings:
    return FinetuneSettings(**{**PRESETS["emoji-world"]["default"], "model": model, **values})


def test_a_tenth_is_kept_from_training() -> None:
    training, kept = split_heldout(PROMPTS, make_settings(), None)
    assert kept == ["prompt 0", "prompt 10", "prompt 20"]
    assert sorted([*training, *kept]) == sorted(PROMPTS)


def test_a_clip_of_several_captions_is_held_out_by_its_first() -> None:
    clips = [["held", "a calf"], ["a dog"], ["a calf", "held"], ["a pig", Prompt("a pig", "fog")]]
    training, kept = split_heldout(clips, make_settings(), None)
    assert kept == ["held"]
    assert training == ["a dog", "a calf", "a pig", "a pig"]
    training, kept = split_heldout(clips, make_settings(), ["a calf", Prompt("new", seed=3)])
    assert (len(training), kept, kept[0].seed) == (5, ["new"], 3)


def test_given_prompts_are_taken_but_for_those_that_are_trained_on() -> None:
    training, kept = split_heldout(PROMPTS, make_settings(), ["new", "prompt 3", "new", "other"])
    assert training == PROMPTS
    assert kept == ["new", "other"]


def test_the_bundled_model_brings_its_own() -> None:
    own = split_heldout(PROMPTS, make_settings("emoji-world", num_eval_prompts=500), None)[1]
    training, kept = split_heldout([*PROMPTS, own[0]], make_settings("emoji-world", num_eval_prompts=30), None)
    assert own[0] in training
    assert len(kept) == 30
    assert set(kept) < set(own[1:])


def test_fewer_held_out_prompts_are_spread_over_the_list() -> None:
    assert spread(["a", "b", "c", "d"], 2) == ["a", "c"]
    assert spread(["a", "b", "c"], 5) == ["a", "b", "c"]
    assert spread([], 5) == []


@pytest.mark.parametrize("heldout", [None, ["new"]])
def test_nothing_is_kept_without_evaluation(heldout: list[str] | None) -> None:
    assert split_heldout(PROMPTS, make_settings(evaluate=False), heldout) == (PROMPTS, [])


@pytest.mark.parametrize(
    ("prompts", "heldout", "message"),
    [(["one"], None, "one prompt cannot be"), (PROMPTS, PROMPTS[:2], "every held-out prompt is also trained on")],
)
def test_nothing_left_to_evaluate_on_is_told(prompts: list[str], heldout: list[str] | None, message: str) -> None:
    with pytest.raises(IvideoError, match=message):
        split_heldout(prompts, make_settings(), heldout)


class Listener(Silence):
    """Remembers what was said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, message: str) -> None:
        self.said.append(message)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Prompt and seed of every clip that was made; clips hold their seed, which is their reward, too."""
    clips: list[tuple[str, int]] = []

    def make(model: Any, generation: Any, prompt: str, seed: int) -> np.ndarray:
        clips.append((prompt, seed))
        return np.full((1, 2, 2, 3), seed, np.uint8)

    def score(reward_model: Any, clip: np.ndarray, prompt: str, generation: Any, *, fps: float) -> ClipScore:
        assert fps == generation.fps
        value = float(clip[0, 0, 0, 0])
        figures = dict.fromkeys(compared(), 1.0) | {"reward": value, "motion": 2 * value}
        return ClipScore(figures, {"first": value, "second": -value}, [0], [value], [0])

    monkeypatch.setattr(heldout, "generate_clip", make)
    monkeypatch.setattr(heldout, "score_clip", score)
    return clips


def evaluate(step: int, **options: Any) -> heldout.Evaluation:
    settings = make_settings(num_watched_prompts=2, seed=10)
    model: Any = SimpleNamespace(num_workers=1, network=torch.nn.Identity())
    reward_model: Any = None
    return evaluate_heldout(model, reward_model, ["a", "b", "c", "d"], settings, Silence(), step, **options)


def test_a_prompt_has_the_same_seed_whether_all_are_evaluated_or_a_few(made: list[tuple[str, int]]) -> None:
    assert evaluate(9, watched_only=True).indices == [0, 2]
    assert made == [("a", 10), ("c", 12)]
    made.clear()
    assert evaluate(0).indices == [0, 1, 2, 3]
    assert made == [("a", 10), ("b", 11), ("c", 12), ("d", 13)]


def test_a_record_is_of_the_watched_prompts_whatever_was_evaluated(made: list[tuple[str, int]]) -> None:
    few, all_of_them = evaluate(9, watched_only=True), evaluate(9)
    assert few.record() == all_of_them.record()
    assert few.values["reward"] == 11
    assert few.values["second"] == -11
    assert few.values["motion"] == 22
    assert few.record()["by_prompt"]["second"] == [-10, -12]
    assert all_of_them.find(3)[1].reward == 13


def test_known_clips_are_not_made_again(made: list[tuple[str, int]]) -> None:
    few = evaluate(9, watched_only=True)
    made.clear()
    full = evaluate(9, known=few)
    assert made == [("b", 11), ("d", 13)]
    assert [score.reward for score in full.scores] == [10, 11, 12, 13]
    assert full.clips[2] is few.clips[1]


def test_an_evaluation_leaves_the_global_draws_alone() -> None:
    from ivideo.config.settings import generation_settings
    from ivideo.generating import open_model
    from ivideo.rewards.registry import load_rewards

    small = {"num_frames": 4, "num_segments": 4, "num_grad_steps": 1}
    small |= {"num_inference_steps": 2, "generation_num_inference_steps": 2}
    settings = make_settings("emoji-world", **small)
    model, reward_model = (
        open_model(generation_settings(settings)),
        load_rewards("emoji-preference", torch.device("cpu")),
    )
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first, again = (evaluate_heldout(model, reward_model, ["a pig"], settings, Silence(), step) for step in (0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(first.clips[0], again.clips[0])
    assert first.values == again.values


@pytest.mark.parametrize(
    ("found", "settings", "reward", "said"),
    [
        ("clip", {"reward": "hpsv2"}, ("hpsv2", "clip"), "second reward model, not trained on: clip"),
        (None, {"reward": "hpsv2"}, "hpsv2", "no second reward model: only"),
        ("clip", {"reward": ("hpsv2", "pickscore")}, ("hpsv2", "pickscore"), "not trained on: pickscore"),
        ("clip", {"reward": "hpsv2", "min_judge": 0}, "hpsv2", ""),
        ("clip", {"reward": "hpsv2", "eval_every": 0}, "hpsv2", ""),
        ("clip", {"reward": "hpsv2", "evaluate": False}, "hpsv2", ""),
    ],
)
def test_a_second_reward_model_joins_where_there_is_one_and_it_is_told(
    found: str | None, settings: dict[str, Any], reward: object, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heldout, "find_second_reward", lambda reward: found)
    listener = Listener()
    assert add_second_reward(make_settings(**settings), listener).reward == reward
    assert len(listener.said) == bool(said)
    assert said in "".join(listener.said)
