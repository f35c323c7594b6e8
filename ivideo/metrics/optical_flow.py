"""How far each pixel moves from one frame to the next: dense optical flow after Farneback, by OpenCV."""

from __future__ import annotations

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
