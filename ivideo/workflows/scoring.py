"""A clip's reward by a judge, and how it moves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor

from ivideo.config.settings import Settings
from ivideo.core.attenuation import attenuated_mean, frame_weights
from ivideo.core.segments import first_frame_indices
from ivideo.errors import IvideoError
from ivideo.metrics.statistics import group_by_prompt, paired_difference
from ivideo.metrics.temporal import flicker, motion
from ivideo.models.judges import Judge

METRICS = ("reward", "attenuated_reward", "motion", "flicker")


@dataclass(frozen=True)
class ClipScore:
    """How a clip fares.

    Attributes:
        reward: mean score of the first frame of each segment.
        rewards: the same by every judge that was asked for, sums and their parts included.
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


def check_num_frames(name: object, num_frames: int, settings: Settings) -> None:
    """Hold a ready clip's length against the segments that it is to be split into.

    Raises:
        IvideoError: fewer frames than segments.
    """
    if num_frames < settings.num_segments:
        raise IvideoError(f"{name} has {num_frames} frames for {settings.num_segments} segments: lower --num-segments")


@torch.no_grad()
def score_clip(judge: Judge, frames: np.ndarray, prompt: str, settings: Settings) -> ClipScore:
    """Score one clip.

    Args:
        judge: gives the reward.
        frames: uint8 (num_frames, height, width, 3), at least one a segment.
        prompt: what the clip should show.
        settings: its `num_segments`, whose first frames are scored, and its `attenuation_rate`.
    """
    indices = first_frame_indices(len(frames), settings.num_segments)
    drawn = frames_to_tensor(frames[indices.tolist()])
    given = {name: scores[0].float().cpu() for name, scores in judge.score_frames(drawn[None], [prompt]).items()}
    scores = given[judge.name]
    weights = frame_weights(indices, len(frames), settings.attenuation_rate)
    rewards = {name: one.mean().item() for name, one in given.items()}
    return ClipScore(
        reward=rewards[judge.name],
        rewards=rewards,
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


def compare_scores(
    prompts: Sequence[str], before: Sequence[ClipScore], after: Sequence[ClipScore]
) -> dict[str, dict[str, float]]:
    """Each metric's paired change with its interval; several clips of a prompt count as one observation."""
    return {
        metric: compare_values(prompts, *([getattr(score, metric) for score in side] for side in (before, after)))
        for metric in METRICS
    }


def compare_rewards(
    prompts: Sequence[str], before: Sequence[ClipScore], after: Sequence[ClipScore]
) -> dict[str, dict[str, float]]:
    """Each judge's paired change, likewise, by its name."""
    return {
        name: compare_values(prompts, *([score.rewards[name] for score in side] for side in (before, after)))
        for name in before[0].rewards
    }


def compare_values(prompts: Sequence[str], before: Sequence[float], after: Sequence[float]) -> dict[str, float]:
    """One value's paired change with its interval."""
    a, b = (group_by_prompt(prompts, values) for values in (before, after))
    return asdict(paired_difference(a, b))
