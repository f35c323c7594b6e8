"""Whether B beats A on the same prompts, and how sure that is; shares of votes, and whether raters agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ivideo.metrics.intervals import mean_interval, share_interval

Values: TypeAlias = Mapping[str, float] | Sequence[float]
"""A candidate's value for each prompt: a mapping from prompt to value, or values in the prompts' order.

A prompt that has no finite value on a side is left out."""


@dataclass(frozen=True)
class PairedDifference:
    """Two candidates on the same prompts.

    Attributes:
        mean_a: mean of the first one.
        mean_b: of the other.
        difference: mean_b - mean_a.
        ci_low: of its confidence interval; None for fewer than 5 prompts, or where the differences do not vary.
        ci_high: likewise.
        win_share: share of prompts in [0, 1] on which b is higher; a tie counts half.
        n: number of prompts.
        num_left_out: values that were left out, because one of the two was no number.
    """

    mean_a: float
    mean_b: float
    difference: float
    ci_low: float | None
    ci_high: float | None
    win_share: float
    n: int
    num_left_out: int = 0


def paired_difference(
    a: Values, b: Values, *, num_resamples: int = 10_000, confidence: float = 0.95, seed: int = 0
) -> PairedDifference:
    """Compare two candidates prompt by prompt, with a studentised bootstrap over prompts (`mean_interval`).

    difference = mean(b - a). a = [1, 2, 3, 4] and b = [2, 2, 5, 3] give means 2.5 and 3, difference 0.5 and win share
    (1 + 0.5 + 1 + 0) / 4 = 0.625, without an interval: 4 prompts are too few.

    Args:
        a: values of one candidate.
        b: those of the other; a mapping needs the same prompts, in any order.
        num_resamples: number of bootstrap draws, at least 1.
        confidence: share of cases in which the interval is to hold the true difference, in (0, 1).
        seed: of the draws: the same seed gives the same interval.

    Raises:
        ValueError: no prompts, different prompts, different numbers of values, or no finite ones.
    """
    values_a, values_b = pair_values(a, b)
    changes = values_b - values_a
    ci_low, ci_high = mean_interval(changes, num_resamples=num_resamples, confidence=confidence, seed=seed)
    return PairedDifference(
        mean_a=float(values_a.mean()),
        mean_b=float(values_b.mean()),
        difference=float(changes.mean()),
        ci_low=ci_low,
        ci_high=ci_high,
        win_share=float(((changes > 0) + 0.5 * (changes == 0)).mean()),
        n=len(changes),
        num_left_out=len(a) - len(changes),
    )


def group_by_prompt(prompts: Sequence[str], values: Sequence[float]) -> dict[str, float]:
    """Average the values of each prompt, so that several seeds of one prompt count as one observation.

    Prompts ["a", "b", "a"] with values [1, 5, 2] give {"a": 1.5, "b": 5.0}, in the order in which prompts come first.

    Args:
        prompts: (n,), the prompt of each value.
        values: (n,), one value for each video.

    Raises:
        ValueError: different lengths.
    """
    groups: dict[str, list[float]] = {}
    for prompt, value in zip(prompts, values, strict=True):
        groups.setdefault(prompt, []).append(value)
    return {prompt: float(np.mean(group)) for prompt, group in groups.items()}


def pair_values(a: Values, b: Values) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Bring two candidates' values into the same order of prompts: both (n,), float64, finite.

    Args:
        a: values of one candidate.
        b: those of the other; a mapping needs the same prompts, in any order.

    Raises:
        ValueError: no prompts, different prompts, different numbers of values, or no finite ones.
    """
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        if a.keys() != b.keys():
            raise ValueError(f"a and b differ in prompts: {sorted(a.keys() ^ b.keys())}")
        return pair_values(list(a.values()), [b[prompt] for prompt in a])
    if isinstance(a, Mapping) or isinstance(b, Mapping):
        raise ValueError("a and b must both be mappings or both be sequences")
    if len(a) != len(b) or len(a) == 0:
        raise ValueError(f"a and b need the same number of values, at least one; got {len(a)} and {len(b)}")
    values = np.array([a, b], dtype=np.float64)
    finite = values[:, np.isfinite(values).all(axis=0)]
    if not finite.size:
        raise ValueError("a and b have no prompt on which both are numbers")
    return finite[0], finite[1]


@dataclass(frozen=True)
class Share:
    """A share of votes in [0, 1] with the ends of its confidence interval; None for fewer than 5 prompts."""

    share: float
    ci_low: float | None
    ci_high: float | None


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
    votes: Mapping[str, Sequence[str]], options: Sequence[str], *, confidence: float = 0.95
) -> dict[str, Share]:
    """Share of each option among all votes, with its interval over prompts (`share_interval`).

    share = votes for the option / all votes. {"cat": [b, b, tie], "dog": [a]} gives b 0.5, tie 0.25 and a 0.25. The
    votes on one prompt's clips are not independent: more raters alone make no interval arbitrarily narrow.

    Args:
        votes: the votes on each prompt, by whomever, at least one in all.
        options: what can be voted for.
        confidence: share of cases in which an interval is to hold the true share, in (0, 1).

    Raises:
        ValueError: no votes, or one for something else.
    """
    counts = np.array([[Counter(given)[option] for option in options] for given in votes.values() if given], np.float64)
    if not len(counts):
        raise ValueError("there are no votes")
    if counts.sum() != sum(map(len, votes.values())):
        raise ValueError(f"votes must be among {list(options)}")
    return {
        option: Share(
            float(counts[:, column].sum() / counts.sum()),
            *share_interval(counts[:, column], counts.sum(axis=1), confidence=confidence),
        )
        for column, option in enumerate(options)
    }


def agreement(items: Sequence[Sequence[Hashable]]) -> Agreement:
    """Measure how far raters agree beyond chance: Krippendorff's alpha for names, any rater may miss any item.

    With n_c votes for answer c among the n votes on items with at least two, alpha = 1 - D_o / D_e, where D_o is the
    mean over votes of how often the item's other votes differ from it, and D_e = 1 - sum_c n_c (n_c - 1) / (n (n - 1)).
    Items [a, a], [b, b], [a, b] and [a] have n = 6, n_a = n_b = 3, D_o = 2/6, D_e = 1 - 12/30 = 0.6: alpha = 0.444,
    and two of three items, 0.667, agree.

    Args:
        items: the votes on each item, one a rater.

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
