"""Paired differences by hand."""

from __future__ import annotations

import numpy as np
import pytest

from ivideo.metrics.intervals import mean_interval
from ivideo.metrics.statistics import group_by_prompt, paired_difference


def test_means_difference_and_win_share_by_hand() -> None:
    result = paired_difference([1, 2, 3, 4], [2, 2, 5, 3])
    assert (result.mean_a, result.mean_b, result.difference) == (2.5, 3.0, 0.5)
    assert result.win_share == 0.625
    assert result.n == 4
    assert (result.ci_low, result.ci_high) == (None, None)  # too few prompts


def test_mappings_are_paired_by_prompt_not_by_order() -> None:
    result = paired_difference({"cat": 1.0, "dog": 5.0}, {"dog": 6.0, "cat": 2.0})
    assert (result.difference, result.win_share, result.n) == (1.0, 1.0, 2)


def test_interval_is_that_of_the_differences() -> None:
    a, b = [5.0, 1, 4, 2, 8, 6], [3.0, 1, 4, 1, 5, 9]
    result = paired_difference(a, b)
    assert (result.ci_low, result.ci_high) == mean_interval(np.subtract(b, a))


def test_what_is_no_number_is_left_out_and_counted() -> None:
    nan, inf = float("nan"), float("inf")
    result = paired_difference([1, nan, 2, 3, 1], [2, 5, nan, inf, 1])
    assert (result.mean_a, result.mean_b, result.win_share) == (1.0, 1.5, 0.75)
    assert (result.n, result.num_left_out) == (2, 3)
    by_prompt = paired_difference({"cat": nan, "dog": 1.0}, {"dog": 2.0, "cat": 1.0})
    assert (by_prompt.difference, by_prompt.n, by_prompt.num_left_out) == (1.0, 1, 1)


def test_the_seed_decides_the_interval() -> None:
    a, b = list(range(7)), [3.0, 1, 4, 1, 5, 9, 2]
    assert paired_difference(a, b, num_resamples=50) == paired_difference(a, b, num_resamples=50)
    assert paired_difference(a, b, num_resamples=50) != paired_difference(a, b, num_resamples=50, seed=1)


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ([], [], "at least one"),
        ([1], [1, 2], "same number"),
        ([float("nan")], [1], "no prompt on which both are numbers"),
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
