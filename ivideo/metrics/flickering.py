"""How much the pixels change from frame to frame: VBench's temporal flickering, exactly."""

from __future__ import annotations

import cv2

from ivideo.metrics.pairs import Pair


def mean_change(pair: Pair) -> float:
    """Mean absolute difference of two neighbouring frames, in grey levels from 0 to 255.

    flicker = (255 - mean |frame_{t+1} - frame_t|) / 255, its `likeness`: frames of all 10, all 40 and all 40 give
    1 - 15 / 255 = 0.9412, and a frozen clip 1. It looks perfect here: read it beside the motion.

    Source: VBench (Huang et al., CVPR 2024), "temporal flickering"; there static clips are filtered out first.
    """
    return cv2.norm(pair.first, pair.second, cv2.NORM_L1) / pair.first.size
