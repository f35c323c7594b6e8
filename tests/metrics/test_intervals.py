"""Intervals hold at few prompts, by simulation; quantiles against scipy."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from ivideo.metrics.intervals import draw_counts, expanded_percentiles, mean_interval, share_interval, student_quantile

Draw = Callable[[np.random.Generator, int], np.ndarray]


def share_of_misses(draw: Draw, mean: float, n: int, num_cases: int) -> float:
    """In which share of samples of n the interval leaves the true mean out."""
    rng = np.random.default_rng(n)
    misses = 0
    for case in range(num_cases):
        low, high = mean_interval(draw(rng, n), num_resamples=600, seed=case)
        misses += not low <= mean <= high
    return misses / num_cases


@pytest.mark.parametrize("n", [6, 12, 28])
def test_interval_of_normal_differences_leaves_out_the_truth_in_5_percent(n: int) -> None:
    assert 0.03 <= share_of_misses(lambda rng, n: rng.normal(size=n), 0.0, n, 1600) <= 0.075


@pytest.mark.parametrize("n", [6, 28])
def test_interval_of_skewed_differences_misses_little_more(n: int) -> None:
    """Student's interval misses 12 and 7 % here, a percentile interval 20 and 9 %."""
    assert 0.03 <= share_of_misses(lambda rng, n: rng.exponential(size=n), 1.0, n, 1000) <= 0.095


def test_skewed_values_reach_farther_on_their_long_side() -> None:
    values = np.random.default_rng(0).exponential(size=12)
    low, high = mean_interval(values)
    assert high - values.mean() > 1.3 * (values.mean() - low)


@pytest.mark.parametrize("values", [[], [1.0], [1, 2, 3, 4], [0.1 + 0.2, 0.3, 0.3, 0.3, 0.3]])
def test_few_values_or_such_as_do_not_vary_have_no_interval(values: list[float]) -> None:
    assert mean_interval(values) == (None, None)


def test_where_nearly_all_are_ties_the_interval_is_students() -> None:
    values = [0.0] * 27 + [1.0]
    reach = stats.t.ppf(0.975, 27) * np.std(values, ddof=1) / math.sqrt(28)
    assert mean_interval(values) == pytest.approx((1 / 28 - reach, 1 / 28 + reach))


def test_same_seed_same_interval_whatever_the_unit() -> None:
    values = np.random.default_rng(0).normal(size=9)
    low, high = mean_interval(values)
    assert (low, high) == mean_interval(values)
    assert (low, high) != mean_interval(values, seed=1)
    assert mean_interval(1e-9 * values) == pytest.approx((1e-9 * low, 1e-9 * high), rel=1e-9)
    wide = mean_interval(values, confidence=0.99)
    assert wide[0] < low < high < wide[1]


def test_resamples_come_in_blocks_that_are_whole() -> None:
    blocks = list(draw_counts(700_000, 13, seed=0))
    assert [len(block) for block in blocks] == [5, 5, 3]
    assert all((block.sum(axis=1) == 700_000).all() for block in blocks)


@pytest.mark.parametrize("degrees", [1, 2, 4, 5, 11, 28, 1001])
def test_students_quantile_agrees_with_scipy(degrees: int) -> None:
    for confidence in (0.5, 0.95, 0.999):
        wanted = stats.t.ppf((1 + confidence) / 2, degrees)
        assert student_quantile(confidence, degrees) == pytest.approx(wanted, rel=1e-9)


def test_expanded_percentiles_of_a_mean_are_as_wide_as_students_interval() -> None:
    values = np.random.default_rng(3).normal(size=8)
    means = np.concatenate([counts @ values / 8 for counts in draw_counts(8, 20_000, seed=0)])
    low, high = expanded_percentiles(means, 8, 0.95)
    reach = stats.t.ppf(0.975, 7) * values.std(ddof=1) / math.sqrt(8)
    assert high - low == pytest.approx(2 * reach, rel=0.12)


def test_share_of_independent_votes_has_wilsons_interval_with_students_t() -> None:
    """7 of 20 prompts with a vote each: p = .35, v = p (1 - p) / 19, so that 19 votes are effective."""
    t = stats.t.ppf(0.975, 19)
    middle, spread = (0.35 + t**2 / 38) / (1 + t**2 / 19), math.sqrt(0.35 * 0.65 / 19 + t**2 / (4 * 19**2))
    reach = t * spread / (1 + t**2 / 19)
    assert share_interval([1] * 7 + [0] * 13, [1] * 20) == pytest.approx((middle - reach, middle + reach))


def test_share_of_one_or_none_is_no_point() -> None:
    low, high = share_interval([3] * 6, [3] * 6)
    assert (low, high) == (pytest.approx(0.476, abs=1e-3), 1.0)
    assert share_interval([0] * 6, [3] * 6) == pytest.approx((0.0, 1 - low))
    assert share_interval([1] * 4, [1] * 4) == (None, None)


@pytest.mark.parametrize(("n", "num_raters", "p"), [(6, 1, 0.6), (6, 3, 0.85), (28, 3, 0.6), (28, 1, 0.95)])
def test_share_of_votes_that_prompts_sway_is_held(n: int, num_raters: int, p: float) -> None:
    rng = np.random.default_rng(n)
    misses = 0
    for _ in range(1500):
        low, high = share_interval(rng.binomial(num_raters, rng.beta(4 * p, 4 * (1 - p), n)), np.full(n, num_raters))
        misses += not low <= p <= high
    assert misses / 1500 <= 0.075
