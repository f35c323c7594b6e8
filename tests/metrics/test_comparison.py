"""Several candidates against the first, by hand and against scipy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from ivideo.metrics.paired import Mean, compare_candidates, describe


def test_seeds_of_a_prompt_are_one_observation_by_hand() -> None:
    prompts, values = ["a", "b", "a"], [[1, 5, 2], [2, 6, 3]]
    means, comparisons = compare_candidates(prompts, {"reward": values, "motion": values})
    assert [mean.mean for mean in means["reward"]] == [3.25, 4.25]
    assert means["reward"][0].std == pytest.approx(3.5 / np.sqrt(2))
    one = comparisons[0]
    assert (one.metric, one.a, one.b) == ("reward", 0, 1)
    assert (one.difference.difference, one.difference.n, one.tests.wins) == (1, 2, 2)
    assert (one.tests.sign_p, one.sign_p_corrected, one.wilcoxon_p_corrected) == (0.5, 1, 1)


def test_every_p_is_corrected_over_metrics_and_candidates() -> None:
    """Against Holm by hand: the smallest of four p by 4, the next by 3, each no less than the one before."""
    rng = np.random.default_rng(0)
    prompts = [f"prompt {i}" for i in range(12)]
    base = rng.normal(size=12)
    columns = {
        metric: [base, base + rng.normal(shift, 1, 12), base + rng.normal(2 * shift, 1, 12)]
        for metric, shift in (("reward", 0.6), ("motion", 0.1))
    }
    _, comparisons = compare_candidates(prompts, columns)
    assert [(one.metric, one.b) for one in comparisons] == [
        ("reward", 1),
        ("reward", 2),
        ("motion", 1),
        ("motion", 2),
    ]
    raw = []
    for one in comparisons:
        changes = columns[one.metric][one.b] - base
        assert one.tests.wilcoxon_p == pytest.approx(stats.wilcoxon(changes, method="exact").pvalue, rel=1e-9)
        assert one.tests.sign_p == pytest.approx(stats.binomtest(int((changes > 0).sum()), 12).pvalue, rel=1e-9)
        raw.append(one.tests.wilcoxon_p)
    order = np.argsort(raw, kind="stable")
    wanted = np.empty(4)
    wanted[order] = np.minimum(1, np.maximum.accumulate(np.array(raw)[order] * [4, 3, 2, 1]))
    assert [one.wilcoxon_p_corrected for one in comparisons] == pytest.approx(list(wanted))


def test_rows_without_a_value_are_left_out_for_all() -> None:
    means, (one,) = compare_candidates(
        ["a", "b", "c", "d"],
        {"consistency": [[1, None, 3, 4], [2, 5, 5, float("nan")]], "none": [[None] * 4] * 2},
    )
    assert [mean.mean for mean in means["consistency"]] == [2, 3.5]
    assert (one.metric, one.difference.n, one.difference.difference) == ("consistency", 2, 1.5)
    assert (one.difference.num_left_out, one.tests.ties) == (2, 0)
    assert means["none"] == [Mean(None, None)] * 2


def test_a_deviation_needs_two_values() -> None:
    assert describe([]) == Mean(None, None)
    assert describe([3]) == Mean(3, None)
    assert describe([1, 3]) == Mean(2, pytest.approx(np.sqrt(2)))


def test_every_candidate_needs_a_value_a_row() -> None:
    with pytest.raises(ValueError, match="zip"):
        compare_candidates(["a", "b"], {"reward": [[1, 2], [1]]})
