"""Paired differences by hand and against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from ivideo.metrics.statistics import group_by_prompt, paired_difference


def test_means_difference_and_win_share_by_hand() -> None:
    result = paired_difference([1, 2, 3, 4], [2, 2, 5, 3])
    assert (result.mean_a, result.mean_b, result.difference) == (2.5, 3.0, 0.5)
    assert result.win_share == 0.625
    assert result.n == 4
    assert result.ci_low < 0.5 < result.ci_high


def test_interval_of_two_prompts_by_hand() -> None:
    """The mean of two draws from (0, 1) is 0, 0.5 or 1 with chances 1/4, 1/2, 1/4: the middle 95 % is all of it."""
    result = paired_difference([0, 0], [0, 1])
    assert (result.ci_low, result.ci_high) == (0.0, 1.0)
    narrow = paired_difference([0, 0], [0, 1], confidence=0.4)
    assert (narrow.ci_low, narrow.ci_high) == (0.5, 0.5)


def test_interval_agrees_with_scipy() -> None:
    generator = np.random.default_rng(1)
    a = generator.normal(0.25, 0.02, 60)
    b = a + generator.normal(0.01, 0.02, 60)
    ours = paired_difference(list(a), list(b))
    theirs = stats.bootstrap((b - a,), np.mean, n_resamples=10_000, method="percentile", rng=2).confidence_interval
    assert ours.ci_low == pytest.approx(theirs.low, abs=4e-4)
    assert ours.ci_high == pytest.approx(theirs.high, abs=4e-4)


def test_mappings_are_paired_by_prompt_not_by_order() -> None:
    result = paired_difference({"cat": 1.0, "dog": 5.0}, {"dog": 6.0, "cat": 2.0})
    assert (result.difference, result.ci_low, result.ci_high, result.win_share) == (1.0, 1.0, 1.0, 1.0)


def test_one_prompt_has_no_spread() -> None:
    result = paired_difference([0.25], [0.5])
    assert (result.difference, result.ci_low, result.ci_high, result.n) == (0.25, 0.25, 0.25, 1)


def test_the_seed_decides_the_interval() -> None:
    a, b = list(range(7)), [3.0, 1, 4, 1, 5, 9, 2]
    assert paired_difference(a, b, num_resamples=50) == paired_difference(a, b, num_resamples=50)
    assert paired_difference(a, b, num_resamples=50) != paired_difference(a, b, num_resamples=50, seed=1)


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ([], [], "at least one"),
        ([1], [1, 2], "same number"),
        ({"cat": 1}, {"dog": 1}, "differ in prompts"),
        ({"cat": 1}, [1], "both be"),
    ],
)
def test_what_cannot_be_paired_is_refused(a: object, b: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        paired_difference(a, b)  # type: ignore[arg-type]


def test_seeds_of_one_prompt_are_averaged_first() -> None:
    grouped = group_by_prompt(["b", "a", "b"], [1, 5, 2])
    assert grouped == {"b": 1.5, "a": 5.0}
    assert list(grouped) == ["b", "a"]
    with pytest.raises(ValueError, match="zip"):
        group_by_prompt(["a"], [])
