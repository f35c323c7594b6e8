"""Motion in known pixels, flicker by hand."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from ivideo.metrics.temporal import flicker, motion


def make_shifting_texture(pixels: int, size: int, num_frames: int = 6) -> np.ndarray:
    """Blurred noise that moves to the right by `pixels` a frame."""
    noise = np.random.default_rng(0).uniform(0, 255, (2 * size, 2 * size, 3))
    texture = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2), None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    start = size // 2
    starts = [start - pixels * frame for frame in range(num_frames)]
    return np.stack([texture[start : start + size, left : left + size] for left in starts])


@pytest.mark.parametrize("size", [64, 128, 256])
@pytest.mark.parametrize("pixels", [1, 2, 3])
def test_motion_of_a_shifted_texture_is_its_shift(pixels: int, size: int) -> None:
    assert motion(make_shifting_texture(pixels, size)) == pytest.approx(pixels, rel=0.15)


def test_a_frozen_clip_neither_moves_nor_flickers() -> None:
    frozen = np.repeat(make_shifting_texture(1, 64)[:1], 5, axis=0)
    assert motion(frozen) == pytest.approx(0.0, abs=0.01)
    assert flicker(frozen) == 1.0


@pytest.mark.parametrize("num_frames", [0, 1])
def test_fewer_than_two_frames_neither_move_nor_flicker(num_frames: int) -> None:
    frames = np.zeros((num_frames, 64, 64, 3), np.uint8)
    assert (motion(frames), flicker(frames)) == (0.0, 1.0)


def test_flicker_by_hand() -> None:
    frames = np.zeros((3, 64, 64, 3), np.uint8)
    frames[0], frames[1], frames[2] = 10, 40, 40
    assert flicker(frames) == pytest.approx(1 - 15 / 255, abs=1e-12)


def test_flicker_counts_falling_values_too() -> None:
    frames = np.zeros((2, 64, 64, 3), np.uint8)
    frames[0] = 255
    assert flicker(frames) == 0.0
