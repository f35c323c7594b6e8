"""The command: a reward model and a classifier read their answers from the clip; and once on the bundled model."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from examples.emoji_world import evaluate as command
from examples.emoji_world import renderer
from examples.emoji_world.captions import MOTIONS, PLACES, SUBJECTS, Scene
from examples.emoji_world.evaluate import Sources, evaluate, main, plan_clips
from examples.emoji_world.evaluation import records
from examples.emoji_world.evaluation.records import measure_clips
from examples.emoji_world.evaluation.sources import Source, clean_source
from ivideo.config.presets import preset_for
from ivideo.config.settings import GenerationSettings
from ivideo.errors import IvideoError, UsageError
from ivideo.progress import Silence
from ivideo.rewards.contract import RewardModel
from ivideo.rewards.mixture import Rewards

SETTINGS = GenerationSettings(
    **{k: v for k, v in preset_for("emoji-world").items() if k in GenerationSettings.model_fields}, model="emoji-world"
)
AXES = torch.eye(3)
CAT, OWL = "a cat running at night", "an owl"


def make_clip(scene, reward=0, axis=0):
    """A clip whose first pixel says what it shows, its second one what it is worth and where its features point."""
    clip = np.zeros((16, 16, 16, 3), np.uint8)
    clip[:, 0, 0] = SUBJECTS.index(scene.subject), MOTIONS.index(scene.motion), PLACES.index(scene.place)
    clip[:, 0, 1] = reward, axis, 0
    return clip


class StandInClassifier:
    def classify(self, clips):
        subjects, motions, places = clips[:, 0, 0, 0].T
        return SimpleNamespace(
            subjects=[SUBJECTS[i] for i in subjects],
            motions=[MOTIONS[i] for i in motions],
            places=[PLACES[i] for i in places],
            features=AXES[clips[:, 0, 0, 1, 1].astype(int)],
        )


class StandIn(RewardModel):
    name = label = "stand-in"

    def score(self, frames, prompts, times):
        return frames[:, :, 0, 0, 1] * 255


def test_each_clip_gets_its_own_measurements(monkeypatch):
    monkeypatch.setattr(records, "CLASSIFIER_BATCH", 2)
    night, snow = Scene("cat", "running", "at night"), Scene("owl", "flying", "in the snow")
    clips = np.stack([make_clip(night, 3, 0), make_clip(snow, 5, 1), make_clip(night, 7, 2)])
    measured = measure_clips(clips, [CAT, CAT, OWL], Rewards.of(StandIn()), StandInClassifier(), SETTINGS, Silence())
    assert [m.prompt for m in measured] == [CAT, CAT, OWL]
    assert [m.values["reward"] for m in measured] == pytest.approx([3, 5, 7])
    assert [m.values["subject_accuracy"] for m in measured] == [1, 0, 0]
    assert [m.values.get("motion_accuracy") for m in measured] == [1, 0, None]
    assert [m.values["flicker"] for m in measured] == [1, 1, 1]
    assert [m.features.argmax() for m in measured] == [0, 1, 2]


def test_seeds_are_never_shared_and_a_longer_plan_keeps_them():
    plan = plan_clips(["a", "b"], 2, 5)
    assert plan == [("a", 5), ("a", 6), ("b", 1005), ("b", 1006)]
    assert {*plan} < {*plan_clips(["a", "b", "c"], 3, 5)}
    for count in (0, 1001):
        with pytest.raises(UsageError, match="--num-seeds"):
            plan_clips(["a"], count, 0)


def test_every_source_stands_where_it_belongs(tmp_path):
    night = Scene("cat", "running", "at night")

    def worth(name, reward):
        return Source(name, name, lambda: lambda prompt, seed: make_clip(night, reward + (prompt == CAT), seed))

    result = evaluate(
        {"one": [(CAT, 0), (CAT, 1)], "two": [(OWL, 0), (OWL, 1)]},
        Sources(worth("clean", 90), worth("trip", 50), worth("base", 10), [worth("x", 20), worth("y", 40)]),
        SETTINGS,
        rewards=Rewards.of(StandIn()),
        classifier=StandInClassifier(),
        cache=tmp_path,
    )
    one, two = result["one"], result["two"]
    assert [one[name]["reward"] for name in ("clean", "round_trip", "base")] == pytest.approx([91, 51, 11])
    assert [two[name]["reward"] for name in ("clean", "round_trip", "base")] == pytest.approx([90, 50, 10])
    assert [(run["name"], run["metrics"]["reward"]["mean"]) for run in one["runs"]] == [("x", 21), ("y", 41)]
    assert two["pooled"]["gap_to_round_trip_closed"]["share"] == pytest.approx(0.5)
    assert (one["num_prompts"], one["num_videos"]) == (1, 2)
    assert (one["base"]["subject_accuracy"], two["base"]["subject_accuracy"]) == (1, 0)
    assert two["base"]["diversity"] == pytest.approx(2**0.5)


def write_run_of_another_model(folder):
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "modelscope"}')


@pytest.mark.parametrize(
    ("arguments", "prepare", "message", "code"),
    [
        (["RUN/none"], None, "does not exist", 1),
        (["RUN"], None, "is neither a run folder", 1),
        (["RUN"], write_run_of_another_model, "was trained on modelscope", 1),
        (["--max-prompts", "0"], None, "--max-prompts 0: at least 1", 2),
        (["--num-seeds", "0"], None, "--num-seeds 0: from 1", 2),
        (["--num-inference-steps", "0"], None, "`num_inference_steps` 0", 2),
    ],
)
def test_bad_input_is_one_line(arguments, prepare, message, code, tmp_path, capsys):
    if prepare:
        prepare(tmp_path)
    with pytest.raises(SystemExit) as stopped:
        main([argument.replace("RUN", str(tmp_path)) for argument in arguments], StandInClassifier())
    output, errors = capsys.readouterr()
    assert (stopped.value.code, output, errors.count("\n")) == (code, "", 1)
    assert errors.startswith("error: ")
    assert message in errors


def test_a_missing_font_or_classifier_says_how_to_get_it(monkeypatch, tmp_path):
    def no_weights():
        raise FileNotFoundError("weights are missing: train them")

    monkeypatch.setattr("examples.emoji_world.classifier.load_classifier", no_weights)
    with pytest.raises(IvideoError, match="train them"):
        command.open_classifier()
    monkeypatch.setattr(renderer, "FONT_PATH", tmp_path / "none.ttf")
    with pytest.raises(IvideoError, match=r"none\.ttf is missing: apt-get install"):
        clean_source()


class FeaturelessClassifier:
    def classify(self, clips):
        assert clips.shape[1:] == (16, 64, 64, 3)
        n = len(clips)
        return SimpleNamespace(
            subjects=["cat"] * n, motions=["running"] * n, places=["at night"] * n, features=AXES[:n]
        )


@pytest.mark.needs_font
def test_the_whole_command_on_the_bundled_model(tmp_path, capsys):
    arguments = ["--splits", "heldout", "--max-prompts", "1", "--num-seeds", "1", "--num-inference-steps", "1"]
    outputs = []
    for _ in range(2):
        main([*arguments, "--cache", str(tmp_path), "--format", "json"], FeaturelessClassifier())
        outputs.append(capsys.readouterr())
    assert outputs[0].out == outputs[1].out
    assert ["clips of base: 1 made in" in output.err for output in outputs] == [True, False]
    result = json.loads(outputs[0].out)
    assert result["schema_version"] == 1
    expected = {"model": "emoji-world", "num_inference_steps": 1, "num_seeds": 1, "seed": 0, "runs": []}
    assert expected.items() <= result["settings"].items()
    split = result["splits"]["heldout"]
    assert (split["num_prompts"], split["runs"], split["base"]["diversity"]) == (1, [], None)
    assert split["clean"]["reward"] > split["base"]["reward"]
    main([*arguments, "--cache", str(tmp_path)], FeaturelessClassifier())
    assert f"{split['base']['reward']:.4f}" in capsys.readouterr().out


def test_the_drawn_split_is_of_different_captions_and_always_the_same():
    drawn = command.read_splits(["world"], None)["world"]
    assert len({*drawn}) == len(drawn) == 300
    assert drawn == command.draw_captions()
    assert {word.split()[1] for word in drawn} == {*SUBJECTS}
