"""Whether a clip moves at all: VBench's dynamic degree, by Farneback's optical flow instead of RAFT's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

REFERENCE_FPS = 8.0
_TOP_SHARE = 0.05


@dataclass(frozen=True)
class DynamicDegree:
    """How much of a clip is in motion.

    Attributes:
        share: pairs of neighbouring frames with fast pixels, of all pairs, in [0, 1].
        is_dynamic: whether there are enough of them; VBench's figure of a model is the share of its clips that are.
    """

    share: float
    is_dynamic: bool


def top_speed(speeds: NDArray[np.float32]) -> float:
    """Mean of the fastest 5 % (at least one) of the pixels' speeds (height, width), in pixels per frame."""
    num_fast = max(int(_TOP_SHARE * speeds.size), 1)
    return float(np.partition(speeds.ravel(), speeds.size - num_fast)[-num_fast:].mean())


def dynamic_degree(top_speeds: Sequence[float], height: int, width: int, fps: float = REFERENCE_FPS) -> DynamicDegree:
    """Tell how many pairs of frames move, and whether that makes the clip dynamic.

    A pair moves where top_speed * fps / 8 > 6 * min(height, width) / 256: the threshold is in pixels per 1/8 second, at
    256 pixels 6 of them. A clip of n frames is dynamic where round(n / 4), at least one, of its pairs move. At 64 x 64
    and 8 fps the threshold is 1.5 pixels: top speeds [2, 1, 2] give a share of 2/3, and 1 of 4 frames is enough.

    It is the only figure that depends on the fps tag: the same frames shown twice as fast move twice as far in 1/8
    second. VBench does the same below 8 fps, and above takes every round(fps / 8)-th frame; here all neighbours are
    compared, so that one optical flow serves all figures.

    Args:
        top_speeds: `top_speed` of each pair of neighbouring frames.
        height: of a frame, in pixels.
        width: of a frame, in pixels.
        fps: frames per second, above 0.

    Returns:
        The degree; no share and not dynamic without a pair. A frozen clip scores lowest here, not highest.

    Source: VBench (Huang et al., CVPR 2024), "dynamic degree". VBench takes any pair to be enough for two frames.
    """
    threshold = 6.0 * min(height, width) / 256.0
    num_moving = sum(speed * fps / REFERENCE_FPS > threshold for speed in top_speeds)
    num_frames = len(top_speeds) + 1
    return DynamicDegree(
        share=num_moving / len(top_speeds) if top_speeds else 0.0,
        is_dynamic=num_moving >= max(round(num_frames / 4), 1),
    )
