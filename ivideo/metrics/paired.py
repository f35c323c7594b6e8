"""Candidates on the same prompts: each one's mean, each against the first, and whether that can be chance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ivideo.metrics.intervals import deviation
from ivideo.metrics.statistics import PairedDifference, Values, group_by_prompt, pair_values, paired_difference

Key = TypeVar("Key")
_MOST_EXACT = 200


@dataclass(frozen=True)
class PairedTests:
    """Two candidates on the same prompts; no number is NaN, so that JSON can hold them.

    Attributes:
        wins: prompts on which b is higher.
        ties: prompts on which both are equal.
        losses: prompts on which a is higher.
        sign_p: exact two-sided p of the sign test, in (0, 1]; 1 where all are ties.
        wilcoxon_p: two-sided p of Wilcoxon's signed-rank test, in (0, 1]; 1 where all are ties.
        effect_size: Cohen's d_z; None for one prompt, or where the differences do not vary.
    """

    wins: int
    ties: int
    losses: int
    sign_p: float
    wilcoxon_p: float
    effect_size: float | None


def paired_tests(a: Values, b: Values) -> PairedTests:
    """Test two candidates prompt by prompt.

    a = [1, 2, 3, 4] and b = [2, 2, 5, 3], differences [1, 0, 2, -1], give 2 wins, 1 tie and 1 loss, sign_p 1,
    wilcoxon_p 0.75 and effect size 0.5 / 1.291 = 0.387.

    Args:
        a: values of one candidate.
        b: those of the other; a mapping needs the same prompts, in any order.

    Raises:
        ValueError: no prompts, different prompts, different numbers of values, or no finite ones.
    """
    values_a, values_b = pair_values(a, b)
    changes = values_b - values_a
    wins, losses = int((changes > 0).sum()), int((changes < 0).sum())
    return PairedTests(
        wins=wins,
        ties=len(changes) - wins - losses,
        losses=losses,
        sign_p=sign_test(wins, losses),
        wilcoxon_p=wilcoxon_signed_rank(changes),
        effect_size=cohens_d_z(changes),
    )


def sign_test(wins: int, losses: int) -> float:
    """Give the exact two-sided p of as uneven a split, if wins and losses are equally likely.

    p = min(1, 2 P(X <= min(wins, losses))), X ~ Binomial(wins + losses, 1/2). Ties are dropped before. 7 wins and 1
    loss give 2 (1 + 8) / 2^8 = 0.0703; 0 and 0 give 1.

    Args:
        wins: at least 0.
        losses: at least 0.
    """
    n = wins + losses
    at_most = sum(math.comb(n, k) for k in range(min(wins, losses) + 1))
    return min(1.0, float(2 * at_most / 2**n))


def wilcoxon_signed_rank(changes: ArrayLike) -> float:
    """Give Wilcoxon's two-sided p: whether the differences lie symmetrically around 0.

    The differences are ranked by size, equal sizes sharing their mean rank, and W is the sum of the ranks of the
    positive ones. p = min(1, 2 min(P(W <= w), P(W >= w))), signs being equally likely. Differences of 0 are dropped;
    where all are 0, p is 1. [1, 2, -1] have the ranks 1.5, 3 and 1.5, so w = 4.5 of 6 and p = 2 * 3/8 = 0.75.

    Up to 200 differences the distribution is exact, also with equal sizes; beyond, it is the normal one of the same
    mean and variance.

    Args:
        changes: (n,), one difference for each prompt.

    Source: F. Wilcoxon, "Individual comparisons by ranking methods", 1945.
    """
    values = np.asarray(changes, dtype=np.float64)
    values = values[values != 0]
    _, places, counts = np.unique(np.abs(values), return_inverse=True, return_counts=True)
    doubled_ranks = (2 * counts.cumsum() - counts + 1)[places]
    doubled_sum = int(doubled_ranks[values > 0].sum())
    if len(values) <= _MOST_EXACT:
        chances = _signed_sum_chances(doubled_ranks)
        return min(1.0, 2 * float(min(chances[: doubled_sum + 1].sum(), chances[doubled_sum:].sum())))
    spread = math.sqrt(float((doubled_ranks.astype(np.float64) ** 2).sum())) / 2
    return math.erfc(abs(doubled_sum - doubled_ranks.sum() / 2) / spread / math.sqrt(2))


def cohens_d_z(changes: ArrayLike) -> float | None:
    """Give the effect size of paired differences: their mean in standard deviations.

    d_z = mean / standard deviation (of n - 1). 0.2 is called small, 0.5 medium, 0.8 large. Differences [1, 0, 2, -1]
    give 0.5 / 1.291 = 0.387.

    Args:
        changes: (n,), one difference for each prompt, at least one.

    Returns:
        The size with the mean's sign, or None for one prompt or where the differences are all alike (up to rounding).

    Source: J. Cohen, "Statistical power analysis for the behavioral sciences", 1988; d_z after Lakens, 2013.
    """
    values = np.asarray(changes, dtype=np.float64)
    spread = deviation(values)
    return float(values.mean()) / spread if spread else None


def holm(p_values: Mapping[Key, float]) -> dict[Key, float]:
    """Correct several tests' p so that the chance of any false find stays at the level (Holm's step-down).

    In rising order the k-th of m becomes the greatest (m - j + 1) p_j of j <= k, at most 1. 0.01, 0.04 and 0.03 become
    0.03, 0.06 and 0.06.

    Args:
        p_values: p of each test, such as of each metric and candidate; the corrected ones come in the same order.

    Source: S. Holm, "A simple sequentially rejective multiple test procedure", 1979.
    """
    corrected: dict[Key, float] = {}
    greatest = 0.0
    for rank, key in enumerate(sorted(p_values, key=p_values.__getitem__)):
        greatest = max(greatest, min(1.0, (len(p_values) - rank) * p_values[key]))
        corrected[key] = greatest
    return {key: corrected[key] for key in p_values}


def _signed_sum_chances(weights: NDArray[np.int64]) -> NDArray[np.float64]:
    """Chance of each sum from 0 to the sum of all weights, each weight being in it or not with chance 1/2."""
    chances = np.zeros(int(weights.sum()) + 1)
    chances[0] = 1.0
    for weight in weights:
        moved = chances[: len(chances) - weight] / 2
        chances /= 2
        chances[weight:] += moved
    return chances


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
        difference: means, their difference and its interval; `num_left_out` counts rows.
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

    Several clips of a prompt count as one observation, their mean. A row in which a candidate has no value, or one that
    is no finite number, is left out for all of them, and counted. Every p is corrected over all metrics and candidates
    at once, by Holm: prompts "a", "b", "a" with the values 1, 5, 2 of one candidate and 2, 6, 3 of the other give the
    means 3.25 and 4.25, difference 1 and 2 wins, sign_p 0.5; beside a metric of the same p both become 1.

    Args:
        prompts: (num_rows,), the prompt of each row.
        values: by metric: for each candidate the values of the rows, in the same order; None or NaN where there is
            none.

    Returns:
        Each metric's means, one a candidate; and the comparisons, metric by metric, without the metrics that
        have no row of values.

    Raises:
        ValueError: different numbers of values.
    """
    means: dict[str, list[Mean]] = {}
    comparisons: list[Comparison] = []
    for metric, columns in values.items():
        sides, num_left_out = _group_complete(prompts, columns)
        means[metric] = [describe(list(side.values())) for side in sides]
        comparisons += [
            _compare(metric, b, sides[0], side, num_left_out) for b, side in enumerate(sides) if b > 0 and len(side) > 0
        ]
    return means, _correct(comparisons)


def describe(values: Sequence[float]) -> Mean:
    """Mean and standard deviation (of n - 1), None where there are too few values: 1 and 3 give 2 and 1.414.

    Args:
        values: one a prompt.
    """
    if not values:
        return Mean(None, None)
    return Mean(float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None)


def _group_complete(prompts: Sequence[str], columns: Columns) -> tuple[list[dict[str, float]], int]:
    """Each candidate's mean of each prompt, over the rows in which all have a number; and how many have not."""
    rows = [(prompt, np.array(row, np.float64)) for prompt, *row in zip(prompts, *columns, strict=True)]  # None: NaN
    complete = [(prompt, row) for prompt, row in rows if np.isfinite(row).all()]
    kept = [prompt for prompt, _ in complete]
    sides = [group_by_prompt(kept, [float(row[i]) for _, row in complete]) for i in range(len(columns))]
    return sides, len(rows) - len(complete)


def _compare(
    metric: str, b: int, first: Mapping[str, float], other: Mapping[str, float], num_left_out: int
) -> Comparison:
    difference = replace(paired_difference(first, other), num_left_out=num_left_out)
    tests = paired_tests(first, other)
    return Comparison(metric, 0, b, difference, tests, tests.sign_p, tests.wilcoxon_p)


def _correct(comparisons: Sequence[Comparison]) -> list[Comparison]:
    signs = holm({(one.metric, one.b): one.tests.sign_p for one in comparisons})
    ranks = holm({(one.metric, one.b): one.tests.wilcoxon_p for one in comparisons})
    return [
        replace(one, sign_p_corrected=signs[one.metric, one.b], wilcoxon_p_corrected=ranks[one.metric, one.b])
        for one in comparisons
    ]
