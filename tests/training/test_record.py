"""Grids and curve of a run show what was evaluated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ivideo.config.presets import PRESETS
from ivideo.config.settings import FinetuneSettings
from ivideo.files.run_folder import RunFolder
from ivideo.metrics.registry import compared
from ivideo.scoring.clips import ClipScore
from ivideo.training.heldout import Evaluation
from ivideo.training.record import draw_curve, watched_curves, write_grid
from ivideo.video.reader import read_video

PROMPTS = [f"prompt {index}" for index in range(6)]


def make_settings(**values: object) -> FinetuneSettings:
    return FinetuneSettings(**{**PRESETS["emoji-world"]["default"], "model": "m", **values})


def make_evaluation(step: int, level: int) -> Evaluation:
    """Grey clips of six prompts."""
    clips = [np.full((4, 64, 64, 3), level, np.uint8)] * 6
    score = ClipScore(dict.fromkeys(compared(), 0.5), {"first": 0.5}, [0], [0.5], [0])
    return Evaluation(step, clips, [score] * 6, list(range(6)), [0, 1, 2, 3, 4])


def test_a_grid_shows_four_prompts_and_is_never_written_over(tmp_path: Path) -> None:
    run, settings = RunFolder(tmp_path), make_settings()
    write_grid(run, PROMPTS, make_evaluation(0, 60), make_evaluation(12, 180), settings)
    picture, video = run.grids / "step_00012.png", run.grids / "step_00012.mp4"
    pixels = np.asarray(Image.open(picture))
    assert pixels.shape[0] == 28 + 4 * (28 + 128 + 16) + 16
    middle = pixels[28 + 28 + 64, :, 0]
    assert (middle == 60).sum() == (middle == 180).sum() == 4 * 128
    frames = read_video(video).frames
    assert frames.shape == (4, 2 * (28 + 28 + 256) + 16, 2 * 520 + 16, 3)
    assert [round(float(frames[0, 150, x].mean()) / 60) for x in (100, 400, 700, 950)] == [1, 3, 1, 3]
    before = [path.read_bytes() for path in (picture, video)]
    write_grid(run, PROMPTS, make_evaluation(0, 0), make_evaluation(12, 0), settings)
    assert [path.read_bytes() for path in (picture, video)] == before
    write_grid(run, PROMPTS, make_evaluation(0, 60), make_evaluation(24, 60), settings)
    assert len(list(run.grids.iterdir())) == 4


def test_a_grid_is_a_gif_without_an_encoder_unless_there_is_one(tmp_path: Path, bare_machine: None) -> None:
    run, settings = RunFolder(tmp_path), make_settings()
    (run.grids / "step_00024.mp4").parent.mkdir()
    (run.grids / "step_00024.mp4").touch()  # of the machine that the run was started on
    for step in (12, 24):
        write_grid(run, PROMPTS, make_evaluation(0, 60), make_evaluation(step, 180), settings)
    names = ["step_00012.gif", "step_00012.json", "step_00012.png", "step_00024.mp4", "step_00024.png"]
    assert sorted(path.name for path in run.grids.iterdir()) == names
    assert len(read_video(run.grids / "step_00012.gif").frames) == 4


def test_motion_and_the_second_reward_are_watched_with_their_floors() -> None:
    evaluations = [{"step": step, "values": {"reward": 0.5, "motion": 2.0 - step, "second": -0.4}} for step in (0, 1)]
    motion, second = watched_curves(evaluations, make_settings(reward=("first", "second")))
    assert (motion.values, motion.floor) == ([2.0, 1.0], pytest.approx(1.7))
    assert (second.label, second.floor) == ("second", pytest.approx(-0.42))
    (motion,) = watched_curves(evaluations, make_settings(reward="first", min_motion=0))
    assert motion.floor is None


def test_a_curve_leaves_out_steps_without_a_reward(tmp_path: Path) -> None:
    metrics = [
        {"step": 1, "reward": 0.1, "attenuated_reward": 0.1},
        {"step": 2, "reward": None, "attenuated_reward": None},
    ]
    evaluations = [{"step": step, "values": {"reward": 0.5, "motion": 1.0}} for step in (0, 2)]
    settings = make_settings(reward="first")
    draw_curve(RunFolder(tmp_path), metrics, evaluations, settings, "title", {"first": "label"}, 2)
    assert Image.open(tmp_path / "curve.png").size == (960, 900)
