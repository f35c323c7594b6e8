"""Whether a clip moves at all: VBench's dynamic degree, by Farneback's optical flow instead of RAFT's."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ivideo.metrics.pairs import Pair

REFERENCE_FPS = 8.0
_TOP_SHARE = 0.05


def top_speed(speeds: NDArray[np.float32]) -> float:
    """Mean of the fastest 5 % (at least one) of the pixels' speeds (height, width), in pixels per frame."""
    num_fast = max(int(_TOP_SHARE * speeds.size), 1)
    return float(np.partition(speeds.ravel(), speeds.size - num_fast)[-num_fast:].mean())


def moves(pair: Pair) -> bool:
    """Tell whether a pair of frames has fast pixels; their share of all pairs is the clip's dynamic degree.

    A pair moves where top_speed * fps / 8 > 6 * min(height, width) / 256: the threshold is in pixels per 1/8 second, at
    256 pixels 6 of them. At 64 x 64 and 8 fps it is 1.5 pixels: top speeds of 2, 1 and 2 give a share of 2/3.

    No other metric depends on the fps tag: the same frames shown twice as fast move twice as far in 1/8 second. VBench
    does the same below 8 fps, and above takes every round(fps / 8)-th frame; here all neighbours are compared, so that
    one optical flow serves all metrics. A frozen clip scores lowest here, not highest.

    Source: VBench (Huang et al., CVPR 2024), "dynamic degree".
    """
    shorter_side: int = min(pair.speeds.shape)
    return top_speed(pair.speeds) * pair.fps / REFERENCE_FPS > 6.0 * shorter_side / 256.0


def is_dynamic(moving: Sequence[float]) -> bool:
    """Tell whether enough pairs move: round(n / 4), at least one, in a clip of n frames, which has n - 1 pairs.

    VBench's figure of a model is the share of its clips that are dynamic; of two frames, there, any pair is enough.

    Args:
        moving: of each pair, whether it `moves`.
    """
    return sum(moving) >= max(round((len(moving) + 1) / 4), 1)
