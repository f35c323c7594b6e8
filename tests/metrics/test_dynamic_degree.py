"""VBench's counting of moving pairs, on speeds given by hand."""

from __future__ import annotations

import numpy as np
import pytest

from ivideo.metrics import over_time as pairs
from ivideo.metrics.over_time import Pair, is_dynamic, moves, top_speed


def test_top_speed_is_the_mean_of_the_fastest_twentieth() -> None:
    speeds = np.random.default_rng(0).permutation(np.arange(100, dtype=np.float32)).reshape(10, 10)
    assert top_speed(speeds) == (95 + 96 + 97 + 98 + 99) / 5


@pytest.mark.parametrize("shape", [(1, 1), (3, 6)])
def test_top_speed_of_few_pixels_is_the_fastest(shape: tuple[int, int]) -> None:
    speeds = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    assert top_speed(speeds) == speeds.max()


@pytest.mark.parametrize(
    ("speed", "shape", "fps", "expected"),
    [
        (2, (64, 64), 8, True),
        (1, (64, 64), 8, False),
        (2, (256, 100), 8, False),
        (1.5, (64, 200), 8, False),
        (1.6, (64, 200), 8, True),
        (4, (256, 256), 8, False),
        (4, (256, 256), 16, True),
        (7, (256, 256), 8, True),
        (7, (256, 256), 4, False),
    ],
)
def test_a_pair_moves_by_hand(
    speed: float, shape: tuple[int, int], fps: float, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pairs, "pixel_speeds", lambda *greys: np.full(shape, speed, np.float32))
    frame, grey = np.zeros((*shape, 3), np.uint8), np.zeros(shape, np.uint8)
    assert moves(Pair(frame, frame, None, 1, fps, (grey, grey))) is expected


@pytest.mark.parametrize(("num_moving", "expected"), [(3, False), (4, True)])
def test_a_quarter_of_the_frames_must_move(num_moving: int, expected: bool) -> None:
    assert is_dynamic([True] * num_moving + [False] * (15 - num_moving)) is expected


@pytest.mark.parametrize("moving", [[False], []])
def test_still_frames_are_not_dynamic(moving: list[bool]) -> None:
    assert is_dynamic(moving) is False
