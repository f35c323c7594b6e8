"""How much a clip moves, and how much it flickers."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray


def motion(frames: NDArray[np.uint8]) -> float:
    """Measure the mean optical flow, in pixels per frame, over all pixels and all pairs of neighbouring frames.

    motion = mean over t, y, x of |flow_t(y, x)|, the flow being OpenCV's dense one after Farneback on grey frames with
    a pyramid of 3 levels (scale 0.5), windows of 15 pixels, 3 iterations and polynomials over 5 pixels (sigma 1.1).
    These work for frames from 64 pixels up: a texture that is shifted by 2 pixels a frame gives about 2.

    Args:
        frames: (num_frames, height, width, 3), uint8, RGB.

    Returns:
        Pixels per frame, below 0.01 for a frozen clip and 0 for one of fewer than 2 frames.

    Source: G. Farneback, "Two-frame motion estimation based on polynomial expansion", SCIA 2003.
    """
    if len(frames) < 2:
        return 0.0
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames]
    return float(np.mean([_mean_flow(first, second) for first, second in pairwise(grey)]))


def flicker(frames: NDArray[np.uint8]) -> float:
    """Measure VBench's temporal flickering: 1 is a frozen clip, less means more change from frame to frame.

    flicker = (255 - mean |frame_{t+1} - frame_t|) / 255, so frames of all 10, all 40 and all 40
    give 1 - 15 / 255 = 0.9412.

    Args:
        frames: (num_frames, height, width, 3), uint8, RGB.

    Returns:
        A value in [0, 1], 1 for a clip of fewer than 2 frames.

    Source: VBench (Huang et al., CVPR 2024), "temporal flickering"; there static clips are filtered out first.
    """
    if len(frames) < 2:
        return 1.0
    change = np.abs(np.diff(frames.astype(np.int16), axis=0)).mean()
    return float((255.0 - change) / 255.0)


def _mean_flow(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    start = np.zeros((*first.shape, 2), np.float32)
    flow = cv2.calcOpticalFlowFarneback(
        first, second, start, pyr_scale=0.5, levels=3, winsize=15, iterations=3, poly_n=5, poly_sigma=1.1, flags=0
    )
    return float(np.linalg.norm(flow, axis=-1).mean())
