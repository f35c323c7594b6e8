"""What a metric of what a judge says is measured from, and a clip's reward."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ivideo.core.attenuation import attenuated_mean


@dataclass(frozen=True, eq=False)
class JudgedFrames:
    """What a judge said of a clip's frames.

    Attributes:
        scores: (num_segments,), of the first frame of each segment.
        weights: (num_segments,), theirs in the attenuated reward.
        features: (num_frames, width), of the judge's image tower for frames all along the clip; None where only the
            segments' frames were scored, and where the judge has no image features.
    """

    scores: Tensor
    weights: Tensor
    features: NDArray[np.float32] | None


@dataclass(frozen=True)
class ByJudge:
    """Measures a clip by what its first judge says; `ask` gives None where that does not tell."""

    ask: Callable[[JudgedFrames], float | None]


def mean_reward(judged: JudgedFrames) -> float:
    """Mean score of the segments' first frames."""
    return judged.scores.mean().item()


def attenuated_reward(judged: JudgedFrames) -> float:
    """The same scores weighted as in training (TAR)."""
    return attenuated_mean(judged.scores[None], judged.weights[None]).item()
