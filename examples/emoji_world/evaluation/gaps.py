"""How much of a gap was closed, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ivideo.metrics.statistics import pair_values


@dataclass(frozen=True)
class GapShare:
    """How much of the way from one candidate to a ceiling another one goes.

    share is 0 at the first and 1 at the ceiling, ci_low to ci_high its confidence interval. share is None where the
    ceiling is not above the first; an end of the interval is None where it is unbounded, for want of a sure gap.
    """

    share: float | None
    ci_low: float | None
    ci_high: float | None


def gap_closed(
    a: Mapping[str, float] | Sequence[float],
    b: Mapping[str, float] | Sequence[float],
    ceiling: Mapping[str, float] | Sequence[float],
    *,
    num_resamples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> GapShare:
    """Share of the gap between a and a ceiling that b closed, with a percentile bootstrap over prompts.

    share = mean(b - a) / mean(ceiling - a), a ratio of means; gain and gap are drawn together. a = [1, 2, 3, 4],
    b = [2, 2, 5, 3] and ceiling = [3, 4, 5, 6] give 0.5 / 2 = 0.25. A draw without a gap counts as an infinite share,
    of the gain's sign.

    Args:
        a: one value for each prompt: a mapping from prompt to value, or values in the prompts' order.
        b: the same for the other candidate; a mapping needs the same prompts, in any order.
        ceiling: the same for what both could reach.
        num_resamples: number of bootstrap draws, at least 1.
        confidence: share of the draws inside the interval, in (0, 1).
        seed: of the draws: the same seed gives the same interval.

    Returns:
        The share and its interval.

    Raises:
        ValueError: no prompts, different prompts, or different numbers of values.
    """
    values_a, values_b = pair_values(a, b)
    gains, gaps = values_b - values_a, pair_values(a, ceiling)[1] - values_a
    if gaps.mean() <= 0:
        return GapShare(None, None, None)
    draws = np.random.default_rng(seed).integers(0, len(gaps), size=(num_resamples, len(gaps)))
    drawn_gains, drawn_gaps = gains[draws].mean(axis=1), gaps[draws].mean(axis=1)
    shares = np.where(drawn_gains > 0, np.inf, -np.inf)
    np.divide(drawn_gains, drawn_gaps, out=shares, where=drawn_gaps > 0)
    shares.sort()
    tail = (1 - confidence) / 2 * (num_resamples - 1)
    ends = float(shares[math.floor(tail)]), float(shares[math.ceil(num_resamples - 1 - tail)])
    ci_low, ci_high = (end if math.isfinite(end) else None for end in ends)
    return GapShare(float(gains.mean() / gaps.mean()), ci_low, ci_high)
