"""Confidence intervals over prompts that hold at few of them: of a mean, of a share of votes, of any statistic."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from statistics import NormalDist
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Ends: TypeAlias = tuple[float, float] | tuple[None, None]
"""Both ends of an interval, or neither where there is none."""

FEWEST_PROMPTS = 5  # of fewer, no interval is told
_NO_SPREAD = 1e-12  # share of the greatest value up to which a deviation is rounding
_BLOCK = 1 << 22  # numbers that a block of resamples holds


def mean_interval(values: ArrayLike, *, num_resamples: int = 10_000, confidence: float = 0.95, seed: int = 0) -> Ends:
    """Interval of the mean of what values were drawn from, by the studentised bootstrap.

    Each resample has a t* = (mean* - mean) / se* with se = sd / sqrt(n), and the interval is mean - t*_high se to
    mean - t*_low se: under skewness its longer side is the right one. A resample without spread has an infinite t*;
    where an end would be infinite, because nearly all values are the same, the interval is Student's, mean +- t se.

    Args:
        values: (n,), finite.
        num_resamples: number of bootstrap draws, at least 1.
        confidence: share of cases in which the interval is to hold that mean, in (0, 1).
        seed: of the draws: the same seed gives the same interval.

    Returns:
        Its ends; none for fewer than 5 values, or where they do not vary (up to rounding).

    Source: B. Efron and R. Tibshirani, "An Introduction to the Bootstrap", 1993, section 12.5.
    """
    sample = np.asarray(values, dtype=np.float64)
    n, spread = len(sample), deviation(sample)
    if n < FEWEST_PROMPTS or not spread:
        return None, None
    mean, error = float(sample.mean()), spread / math.sqrt(n)
    units = (sample - mean) / spread
    moments = np.stack([units, units**2], axis=1)
    t = np.concatenate([_studentise(counts @ moments / n, n) for counts in draw_counts(n, num_resamples, seed)])
    tail = (1 - confidence) / 2
    with np.errstate(invalid="ignore"):  # between two infinite ones is no number, which is not finite either
        low, high = map(float, np.quantile(t, [tail, 1 - tail], method="weibull"))
    if not (math.isfinite(low) and math.isfinite(high)):
        high = student_quantile(confidence, n - 1)
        low = -high
    return mean - high * error, mean - low * error


def deviation(values: NDArray[np.float64]) -> float:
    """Standard deviation (of n - 1) of (n,) values; 0 for fewer than 2, and where it is no more than rounding."""
    if len(values) < 2:
        return 0.0
    spread = float(values.std(ddof=1))
    return spread if spread > _NO_SPREAD * float(np.abs(values).max()) else 0.0


def _studentise(moments: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """t* of resamples, (num_resamples,), from the means of their values and squares, (num_resamples, 2)."""
    means, squares = moments.T
    variances = np.maximum(squares - means**2, 0.0)
    t = np.where(means == 0, 0.0, np.copysign(np.inf, means))
    np.divide(means, np.sqrt(variances / (n - 1)), out=t, where=variances > _NO_SPREAD)
    return t


def draw_counts(n: int, num_resamples: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """How often each of n prompts is in each resample of n, with replacement: blocks (rows, n) that fit the memory."""
    rng = np.random.default_rng(seed)
    rows = max(1, _BLOCK // n)
    for start in range(0, num_resamples, rows):
        size = min(rows, num_resamples - start)
        draws = rng.integers(0, n, size=(size, n)) + n * np.arange(size)[:, None]
        yield np.bincount(draws.ravel(), minlength=size * n).reshape(size, n).astype(np.float64)


def expanded_percentiles(resampled: NDArray[np.float64], n: int, confidence: float) -> NDArray[np.float64]:
    """Interval of any statistic from its resampled values, as wide as Student's for a mean of few prompts.

    The ends are the quantiles at Phi(-t sqrt(n / (n - 1))) and one minus that, in place of (1 - confidence) / 2: a
    plain percentile interval is too narrow by sqrt((n - 1) / n), and by the normal's z in place of Student's t.

    Args:
        resampled: (num_resamples, ...), the statistic of each resample.
        n: prompts of a resample, at least 2.
        confidence: share of cases in which the interval is to hold the true value, in (0, 1).

    Returns:
        (2, ...), the lower and upper ends.

    Source: T. Hesterberg, "What Teachers Should Know About the Bootstrap", The American Statistician 69, 2015.
    """
    tail = NormalDist().cdf(-student_quantile(confidence, n - 1) * math.sqrt(n / (n - 1)))
    return np.quantile(resampled, [tail, 1 - tail], axis=0)


def share_interval(chosen: ArrayLike, votes: ArrayLike, *, confidence: float = 0.95) -> Ends:
    """Interval of a share of votes that come in clusters, one a prompt: Wilson's, of the effective number of votes.

    share = sum(chosen) / sum(votes). Its variance between prompts, v = n / (n - 1) sum((chosen - share * votes)^2) /
    sum(votes)^2, makes the votes worth share (1 - share) / v independent ones, at most as many as there are; where v is
    0, one a prompt. In Wilson's formula Student's t stands for z. It never leaves [0, 1], nor is it a point: 6 votes of
    6, a prompt each, give 0.48 to 1.

    Args:
        chosen: (n,), votes for the option on each prompt.
        votes: (n,), all votes on each prompt, at least 1.
        confidence: share of cases in which the interval is to hold the true share, in (0, 1).

    Returns:
        Its ends; none for fewer than 5 prompts.

    Source: E. Korn and B. Graubard, "Confidence intervals for proportions with small expected number of positive counts
    estimated from survey data", 1998; Wilson's with that number: C. Franco et al., "Comparative study of confidence
    intervals for proportions in complex sample surveys", 2019.
    """
    hits, given = np.asarray(chosen, dtype=np.float64), np.asarray(votes, dtype=np.float64)
    n, total = len(given), float(given.sum())
    if n < FEWEST_PROMPTS:
        return None, None
    share = float(hits.sum()) / total
    variance = n / (n - 1) * float(((hits - share * given) ** 2).sum()) / total**2
    effective = min(share * (1 - share) / variance, total) if variance > _NO_SPREAD else float(n)
    t2 = student_quantile(confidence, n - 1) ** 2
    middle = (share + t2 / (2 * effective)) / (1 + t2 / effective)
    reach = math.sqrt(t2 * (share * (1 - share) / effective + t2 / (4 * effective**2))) / (1 + t2 / effective)
    return max(0.0, middle - reach), min(1.0, middle + reach)


@lru_cache
def student_quantile(confidence: float, degrees: int) -> float:
    """The t that Student's |T| stays below with a confidence: 0.95 and 5 degrees of freedom give 2.571.

    With T = sqrt(degrees) tan(angle), P(|T| < t) is a finite sum of powers of the angle's cosine; halving finds the
    angle.

    Args:
        confidence: in (0, 1).
        degrees: of freedom, at least 1.

    Source: M. Abramowitz and I. Stegun, "Handbook of Mathematical Functions", 26.7.3 and 26.7.4.
    """
    is_odd = degrees % 2
    steps = np.arange(1, (degrees - is_odd) // 2)
    factors = np.cumprod(np.concatenate([[1.0], (2 * steps - 1 + is_odd) / (2 * steps + is_odd)]))
    powers = 2 * np.arange(len(factors)) + is_odd
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        angle = (low + high) / 2
        chance = math.sin(angle) * float((factors * math.cos(angle) ** powers).sum())
        if is_odd:
            chance = 2 / math.pi * (angle + (chance if degrees > 1 else 0.0))
        low, high = (angle, high) if chance < confidence else (low, angle)
    return math.sqrt(degrees) * math.tan(low)
