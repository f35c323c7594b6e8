"""The plan holds together: every training is possible, and every name leads somewhere."""

from __future__ import annotations

import re

import pytest

from examples.study.plan import EVALUATIONS, SWEEPS, Training, all_trainings
from examples.study.run import find_wanted
from ivideo.config.settings import FinetuneSettings
from ivideo.errors import UsageError
from ivideo.inputs.settings import resolve_settings
from ivideo.progress import Silence

TRAININGS = all_trainings()


@pytest.mark.parametrize("training", TRAININGS.values(), ids=TRAININGS)
def test_every_training_is_one_that_finetune_takes(training: Training) -> None:
    flags = {"model": "emoji-world", **training.settings}
    settings = resolve_settings(FinetuneSettings, config=None, flags=flags, progress=Silence())
    assert settings.max_steps % settings.eval_every == 0
    assert re.fullmatch(r"[a-z0-9_.-]+", training.name)


def test_sweeps_and_evaluations_name_trainings_that_are_run() -> None:
    named = {name for sweep in SWEEPS.values() for name in sweep.trainings.values()}
    named |= {name for one in EVALUATIONS for name in one.trainings}
    assert named == TRAININGS.keys()


def test_what_others_need_comes_before_them() -> None:
    order = [*TRAININGS]
    for training in TRAININGS.values():
        if training.clips_of:
            assert order.index(training.clips_of) < order.index(training.name)


def test_trainings_with_equal_steps_are_timed_once() -> None:
    default = TRAININGS["default"].work_of_a_step
    as_long = ["attenuation-rate-none", "frame-draw-first", "rendered-clips", "leading_default"]
    assert {TRAININGS[name].work_of_a_step for name in as_long} == {default}
    others = ["num-grad-steps-1", "batch-size-8_gradient-accumulation-8", "num-segments-8", "long_strength-0.1"]
    assert default not in {TRAININGS[name].work_of_a_step for name in others}
    table = {
        TRAININGS[f"{name}_seed-{seed}"].work_of_a_step for name in ("instructvideo", "draft-1") for seed in (0, 1, 2)
    }
    assert len(table) == 2


def test_courses_can_be_compared_where_neither_training_sees_more_of_the_watched_frames() -> None:
    default = TRAININGS["default"].watched
    for name in ("num-grad-steps-1", "attenuation-rate-none", "batch-size-8_gradient-accumulation-8"):
        assert TRAININGS[name].watched == default
    for name in ("frame-draw-first", "num-segments-8", "leading_default", "instructvideo_seed-0"):
        assert TRAININGS[name].watched != default


def test_asking_for_a_part_brings_what_it_needs() -> None:
    assert [one.name for one in find_wanted(["num-segments-8"])] == ["default", "num-segments-8"]
    table = [one.name for one in find_wanted(["table_draft-1_20"])]
    assert table == ["draft-1_seed-0", "draft-1_seed-1", "draft-1_seed-2", "table_draft-1_20"]
    preset = [one.name for one in find_wanted(["preset"])]
    assert preset[0] == "preset_num-segments-8_seed-0"
    assert preset[-1] == "table_preset_num-segments-4"
    assert len(preset) == 8
    assert {one.name for one in find_wanted(["timings"])} == {*TRAININGS} - {*preset}
    assert len(find_wanted(None)) == len(TRAININGS) + len(EVALUATIONS)


def test_an_unknown_part_is_named() -> None:
    with pytest.raises(UsageError, match=r"--only gradients: one of gradient, "):
        find_wanted(["gradients"])
