"""The reward curve shows what it was given."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ivideo.report.plots import WatchedCurve, plot_reward_curve, smooth


def has_colour(path: Path, colour: str) -> bool:
    """Tell whether a picture has a pixel of exactly this colour."""
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    with Image.open(path) as picture:
        return bool((np.asarray(picture.convert("RGB")) == (red, green, blue)).all(axis=-1).any())


def test_smooth_averages_what_there_is_at_the_ends() -> None:
    assert smooth([0, 3, 6, 3], 3).tolist() == [1.5, 3.0, 4.0, 4.5]
    assert smooth([2, 5], 1).tolist() == [2.0, 5.0]
    assert smooth([], 3).tolist() == []


def test_curve_is_drawn_with_held_out_points_only_where_given(tmp_path: Path) -> None:
    steps = list(range(1, 41))
    rewards = [0.2 + step / 400 for step in steps]
    words = {"title": "costs $5 and $6", "reward_label": "simulated preference $x"}
    bare = plot_reward_curve(tmp_path / "bare.png", steps, rewards, rewards, **words)
    full = plot_reward_curve(
        tmp_path / "full.png", steps, rewards, rewards, heldout_points=[(0, 0.2), (40, 0.29)], **words
    )
    assert has_colour(bare, "#1a73e8")
    assert has_colour(bare, "#e8710a")
    assert not has_colour(bare, "#188038")
    assert has_colour(full, "#188038")
    assert sorted(os.listdir(tmp_path)) == ["bare.png", "full.png"]


@pytest.mark.parametrize("num_steps", [0, 1])
def test_runs_that_have_hardly_begun_can_be_drawn(tmp_path: Path, num_steps: int) -> None:
    path = plot_reward_curve(
        tmp_path / "a.png", list(range(num_steps)), [0.1] * num_steps, [0.1] * num_steps, title="t", reward_label="r"
    )
    with Image.open(path) as picture:
        assert picture.size == (960, 720)


def test_the_chosen_step_and_what_is_watched_are_drawn(tmp_path: Path) -> None:
    words = {"title": "t", "reward_label": "r", "heldout_points": [(0, 0.2), (2, 0.3), (4, 0.25)]}
    steps, rewards = [1, 2, 3, 4], [0.2, 0.3, 0.3, 0.2]
    bare = plot_reward_curve(tmp_path / "bare.png", steps, rewards, rewards, **words)
    watched = [WatchedCurve("motion", [1.0, 0.9, 0.8], 0.85), WatchedCurve("second", [0.3, 0.3, 0.3])]
    full = plot_reward_curve(tmp_path / "full.png", steps, rewards, rewards, chosen_step=2, watched=watched, **words)
    assert not has_colour(bare, "#a50e0e")
    assert has_colour(full, "#a50e0e")
    with Image.open(full) as picture:
        assert picture.size == (960, 720 + 2 * 180)
