"""Tests of paired differences by hand and against scipy."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
from scipy import stats

from ivideo.metrics.paired import PairedTests, cohens_d_z, holm, paired_tests, sign_test, wilcoxon_signed_rank


def make_changes(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.3, 1, n)


def test_all_of_it_by_hand() -> None:
    result = paired_tests([1, 2, 3, 4], [2, 2, 5, 3])
    assert (result.wins, result.ties, result.losses) == (2, 1, 1)
    assert result.sign_p == 1.0
    assert result.wilcoxon_p == 0.75
    assert result.effect_size == pytest.approx(0.5 / np.sqrt(5 / 3))


def test_mappings_are_paired_by_prompt_not_by_order() -> None:
    result = paired_tests({"cat": 1.0, "dog": 5.0}, {"dog": 6.0, "cat": 2.5})
    assert (result.wins, result.ties, result.losses) == (2, 0, 0)
    with pytest.raises(ValueError, match="differ in prompts"):
        paired_tests({"cat": 1.0}, {"dog": 1.0})


@pytest.mark.parametrize(
    ("wins", "losses", "p"),
    [(0, 0, 1.0), (1, 0, 1.0), (7, 1, 18 / 256), (1, 7, 18 / 256), (4, 4, 1.0), (10, 0, 2 / 1024)],
)
def test_sign_test_by_hand(wins: int, losses: int, p: float) -> None:
    assert sign_test(wins, losses) == pytest.approx(p, rel=1e-12)


@pytest.mark.parametrize(("wins", "losses"), [(5, 2), (13, 14), (40, 60), (700, 500)])
def test_sign_test_agrees_with_scipy(wins: int, losses: int) -> None:
    assert sign_test(wins, losses) == pytest.approx(stats.binomtest(wins, wins + losses).pvalue, rel=1e-9)


@pytest.mark.parametrize("n", [1, 2, 5, 12, 50])
def test_wilcoxon_agrees_with_scipy(n: int) -> None:
    changes = make_changes(n)
    assert wilcoxon_signed_rank(changes) == pytest.approx(stats.wilcoxon(changes, method="exact").pvalue, rel=1e-9)


def test_wilcoxon_with_ties_agrees_with_scipys_permutations() -> None:
    changes = np.array([1, 1, -1, 2, 2, -2, 3, 0, 3, 0.5])
    every_sign = stats.PermutationMethod(n_resamples=np.inf)
    theirs = stats.wilcoxon(changes[changes != 0], method=every_sign).pvalue
    assert wilcoxon_signed_rank(changes) == pytest.approx(theirs, rel=1e-9)


@pytest.mark.parametrize("digits", [6, 0], ids=["all different", "with ties and zeros"])
def test_wilcoxon_of_many_agrees_with_scipy(digits: int) -> None:
    changes = make_changes(400, seed=1).round(digits) - (1 if digits == 0 else 0.25)
    theirs = stats.wilcoxon(changes, method="asymptotic", correction=False).pvalue
    assert wilcoxon_signed_rank(changes) == pytest.approx(theirs, rel=1e-9)


def test_wilcoxon_is_continuous_where_it_turns_normal() -> None:
    changes = make_changes(200) - 0.2
    normal = stats.wilcoxon(changes, method="asymptotic", correction=False).pvalue
    assert wilcoxon_signed_rank(changes) == pytest.approx(normal, rel=0.01)
    assert wilcoxon_signed_rank(changes) != normal


def test_effect_size_by_hand() -> None:
    assert cohens_d_z([1, 3]) == pytest.approx(2 / np.sqrt(2))
    assert cohens_d_z([-1, -3]) == pytest.approx(-2 / np.sqrt(2))


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ([0.25], [0.5], PairedTests(1, 0, 0, 1.0, 1.0, None)),
        ([0.25], [0.25], PairedTests(0, 1, 0, 1.0, 1.0, None)),
        ([0.1, 0.2, 0.3], [0.1, 0.2, 0.3], PairedTests(0, 3, 0, 1.0, 1.0, None)),
        ([0.1, 0.2, 0.3], [0.2, 0.3, 0.4], PairedTests(3, 0, 0, 0.25, 0.25, None)),
    ],
    ids=["one prompt", "one tie", "all ties", "constant up to rounding"],
)
def test_what_does_not_vary_has_no_effect_size_and_fits_json(
    a: list[float], b: list[float], expected: PairedTests
) -> None:
    result = paired_tests(a, b)
    assert result == expected
    assert json.loads(json.dumps(asdict(result), allow_nan=False))["effect_size"] is None


def test_holm_by_hand() -> None:
    corrected = holm({"reward": 0.01, "motion": 0.04, "flicker": 0.03})
    assert corrected == pytest.approx({"reward": 0.03, "motion": 0.06, "flicker": 0.06})
    assert list(corrected) == ["reward", "motion", "flicker"]


def test_holm_never_passes_one_nor_lowers_an_order() -> None:
    assert holm({("reward", "b"): 0.5, ("reward", "c"): 0.9, ("motion", "b"): 1.0}) == {
        ("reward", "b"): 1.0,
        ("reward", "c"): 1.0,
        ("motion", "b"): 1.0,
    }
    assert holm({"a": 0.02, "b": 0.02}) == {"a": 0.04, "b": 0.04}
    assert holm({}) == {}
    assert holm({"a": 0.3}) == {"a": 0.3}
