"""Whether B beats A on the same prompts, and how sure that is; shares of votes, and whether raters agree."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Values: TypeAlias = Mapping[str, float] | Sequence[float]
"""A candidate's value for each prompt: a mapping from prompt to value, or values in the prompts' order."""


@dataclass(frozen=True)
class PairedDifference:
    """Two candidates on the same prompts.

    difference is mean_b - mean_a, ci_low to ci_high its confidence interval, win_share the share of prompts in [0, 1]
    on which b is higher (a tie counts half), n the number of prompts.
    """

    mean_a: float
    mean_b: float
    difference: float
    ci_low: float
    ci_high: float
    win_share: float
    n: int


def paired_difference(
    a: Values, b: Values, *, num_resamples: int = 10_000, confidence: float = 0.95, seed: int = 0
) -> PairedDifference:
    """Compare two candidates prompt by prompt, with a percentile bootstrap over prompts.

    difference = mean(b - a); prompts are drawn with replacement num_resamples times, and the interval spans the middle
    `confidence` of the resampled differences. a = [1, 2, 3, 4] and b = [2, 2, 5, 3] give means 2.5 and 3,
    difference 0.5 and win share (1 + 0.5 + 1 + 0) / 4 = 0.625. With one prompt the interval is the difference itself.

    Args:
        a: values of one candidate.
        b: those of the other; a mapping needs the same prompts, in any order.
        num_resamples: number of bootstrap draws, at least 1.
        confidence: share of the draws inside the interval, in (0, 1).
        seed: of the draws: the same seed gives the same interval.

    Raises:
        ValueError: no prompts, different prompts, or different numbers of values.
    """
    values_a, values_b = pair_values(a, b)
    changes = values_b - values_a
    n = len(changes)
    draws = np.random.default_rng(seed).integers(0, n, size=(num_resamples, n))
    tail = (1 - confidence) / 2
    ci_low, ci_high = np.quantile(changes[draws].mean(axis=1), [tail, 1 - tail])
    return PairedDifference(
        mean_a=float(values_a.mean()),
        mean_b=float(values_b.mean()),
        difference=float(changes.mean()),
        ci_low=float(ci_low),
        ci_high=float(ci_high),
        win_share=float(((changes > 0) + 0.5 * (changes == 0)).mean()),
        n=n,
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
    """Bring two candidates' values into the same order of prompts: both (n,), float64.

    Args:
        a: values of one candidate.
        b: those of the other; a mapping needs the same prompts, in any order.

    Raises:
        ValueError: no prompts, different prompts, or different numbers of values.
    """
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        if a.keys() != b.keys():
            raise ValueError(f"a and b differ in prompts: {sorted(a.keys() ^ b.keys())}")
        return pair_values(list(a.values()), [b[prompt] for prompt in a])
    if isinstance(a, Mapping) or isinstance(b, Mapping):
        raise ValueError("a and b must both be mappings or both be sequences")
    if len(a) != len(b) or len(a) == 0:
        raise ValueError(f"a and b need the same number of values, at least one; got {len(a)} and {len(b)}")
    return np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)


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
    0.25; the draws cat-cat, cat-dog and dog-dog make b range from 0 to 2/3. With one prompt the interval is the share.

    Args:
        votes: the votes on each prompt, by whomever, at least one in all.
        options: what can be voted for.
        num_resamples: number of bootstrap draws, at least 1.
        confidence: share of the draws inside the interval, in (0, 1).
        seed: of the draws: the same seed gives the same interval.

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
