"""Shares of a gap by hand and against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from examples.emoji_world.evaluation.gaps import GapShare, gap_closed


def test_share_of_the_gap_by_hand() -> None:
    result = gap_closed([1, 2, 3, 4], [2, 2, 5, 3], [3, 4, 5, 6])
    assert result.share == 0.25
    assert gap_closed([0, 0], [0, 1], [1, 1]) == GapShare(0.5, 0.0, 1.0)
    assert gap_closed([0, 0], [0, 1], [1, 1], confidence=0.4) == GapShare(0.5, 0.5, 0.5)


def test_share_is_a_ratio_of_means_not_a_mean_of_ratios() -> None:
    assert gap_closed([0, 0], [1, 1], [1, 4]).share == 0.4


def test_share_interval_agrees_with_scipy() -> None:
    generator = np.random.default_rng(1)
    a = generator.normal(0.25, 0.02, 60)
    b, ceiling = a + generator.normal(0.01, 0.02, 60), a + generator.normal(0.05, 0.03, 60)

    def share(gains: np.ndarray, gaps: np.ndarray, axis: int = -1) -> np.ndarray:
        return gains.mean(axis=axis) / gaps.mean(axis=axis)

    ours = gap_closed(list(a), list(b), list(ceiling))
    theirs = stats.bootstrap(
        (b - a, ceiling - a), share, paired=True, n_resamples=10_000, method="percentile", rng=2
    ).confidence_interval
    assert ours.ci_low == pytest.approx(theirs.low, abs=6e-3)
    assert ours.ci_high == pytest.approx(theirs.high, abs=6e-3)


def test_no_share_where_the_ceiling_is_not_above() -> None:
    assert gap_closed([1, 2], [3, 4], [2, 1]) == GapShare(None, None, None)


def test_an_unsure_gap_leaves_the_interval_open() -> None:
    """Gaps of 1, 0.25 and -0.5 are drawn: a gain of 1 is 1, 4 and infinitely many of them."""
    assert gap_closed([0, 0], [1, 1], [1, -0.5]) == GapShare(4.0, 1.0, None)
    assert gap_closed([0, 0], [-1, -1], [1, -0.5]) == GapShare(-4.0, None, -1.0)


def test_the_gap_is_paired_by_prompt() -> None:
    result = gap_closed({"cat": 0.0, "dog": 4.0}, {"dog": 5.0, "cat": 1.0}, {"dog": 6.0, "cat": 2.0})
    assert result == GapShare(0.5, 0.5, 0.5)
    with pytest.raises(ValueError, match="differ in prompts"):
        gap_closed({"cat": 0.0}, {"cat": 1.0}, {"dog": 2.0})
