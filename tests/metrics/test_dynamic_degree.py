"""VBench's counting of moving pairs, on speeds given by hand."""

from __future__ import annotations

import numpy as np
import pytest

from ivideo.metrics.dynamic_degree import DynamicDegree, dynamic_degree, top_speed


def test_top_speed_is_the_mean_of_the_fastest_twentieth() -> None:
    speeds = np.random.default_rng(0).permutation(np.arange(100, dtype=np.float32)).reshape(10, 10)
    assert top_speed(speeds) == (95 + 96 + 97 + 98 + 99) / 5


@pytest.mark.parametrize("shape", [(1, 1), (3, 6)])
def test_top_speed_of_few_pixels_is_the_fastest(shape: tuple[int, int]) -> None:
    speeds = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    assert top_speed(speeds) == speeds.max()


def test_share_by_hand() -> None:
    assert dynamic_degree([2, 1, 2], 64, 64) == DynamicDegree(2 / 3, True)
    assert dynamic_degree([2, 1, 2], 256, 100) == DynamicDegree(0.0, False)
    assert dynamic_degree([1.5, 1.5, 1.6], 64, 200) == DynamicDegree(1 / 3, True)


@pytest.mark.parametrize(("num_moving", "is_dynamic"), [(3, False), (4, True)])
def test_a_quarter_of_the_frames_must_move(num_moving: int, is_dynamic: bool) -> None:
    degree = dynamic_degree([9.0] * num_moving + [0.0] * (15 - num_moving), 256, 256)
    assert degree == DynamicDegree(num_moving / 15, is_dynamic)


def test_two_still_frames_are_not_dynamic() -> None:
    assert dynamic_degree([0.0], 64, 64) == DynamicDegree(0.0, False)
    assert dynamic_degree([], 64, 64) == DynamicDegree(0.0, False)


@pytest.mark.parametrize(("fps", "share"), [(4, 0.0), (8, 0.5), (16, 1.0)])
def test_speed_counts_in_time(fps: float, share: float) -> None:
    assert dynamic_degree([4.0, 7.0], 256, 256, fps).share == share
