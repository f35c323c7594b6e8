"""Held-out prompts never overlap those that are trained on."""

from __future__ import annotations

import pytest

from ivideo.config.presets import PRESETS
from ivideo.config.settings import FinetuneSettings
from ivideo.errors import IvideoError
from ivideo.workflows.heldout import split_heldout, spread

PROMPTS = [f"prompt {i}" for i in range(25)]


def make_settings(model: str = "some/model", **values: object) -> FinetuneSettings:
    return FinetuneSettings(**{**PRESETS["emoji-world"]["default"], "model": model, **values})


def test_a_tenth_is_kept_from_training() -> None:
    training, kept = split_heldout(PROMPTS, make_settings(), None)
    assert kept == ["prompt 0", "prompt 10", "prompt 20"]
    assert sorted([*training, *kept]) == sorted(PROMPTS)


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
