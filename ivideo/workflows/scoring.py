"""A clip's reward by a judge, and how it moves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import numpy as np

from ivideo.config.settings import Settings
from ivideo.metrics.dynamic_degree import REFERENCE_FPS
from ivideo.metrics.registry import compared
from ivideo.metrics.statistics import group_by_prompt, paired_difference
from ivideo.metrics.temporal import measure_temporal
from ivideo.models.judges import Judge
from ivideo.workflows.judging import Bench, ClipScore, plan_clip


def score_clip(
    judge: Judge,
    frames: np.ndarray,
    prompt: str,
    settings: Settings,
    *,
    fps: float = REFERENCE_FPS,
    max_curve_frames: int = 0,
) -> ClipScore:
    """Score one clip.

    Args:
        judge: gives the reward.
        frames: uint8 (num_frames, height, width, 3).
        prompt: what the clip should show.
        settings: its `num_segments`, whose first frames are scored (of fewer frames all), and its `attenuation_rate`.
        fps: frames per second; only dynamic degree depends on it.
        max_curve_frames: how many frames all along the clip are scored besides, for the curve and the consistency.
    """
    clip = plan_clip(prompt, len(frames), settings.num_segments, max_curve_frames)
    bench = Bench(judge)
    for index in clip.frame_indices:
        bench.add(clip, index, frames[index])
    bench.judge_waiting()
    return clip.score(judge.name, settings.attenuation_rate, measure_temporal(frames, fps))


def mean_of(scores: Sequence[ClipScore], metric: str) -> float:
    """Mean of one metric over clips."""
    return float(np.mean([score[metric] for score in scores]))


def compare_scores(
    prompts: Sequence[str], before: Sequence[ClipScore], after: Sequence[ClipScore]
) -> dict[str, dict[str, float]]:
    """Each metric's paired change with its interval; several clips of a prompt count as one observation."""
    return {
        metric: compare_values(prompts, *([score[metric] for score in side] for side in (before, after)))
        for metric in compared()
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
