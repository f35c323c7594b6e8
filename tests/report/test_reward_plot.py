"""The picture of rewards over time shows what it was given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ivideo.report.plots import RewardCurve, RewardPlot, summarise_curves


def make_record(name: str, rewards: list[float], fps: float = 8) -> dict[str, Any]:
    return {
        "path": f"videos/{name}",
        "error": None,
        "fps": fps,
        "num_frames": len(rewards),
        "frame_indices": list(range(len(rewards))),
        "frame_rewards": rewards,
        "judge": "costs $5 and $6",
    }


def count_colours(path: Path) -> int:
    with Image.open(path) as picture:
        pixels = np.asarray(picture.convert("HSV"))
    return len(np.unique(pixels[pixels[..., 1] > 150][:, 0] // 8))


def test_a_line_a_video_and_none_for_what_failed(tmp_path: Path) -> None:
    plot = RewardPlot()
    plot.add({"error": "it is damaged"})
    empty = plot.write(tmp_path / "empty.png")
    plot.add(make_record("_a$x$.mp4", [0.1, 0.2, 0.3]))
    one = plot.write(tmp_path / "one.png")
    plot.add(make_record("b.mp4", [0.3, 0.2]))
    assert count_colours(empty) == 0 < count_colours(one) < count_colours(plot.write(tmp_path / "two.png"))


@pytest.mark.parametrize("num_videos", [10, 11])
def test_many_videos_are_a_band(tmp_path: Path, num_videos: int) -> None:
    plot = RewardPlot()
    for number in range(num_videos):
        plot.add(make_record(f"{number}.mp4", [0.1 * number, 0.2, 0.3][: 2 + number % 2]))
    assert (count_colours(plot.write(tmp_path / "many.png")) > 3) == (num_videos == 10)


def test_curves_of_any_length_and_rate_are_averaged_along_their_length() -> None:
    slow = RewardCurve("a", np.array([0.0, 1.0]), np.array([0.0, 1.0]), duration=2.0)
    fast = RewardCurve("b", np.array([0.0, 0.5]), np.array([1.0, 0.0]), duration=1.0)
    mean, deviation = summarise_curves([slow, fast])
    assert mean == pytest.approx(np.full(101, 0.5))
    assert (deviation[0], deviation[25], deviation[50], deviation[100]) == pytest.approx((0.5, 0.0, 0.5, 0.5))
