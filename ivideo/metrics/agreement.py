"""What several people say about the same items: shares with their uncertainty, and whether they agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np


@dataclass(frozen=True)
class Share:
    """A share of votes in [0, 1] with the ends of its confidence interval."""

    share: float
    ci_low: float
    ci_high: float


@dataclass(frozen=True)
class Agreement:
    """How far raters agree on the items that at least two of them judged.

    Attributes:
        alpha: Krippendorff's alpha, 1 for full agreement, 0 for what chance gives; None where nobody disagrees with
            anybody because only one answer was ever given, or no item has two votes.
        percent: mean share of an item's pairs of raters who say the same, in [0, 1]; None where no item has two votes.
    """

    alpha: float | None
    percent: float | None


def vote_shares(
    votes: Mapping[str, Sequence[str]],
    options: Sequence[str],
    *,
    num_resamples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> dict[str, Share]:
    """Share of each option among all votes, with a percentile bootstrap over prompts.

    share = votes for the option / all votes. Prompts are drawn with replacement, each with all of its votes, because
    the votes on one prompt's clips are not independent. {"cat": [b, b, tie], "dog": [a]} gives b 0.5, tie 0.25 and a
    0.25; the draws cat-cat, cat-dog and dog-dog make b range from 0 to 2/3.

    Args:
        votes: the votes on each prompt, by whomever, at least one in all.
        options: what can be voted for.
        num_resamples: number of bootstrap draws, at least 1.
        confidence: share of the draws inside the interval, in (0, 1).
        seed: of the draws: the same seed gives the same interval.

    Returns:
        The share of each option, in their order; with one prompt the interval is the share itself.

    Raises:
        ValueError: no votes, or one for something else.
    """
    counts = np.array([[Counter(given)[option] for option in options] for given in votes.values() if given], np.float64)
    if not len(counts):
        raise ValueError("there are no votes")
    if counts.sum() != sum(map(len, votes.values())):
        raise ValueError(f"votes must be among {list(options)}")
    draws = np.random.default_rng(seed).integers(0, len(counts), size=(num_resamples, len(counts)))
    drawn = np.stack([counts[:, column][draws].sum(axis=1) for column in range(len(options))], axis=1)
    tail = (1 - confidence) / 2
    lows, highs = np.quantile(drawn / drawn.sum(axis=1, keepdims=True), [tail, 1 - tail], axis=0)
    shares = counts.sum(axis=0) / counts.sum()
    return {option: Share(*map(float, row)) for option, *row in zip(options, shares, lows, highs, strict=True)}


def agreement(items: Sequence[Sequence[Hashable]]) -> Agreement:
    """Measure how far raters agree beyond chance: Krippendorff's alpha for names, any rater may miss any item.

    With n_c votes for answer c among the n votes on items with at least two, alpha = 1 - D_o / D_e, where D_o is the
    mean over votes of how often the item's other votes differ from it, and D_e = 1 - sum_c n_c (n_c - 1) / (n (n - 1)).
    Items [a, a], [b, b], [a, b] and [a] have n = 6, n_a = n_b = 3, D_o = 2/6, D_e = 1 - 12/30 = 0.6: alpha = 0.444,
    and two of three items, 0.667, agree.

    Args:
        items: the votes on each item, one a rater.

    Returns:
        The agreement.

    Source: K. Krippendorff, "Computing Krippendorff's alpha-reliability", 2011.
    """
    shared = [Counter(votes) for votes in items if len(votes) > 1]
    if not shared:
        return Agreement(None, None)
    totals = sum(shared, Counter[Hashable]())
    n = totals.total()
    observed = sum(_differing_pairs(counts) / (counts.total() - 1) for counts in shared) / n
    expected = _differing_pairs(totals) / (n * (n - 1))
    same = [1 - _differing_pairs(counts) / (counts.total() * (counts.total() - 1)) for counts in shared]
    return Agreement(1 - observed / expected if expected else None, float(np.mean(same)))


def _differing_pairs(counts: Counter[Hashable]) -> int:
    """Ordered pairs of votes that differ."""
    return 2 * sum(x * y for x, y in combinations(counts.values(), 2))
