"""A clip's reward by a judge, and how it moves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ivideo.core.attenuation import attenuated_mean, frame_weights
from ivideo.core.segments import first_frame_indices
from ivideo.metrics.temporal import flicker, motion
from ivideo.models.judges import Judge


@dataclass(frozen=True)
class ClipScore:
    """How a clip fares.

    Attributes:
        reward: mean score of the first frame of each segment.
        rewards: the same by judge.
        attenuated_reward: those scores weighted as in training (TAR).
        frame_indices: the frames that were scored.
        frame_rewards: their scores.
        motion: mean optical flow, pixels a frame.
        flicker: VBench's temporal flickering, 1 for a frozen clip.
    """

    reward: float
    rewards: dict[str, float]
    attenuated_reward: float
    frame_indices: list[int]
    frame_rewards: list[float]
    motion: float
    flicker: float


@torch.no_grad()
def score_clip(
    judge: Judge, frames: np.ndarray, prompt: str, *, num_segments: int, attenuation_rate: float | None
) -> ClipScore:
    """Score one clip.

    Args:
        judge: gives the reward.
        frames: uint8 (num_frames, height, width, 3).
        prompt: what the clip should show.
        num_segments: segments whose first frames are scored; at most one a frame.
        attenuation_rate: per frame; None for no attenuation.
    """
    indices = first_frame_indices(len(frames), min(num_segments, len(frames)))
    drawn = frames_to_tensor(frames[indices.tolist()])
    scores = judge.score_frames(drawn[None], [prompt])[judge.name][0].float().cpu()
    weights = frame_weights(indices, len(frames), attenuation_rate)
    reward = scores.mean().item()
    return ClipScore(
        reward=reward,
        rewards={judge.name: reward},
        attenuated_reward=attenuated_mean(scores[None], weights[None]).item(),
        frame_indices=indices.tolist(),
        frame_rewards=scores.tolist(),
        motion=motion(frames),
        flicker=flicker(frames),
    )


def frames_to_tensor(frames: np.ndarray) -> Tensor:
    """Frames uint8 (num_frames, height, width, 3) as float (num_frames, 3, height, width) in [0, 1]."""
    return torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255


def mean_of(scores: Sequence[ClipScore], metric: str) -> float:
    """Mean of one metric over clips."""
    return float(np.mean([getattr(score, metric) for score in scores]))
