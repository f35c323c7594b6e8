"""Whether each frame lies between its neighbours: a light stand-in for VBench's motion smoothness."""

from __future__ import annotations

import cv2
import numpy as np

from ivideo.metrics.pairs import Pair


def prediction_error(pair: Pair) -> float | None:
    """Measure how far a frame is from the mean of its two neighbours, in grey levels from 0 to 255.

    error = mean |first - (before + second) / 2|. Frames of all 10, all 20 and all 60 give |20 - 35| = 15. The proxy of
    VBench's motion smoothness is (255 - mean error) / 255, its `likeness`, over the frames 1, 3, 5, ... that have a
    frame on both sides. VBench predicts the same frames by an interpolation network (AMT-S), which follows things that
    move; a mean of neighbours does not, so the proxy is lower where much moves, and only clips of alike motion compare.
    A frozen clip looks perfect here, and so does one that fades evenly: read it beside the motion.

    Returns:
        The error, in [0, 255]; None where `first` is no frame that is predicted.

    Source: VBench (Huang et al., CVPR 2024), "motion smoothness", with another predictor.
    """
    if pair.before is None or pair.index % 2:
        return None
    doubled = 2 * pair.first.astype(np.int16)
    doubled -= pair.before
    doubled -= pair.second
    return cv2.norm(doubled, cv2.NORM_L1) / doubled.size / 2
