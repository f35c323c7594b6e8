"""Bradley-Terry strengths by hand, and what their intervals hold."""

from __future__ import annotations

import math

import numpy as np
import pytest

from ivideo.metrics.strengths import Strength, bradley_terry


def make_wins(duels: list[dict[tuple[int, int], float]], num_candidates: int) -> np.ndarray:
    """Each prompt's wins: {(winner, loser): how often}."""
    wins = np.zeros((len(duels), num_candidates, num_candidates))
    for prompt, won in enumerate(duels):
        for pair, count in won.items():
            wins[prompt][pair] = count
    return wins


def test_strength_of_two_is_the_log_odds_with_half_a_win_more_for_each() -> None:
    first, second = bradley_terry(make_wins([{(1, 0): 5, (0, 1): 1}, {(1, 0): 2, (0, 1): 2}], 2))
    assert first == Strength(0.0, None, None)
    assert second == Strength(pytest.approx(math.log(7.5 / 3.5)), None, None)  # 2 prompts have no interval


def test_all_pairs_together_decide() -> None:
    """At the maximum each candidate wins as often as the model expects; also one that never met the first."""
    wins = make_wins([{(1, 0): 8, (0, 1): 2, (2, 1): 6, (1, 2): 4}, {(3, 2): 1000, (2, 3): 0}], 4)
    strengths = np.array([one.strength for one in bradley_terry(wins)])
    assert strengths[:3] == pytest.approx([0, math.log(8.5 / 2.5), math.log(8.5 / 2.5 * 6.5 / 4.5)])
    assert strengths[3] - strengths[2] == pytest.approx(math.log(1000.5 / 0.5))
    ring = make_wins([{(1, 0): 5, (0, 1): 1, (2, 1): 5, (1, 2): 1, (0, 2): 3, (2, 0): 3}], 3)
    strengths = np.array([one.strength for one in bradley_terry(ring)])
    halved = ring[0] + 0.5 * (1 - np.eye(3))
    chances = 1 / (1 + np.exp(strengths[None, :] - strengths[:, None]))
    assert ((halved + halved.T) * chances).sum(1) == pytest.approx(halved.sum(1))


def test_who_was_never_held_against_anybody_has_none() -> None:
    strengths = bradley_terry(make_wins([{(1, 0): 1, (3, 2): 1}] * 6, 4))
    assert strengths[1] == Strength(pytest.approx(math.log(6.5 / 0.5)), None, None)  # all alike: nothing varies
    assert strengths[2] == strengths[3] == Strength(None, None, None)


def test_interval_is_over_prompts_not_over_votes() -> None:
    rng = np.random.default_rng(0)
    won = rng.random(20) < 0.7
    one, many = (bradley_terry(make_wins([{(1, 0): n * w, (0, 1): n * (1 - w)} for w in won], 2))[1] for n in (1, 100))
    assert one.ci_low < one.strength < one.ci_high
    assert many.ci_high - many.ci_low == pytest.approx(one.ci_high - one.ci_low, rel=0.2)
    assert bradley_terry(make_wins([{(1, 0): w, (0, 1): 1 - w} for w in won], 2))[1] == one


@pytest.mark.parametrize("n", [12, 28])
def test_interval_holds_the_true_strengths(n: int) -> None:
    truth = np.array([0.0, 0.5, 1.0])
    chances = 1 / (1 + np.exp(truth[None, :] - truth[:, None]))
    rng = np.random.default_rng(n)
    misses = []
    for case in range(150):
        wins = np.zeros((n, 3, 3))
        for a, b in ((0, 1), (0, 2), (1, 2)):
            wins[:, a, b] = rng.binomial(3, chances[a, b], n)
            wins[:, b, a] = 3 - wins[:, a, b]
        found = bradley_terry(wins, num_resamples=400, seed=case)
        misses += [not one.ci_low <= true <= one.ci_high for one, true in zip(found[1:], truth[1:], strict=True)]
    assert 0.01 <= np.mean(misses) <= 0.1
