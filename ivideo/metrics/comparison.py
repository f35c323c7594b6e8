"""Several candidates on the same prompts: each one's mean, and each one against the first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ivideo.metrics.significance import PairedTests, holm, paired_tests
from ivideo.metrics.statistics import PairedDifference, group_by_prompt, paired_difference

Columns = Sequence[Sequence[float | None]]


@dataclass(frozen=True)
class Mean:
    """One candidate's mean over prompts.

    Attributes:
        mean: None where nothing could be measured.
        std: standard deviation over prompts (of n - 1); None for fewer than 2.
    """

    mean: float | None
    std: float | None


@dataclass(frozen=True)
class Comparison:
    """A candidate against the first one, by one metric.

    Attributes:
        metric: its name.
        a: index of the first candidate, 0.
        b: index of the one that is held against it.
        difference: means, their difference and its interval.
        tests: wins of b, ties, losses, p of two tests, effect size.
        sign_p_corrected: the sign test's p after Holm, over all metrics and candidates.
        wilcoxon_p_corrected: Wilcoxon's p, likewise.
    """

    metric: str
    a: int
    b: int
    difference: PairedDifference
    tests: PairedTests
    sign_p_corrected: float
    wilcoxon_p_corrected: float


def compare_candidates(
    prompts: Sequence[str], values: Mapping[str, Columns]
) -> tuple[dict[str, list[Mean]], list[Comparison]]:
    """Hold every candidate against the first one by every metric.

    Several clips of a prompt count as one observation, their mean. A row in which a candidate has no value is left out
    for all of them. Every p is corrected over all metrics and candidates at once, by Holm: prompts "a", "b", "a" with
    the values 1, 5, 2 of one candidate and 2, 6, 3 of the other give the means 3.25 and 4.25, difference 1 and
    2 wins, sign_p 0.5; beside a metric of the same p both become 1.

    Args:
        prompts: (num_rows,), the prompt of each row.
        values: by metric: for each candidate the values of the rows, in the same order; None where there is none.

    Returns:
        Each metric's means, one a candidate; and the comparisons, metric by metric, without the metrics that
        have no row of values.

    Raises:
        ValueError: different numbers of values.
    """
    means: dict[str, list[Mean]] = {}
    comparisons: list[Comparison] = []
    for metric, columns in values.items():
        sides = _group_complete(prompts, columns)
        means[metric] = [describe(list(side.values())) for side in sides]
        comparisons += [_compare(metric, b, sides[0], side) for b, side in enumerate(sides) if b > 0 and len(side) > 0]
    return means, _correct(comparisons)


def describe(values: Sequence[float]) -> Mean:
    """Mean and standard deviation (of n - 1): 1 and 3 give 2 and 1.414.

    Args:
        values: one a prompt.

    Returns:
        Both; None where there are too few values.
    """
    if not values:
        return Mean(None, None)
    return Mean(float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None)


def _group_complete(prompts: Sequence[str], columns: Columns) -> list[dict[str, float]]:
    """Each candidate's mean of each prompt, over the rows in which all have a value."""
    rows = [(prompt, row) for prompt, *row in zip(prompts, *columns, strict=True) if None not in row]
    kept = [prompt for prompt, _ in rows]
    return [group_by_prompt(kept, [row[i] for _, row in rows]) for i in range(len(columns))]


def _compare(metric: str, b: int, first: Mapping[str, float], other: Mapping[str, float]) -> Comparison:
    tests = paired_tests(first, other)
    return Comparison(metric, 0, b, paired_difference(first, other), tests, tests.sign_p, tests.wilcoxon_p)


def _correct(comparisons: Sequence[Comparison]) -> list[Comparison]:
    signs = holm({(one.metric, one.b): one.tests.sign_p for one in comparisons})
    ranks = holm({(one.metric, one.b): one.tests.wilcoxon_p for one in comparisons})
    return [
        replace(one, sign_p_corrected=signs[one.metric, one.b], wilcoxon_p_corrected=ranks[one.metric, one.b])
        for one in comparisons
    ]
