"""How much the pixels change from frame to frame: VBench's temporal flickering, exactly."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray


def mean_change(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    """Mean absolute difference of two frames uint8 (height, width, 3), in grey levels from 0 to 255."""
    return cv2.norm(first, second, cv2.NORM_L1) / first.size


def flickering_of_changes(changes: Sequence[float]) -> float:
    """Temporal flickering of a clip from `mean_change` of each pair of neighbours; 1 where there is no pair."""
    return (255.0 - float(np.mean(changes))) / 255.0 if changes else 1.0


def flicker(frames: Iterable[NDArray[np.uint8]]) -> float:
    """Measure VBench's temporal flickering: 1 is a frozen clip, less means more change from frame to frame.

    flicker = (255 - mean |frame_{t+1} - frame_t|) / 255, so frames of all 10, all 40 and all 40
    give 1 - 15 / 255 = 0.9412. A frozen clip looks perfect here: read it beside the motion.

    Args:
        frames: (num_frames, height, width, 3), uint8, RGB, or an iterator of such frames.

    Returns:
        A value in [0, 1], 1 for a clip of fewer than 2 frames.

    Source: VBench (Huang et al., CVPR 2024), "temporal flickering"; there static clips are filtered out first.
    """
    return flickering_of_changes([mean_change(first, second) for first, second in pairwise(frames)])
