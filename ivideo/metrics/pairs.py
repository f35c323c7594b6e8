"""How far each pixel moves from one frame to the next: dense optical flow after Farneback, by OpenCV."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray


def to_grey(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Make a frame uint8 (height, width, 3), RGB, grey: uint8 (height, width)."""
    return cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.uint8, copy=False)


def pixel_speeds(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Measure how far each pixel moves between two frames, whatever the direction.

    speed(y, x) = |flow(y, x)|, with a pyramid of 3 levels (scale 0.5), windows of 15 pixels, 3 iterations and
    polynomials over 5 pixels (sigma 1.1). These work for frames from 64 pixels up.

    Args:
        first: (height, width), uint8, grey.
        second: the frame after it, of the same shape.

    Returns:
        (height, width), float32, pixels per frame, at least 0.

    Source: G. Farneback, "Two-frame motion estimation based on polynomial expansion", SCIA 2003.
    """
    start = np.zeros((*first.shape, 2), np.float32)
    flow = cv2.calcOpticalFlowFarneback(
        first, second, start, pyr_scale=0.5, levels=3, winsize=15, iterations=3, poly_n=5, poly_sigma=1.1, flags=0
    )
    return np.asarray(np.linalg.norm(flow, axis=-1), dtype=np.float32)


Frame = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Pair:
    """Two neighbouring frames (height, width, 3), uint8, RGB, which must not be written to.

    Attributes:
        first: the earlier one.
        second: the one after it.
        before: the one before `first`; None where that begins the clip.
        index: which frame of the clip `second` is, from 1.
        fps: frames per second of the clip, above 0.
        greys: both in grey (height, width), uint8.
    """

    first: Frame
    second: Frame
    before: Frame | None
    index: int
    fps: float
    greys: tuple[Frame, Frame]

    @cached_property
    def speeds(self) -> NDArray[np.float32]:
        """How far each pixel moves (height, width), in pixels a frame; computed once, for all metrics that ask."""
        return pixel_speeds(*self.greys)


def mean(values: Sequence[float]) -> float:
    """Mean over a clip's pairs; 0 where there is none."""
    return float(np.mean(values)) if values else 0.0


def likeness(differences: Sequence[float]) -> float:
    """1 - mean difference / 255, of differences in grey levels from 0 to 255; 1 where there is none."""
    return (255.0 - float(np.mean(differences))) / 255.0 if differences else 1.0


@dataclass(frozen=True)
class OverPairs:
    """Measures a clip pair by pair, in one pass with the other metrics; what stays of a pair is a number.

    Attributes:
        look: the number of a pair; None leaves the pair out. Metrics with the same `look` share its numbers.
        sum_up: the clip's figure from those numbers, of which a short clip may have none.
    """

    look: Callable[[Pair], float | None]
    sum_up: Callable[[Sequence[float]], float] = mean
