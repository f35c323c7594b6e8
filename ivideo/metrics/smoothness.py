"""Whether each frame lies between its neighbours: a light stand-in for VBench's motion smoothness."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def prediction_error(previous: NDArray[np.uint8], frame: NDArray[np.uint8], following: NDArray[np.uint8]) -> float:
    """Measure how far a frame is from the mean of its two neighbours, in grey levels from 0 to 255.

    error = mean |frame - (previous + following) / 2|. Frames of all 10, all 20 and all 60 give |20 - 35| = 15.

    Args:
        previous: (height, width, 3), uint8: the frame before.
        frame: the frame to predict.
        following: the frame after.

    Returns:
        The error, in [0, 255].
    """
    doubled = 2 * frame.astype(np.int16)
    doubled -= previous
    doubled -= following
    return float(np.abs(doubled, out=doubled).mean()) / 2


def smoothness_of_errors(errors: Sequence[float]) -> float:
    """Give the proxy of VBench's motion smoothness of a clip.

    smoothness = (255 - mean error) / 255, the errors being those of the frames 1, 3, 5, ... that have a frame on both
    sides. VBench predicts the same frames by an interpolation network (AMT-S), which follows things that move; a mean
    of neighbours does not, so the proxy is lower where much moves, and only clips of alike motion compare. A frozen
    clip looks perfect here, and so does one that fades evenly: read it beside the motion.

    Args:
        errors: `prediction_error` of each predicted frame.

    Returns:
        A value in [0, 1], 1 for a clip of fewer than 3 frames.

    Source: VBench (Huang et al., CVPR 2024), "motion smoothness", with another predictor.
    """
    return (255.0 - float(np.mean(errors))) / 255.0 if errors else 1.0
