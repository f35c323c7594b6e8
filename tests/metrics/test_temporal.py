"""Clips with known answers: frozen, flickering, evenly fading, shifted; one pass, and little in memory."""

from __future__ import annotations

import weakref
from collections.abc import Iterator

import cv2
import numpy as np
import pytest

from ivideo.metrics import over_time as pairs
from ivideo.metrics.registry import measure_temporal

FROZEN = {"motion": 0.0, "flicker": 1.0, "motion_smoothness_proxy": 1.0, "dynamic_degree": 0.0, "is_dynamic": False}


def make_shifting_texture(pixels: int, size: int, num_frames: int = 6) -> np.ndarray:
    """Blurred noise that moves to the right by `pixels` a frame."""
    noise = np.random.default_rng(0).uniform(0, 255, (2 * size, 2 * size, 3))
    texture = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2), None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    start = size // 2
    starts = [start - pixels * frame for frame in range(num_frames)]
    return np.stack([texture[start : start + size, left : left + size] for left in starts])


def make_flat_frames(*levels: int) -> np.ndarray:
    """Frames of one grey level each."""
    return np.broadcast_to(np.array(levels, np.uint8)[:, None, None, None], (len(levels), 64, 64, 3)).copy()


@pytest.mark.parametrize("size", [64, 128, 256])
@pytest.mark.parametrize("pixels", [1, 2, 3])
def test_motion_of_a_shifted_texture_is_its_shift(pixels: int, size: int) -> None:
    assert measure_temporal(make_shifting_texture(pixels, size))["motion"] == pytest.approx(pixels, rel=0.15)


def test_a_frozen_clip_neither_moves_nor_flickers() -> None:
    frozen = np.repeat(make_shifting_texture(1, 64)[:1], 5, axis=0)
    figures = measure_temporal(frozen)
    assert figures["motion"] == pytest.approx(0.0, abs=0.01)
    assert figures == FROZEN | {"motion": figures["motion"]}


@pytest.mark.parametrize("num_frames", [0, 1])
def test_fewer_than_two_frames_neither_move_nor_flicker(num_frames: int) -> None:
    frames = np.zeros((num_frames, 64, 64, 3), np.uint8)
    assert measure_temporal(frames) == FROZEN


def test_flicker_by_hand() -> None:
    assert measure_temporal(make_flat_frames(10, 40, 40))["flicker"] == pytest.approx(1 - 15 / 255, abs=1e-12)


def test_flicker_counts_falling_values_too() -> None:
    assert measure_temporal(make_flat_frames(255, 0))["flicker"] == 0.0


def test_flicker_is_exact_on_any_pixels() -> None:
    frames = np.random.default_rng(0).integers(0, 256, (5, 33, 47, 3), np.uint8)
    by_hand = 1 - np.abs(np.diff(frames.astype(float), axis=0)).mean() / 255
    assert measure_temporal(frames)["flicker"] == pytest.approx(by_hand, abs=1e-14)


@pytest.mark.parametrize(
    ("levels", "error"),
    [
        ((10, 20, 60), 15.0),
        ((60, 20, 10), 15.0),
        ((10, 20, 30, 40, 50), 0.0),
        ((0, 255, 0, 255, 0), 255.0),
        ((0, 10, 0, 40, 40), (10 + 20) / 2),
        ((0, 10, 0, 40), 10.0),
        ((0, 255), 0.0),
    ],
    ids=["jump", "fall", "even fade", "flicker", "two predicted frames", "the last has no right side", "nothing"],
)
def test_smoothness_by_hand(levels: tuple[int, ...], error: float) -> None:
    figures = measure_temporal(make_flat_frames(*levels))
    assert figures["motion_smoothness_proxy"] == pytest.approx(1 - error / 255, abs=1e-12)


def test_a_flickering_clip_is_told_from_a_moving_one() -> None:
    flickering = measure_temporal(make_flat_frames(*[0, 255] * 4))
    assert (flickering["flicker"], flickering["motion_smoothness_proxy"]) == (0.0, 0.0)
    moving = measure_temporal(make_shifting_texture(2, 64, 8))
    assert moving["flicker"] > 0.8
    assert moving["motion_smoothness_proxy"] > 0.9


@pytest.mark.parametrize(
    ("pixels", "fps", "share"),
    [(2, 8, 1.0), (1, 8, 0.0), (1, 16, 1.0), (3, 8, 1.0), (3, 2, 0.0)],
)
def test_dynamic_degree_counts_pixels_an_eighth_of_a_second(pixels: int, fps: float, share: float) -> None:
    """At 64 x 64 the threshold is 1.5 pixels per 1/8 second."""
    figures = measure_temporal(make_shifting_texture(pixels, 64), fps)
    assert (figures["dynamic_degree"], figures["is_dynamic"]) == (share, share == 1.0)


def test_only_dynamic_degree_depends_on_the_fps_tag() -> None:
    frames = make_shifting_texture(1, 64)
    slow, fast = measure_temporal(frames, 8), measure_temporal(frames, 30)
    assert {name for name in slow if slow[name] != fast[name]} == {"dynamic_degree", "is_dynamic"}


def test_one_pass_over_an_iterator_gives_the_same_as_an_array() -> None:
    frames = make_shifting_texture(2, 64)
    assert measure_temporal(iter(frames)) == measure_temporal(frames)


def test_a_long_clip_keeps_few_frames_alive() -> None:
    given: list[weakref.ref[np.ndarray]] = []
    most = 0

    def stream() -> Iterator[np.ndarray]:
        nonlocal most
        for level in range(200):
            frame = np.full((16, 16, 3), level, np.uint8)
            given.append(weakref.ref(frame))
            most = max(most, sum(reference() is not None for reference in given))
            yield frame

    assert measure_temporal(stream())["flicker"] == pytest.approx(1 - 1 / 255)
    assert most <= 4


def test_the_flow_of_a_pair_is_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    original = pairs.pixel_speeds
    monkeypatch.setattr(pairs, "pixel_speeds", lambda *pair: calls.append(pair) or original(*pair))
    measure_temporal(make_shifting_texture(1, 64, 5))
    assert len(calls) == 4


@pytest.mark.parametrize(
    "frames",
    [
        [np.zeros((8, 8, 3), np.uint8), np.zeros((8, 9, 3), np.uint8)],
        [np.zeros((8, 8, 3), np.float32)],
        [np.zeros((8, 8), np.uint8)],
    ],
)
def test_what_is_no_clip_is_a_bug(frames: list[np.ndarray]) -> None:
    with pytest.raises(ValueError, match="a frame must be uint8"):
        measure_temporal(frames)


@pytest.mark.parametrize("fps", [0, -1, float("nan")])
def test_a_rate_that_is_none_is_a_bug(fps: float) -> None:
    with pytest.raises(ValueError, match="fps must be above 0"):
        measure_temporal([], fps)
