"""From records of clips to the numbers of a report: pure arithmetic.

The unit of every statistic is a prompt: the clips of several seeds count as one observation, their mean. Intervals are
paired 95 % bootstrap intervals over prompts; they do not speak of how much another training would differ.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import combinations
from typing import Any, TypeAlias

import numpy as np

from examples.emoji_world.evaluation.gaps import gap_closed
from examples.emoji_world.evaluation.records import ClipRecord
from ivideo.metrics.statistics import group_by_prompt, paired_difference

ACCURACIES = ("subject_accuracy", "motion_accuracy", "place_accuracy")
CLIP_METRICS = ("reward", "second_judge", *ACCURACIES, "motion", "flicker")
METRICS = (*CLIP_METRICS, "diversity")
Values: TypeAlias = Mapping[str, Mapping[str, float]]
"""Metric -> prompt -> value; a prompt is missing where a metric does not apply to it."""


def prompt_values(records: Sequence[ClipRecord]) -> Values:
    """Each metric's mean over the clips of a prompt, and the diversity of those clips."""
    values: dict[str, Mapping[str, float]] = {}
    for metric in CLIP_METRICS:
        measured = [record for record in records if metric in record.values]
        values[metric] = group_by_prompt([r.prompt for r in measured], [r.values[metric] for r in measured])
    features: dict[str, list[np.ndarray]] = {}
    for record in records:
        features.setdefault(record.prompt, []).append(record.features)
    values["diversity"] = {prompt: diversity(rows) for prompt, rows in features.items() if len(rows) > 1}
    return values


def diversity(features: Sequence[np.ndarray]) -> float:
    """Mean Euclidean distance of the pairs of L2-normalised features, in [0, 2].

    Features (1, 0), (0, 1) and (0, -1) give (sqrt(2) + sqrt(2) + 2) / 3 = 1.6095.
    """
    return float(np.mean([np.linalg.norm(a - b) for a, b in combinations(features, 2)]))


def pool_values(runs: Sequence[Values]) -> Values:
    """The mean over runs of each value."""
    return {
        metric: {prompt: float(np.mean([run[metric][prompt] for run in runs])) for prompt in runs[0][metric]}
        for metric in METRICS
    }


def mean_values(values: Values) -> dict[str, float | None]:
    """Each metric's mean over prompts; None where it applies to none."""
    return {metric: float(np.mean([*values[metric].values()])) if values[metric] else None for metric in METRICS}


def describe_change(base: Mapping[str, float], run: Mapping[str, float]) -> dict[str, float] | None:
    """One metric of a run against the base; None where it applies to no prompt."""
    if not base:
        return None
    change = asdict(paired_difference(base, run))
    kept = {name: change[name] for name in ("difference", "ci_low", "ci_high", "n")}
    return {"mean": change["mean_b"], "base": change["mean_a"], **kept}


def gain_in_sd(base: Mapping[str, float], run: Mapping[str, float]) -> float | None:
    """Gain in standard deviations of the base over prompts (of a sample); None where it has no spread."""
    deviation = np.std([*base.values()], ddof=1) if len(base) > 1 else 0.0
    return paired_difference(base, run).difference / float(deviation) if deviation else None


def describe_run(name: str, run: Values, base: Values, clean: Values, round_trip: Values) -> dict[str, Any]:
    """A run against the base: every metric, and how much of the reward's gaps it closed."""
    rewards = base["reward"], run["reward"]
    return {
        "name": name,
        "metrics": {metric: describe_change(base[metric], run[metric]) for metric in METRICS},
        "gap_to_clean_closed": asdict(gap_closed(*rewards, clean["reward"])),
        "gap_to_round_trip_closed": asdict(gap_closed(*rewards, round_trip["reward"])),
        "gain_in_sd": gain_in_sd(*rewards),
    }


def describe_split(
    clean: Sequence[ClipRecord],
    round_trip: Sequence[ClipRecord],
    base: Sequence[ClipRecord],
    runs: Mapping[str, Sequence[ClipRecord]],
) -> dict[str, Any]:
    """The numbers of one split.

    Args:
        clean: records of clean renders.
        round_trip: of their round trips through the autoencoder.
        base: of the base model's clips, of the same prompts and seeds.
        runs: by name, of each run's clips, likewise.

    Returns:
        num_prompts, num_videos (of one source), the means of clean, round_trip and base, runs (`describe_run`) and,
        with more than one run, pooled.
    """
    base_values = prompt_values(base)
    others = base_values, prompt_values(clean), prompt_values(round_trip)
    run_values = {name: prompt_values(records) for name, records in runs.items()}
    split = {
        "num_prompts": len(base_values["reward"]),
        "num_videos": len(base),
        "clean": mean_values(others[1]),
        "round_trip": mean_values(others[2]),
        "base": mean_values(base_values),
        "runs": [describe_run(name, values, *others) for name, values in run_values.items()],
    }
    if len(runs) > 1:
        split["pooled"] = describe_run("pooled", pool_values([*run_values.values()]), *others)
    return split
