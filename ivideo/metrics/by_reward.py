"""What a metric of a reward model's scores is measured from: a clip's reward, and how alike its frames are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, eq=False)
class ScoredClip:
    """What the first reward says of a clip.

    Attributes:
        reward: mean score of the first frame of each segment, plus what the clip gets as a whole.
        attenuated_reward: the same with frames weighted as in training (TAR).
        features: (num_frames, width), of a reward model's image tower for frames all along the clip; None where only
            the segments' frames were scored, and where no reward model has image features.
    """

    reward: float
    attenuated_reward: float
    features: NDArray[np.float32] | None


@dataclass(frozen=True)
class ByReward:
    """Measures a clip by what the first reward says; `ask` gives None where that does not tell."""

    ask: Callable[[ScoredClip], float | None]


def consistency(features: ArrayLike) -> float:
    """Measure how alike the frames' features are to the previous frame's and to the first frame's.

    consistency = mean over t >= 1 of (max(0, cos(f_t, f_{t-1})) + max(0, cos(f_t, f_0))) / 2. The features [1, 0],
    [1, 0] and [0, 1] give (1 + 1 + 0 + 0) / 4 = 0.5. VBench's subject consistency takes the features of DINO and its
    background consistency those of CLIP, both at every frame; with another network's features, such as those of a
    reward model's image tower, only clips under that same network compare. A frozen clip looks perfect here: read it
    beside the motion.

    Args:
        features: (num_frames, width), floats: an array, or a tensor on the CPU; they need no normalisation.

    Returns:
        A value in [0, 1], 1 for a clip of fewer than 2 frames. A feature that is all 0 is like no other.

    Raises:
        ValueError: features of another shape, or that are not finite.

    Source: VBench (Huang et al., CVPR 2024), "subject consistency" and "background consistency".
    """
    rows = np.asarray(features, dtype=np.float64)
    if rows.ndim != 2:
        raise ValueError(f"features must be (num_frames, width), got {rows.shape}")
    if not np.isfinite(rows).all():
        raise ValueError("features must be finite")
    if len(rows) < 2:
        return 1.0
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    rows = np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 0)
    to_previous = (rows[1:] * rows[:-1]).sum(axis=1)
    to_first = rows[1:] @ rows[0]
    return float(np.clip([to_previous, to_first], 0, 1).mean())


def reward_consistency(scored: ScoredClip) -> float | None:
    """The same of a reward model's own features, where there are any."""
    return None if scored.features is None else consistency(scored.features)
