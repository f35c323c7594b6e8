"""One strength a candidate out of votes on pairs of them: Bradley and Terry's model, with intervals over prompts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ivideo.metrics.intervals import FEWEST_PROMPTS, draw_counts, expanded_percentiles

_PSEUDO_WINS = 0.5
_MOST_STEPS = 100
_FARTHEST_STEP = 2.0  # of Newton's method, so that it does not run away from far wins
_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Strength:
    """How strong a candidate is against the first one.

    Attributes:
        strength: log of the odds that it is preferred to the first, 0 for the first; 0.69 is 2 to 1. None where no
            chain of votes links the two.
        ci_low: of its confidence interval; None for the first, for fewer than 5 prompts, and where nothing varies.
        ci_high: likewise.
    """

    strength: float | None
    ci_low: float | None
    ci_high: float | None


def bradley_terry(
    wins: NDArray[np.float64], *, num_resamples: int = 10_000, confidence: float = 0.95, seed: int = 0
) -> list[Strength]:
    """Fit P(i is preferred to j) = 1 / (1 + exp(s_j - s_i)) to votes, with s_0 = 0.

    A tie is to be given as half a win for each side: unlike Davidson's model this has no further number to learn, and
    of two candidates the strength is the log odds of their shares with ties halved. Every pair that was voted on gets
    half a win more for each side, so that who always wins has a finite strength too: 7 wins of 10 against 3 give
    log(7.5 / 3.5) = 0.762, and 10 of 10 give log(10.5 / 0.5) = 3.045. Intervals are expanded percentiles of the
    bootstrap over prompts, each drawn with all of its votes.

    Args:
        wins: (num_prompts, num_candidates, num_candidates), how often the one of the row was preferred to the one of
            the column.
        num_resamples: number of bootstrap draws, at least 1.
        confidence: share of cases in which an interval is to hold the true strength, in (0, 1).
        seed: of the draws: the same seed gives the same intervals.

    Returns:
        One a candidate.

    Source: R. Bradley and M. Terry, "Rank analysis of incomplete block designs: the method of paired comparisons",
    1952; the halves: D. Firth, "Bias reduction of maximum likelihood estimates", 1993, of which they are the case of
    one pair.
    """
    num_prompts, num_candidates, _ = wins.shape
    total = wins.sum(axis=0)
    is_compared = total + total.T > 0
    linked = _find_linked(is_compared)
    kept = wins[:, linked][:, :, linked]
    pseudo = _PSEUDO_WINS * is_compared[np.ix_(linked, linked)]
    fitted = _fit(kept.sum(axis=0)[None] + pseudo)[0]
    ends = np.full((2, len(linked)), np.nan)
    if num_prompts >= FEWEST_PROMPTS:
        flat = kept.reshape(num_prompts, -1)
        drawn = [
            _fit((counts @ flat).reshape(-1, len(linked), len(linked)) + pseudo)
            for counts in draw_counts(num_prompts, num_resamples, seed)
        ]
        resampled = np.concatenate(drawn)
        varies = np.ptp(resampled, axis=0) > _TOLERANCE * 10
        ends = np.where(varies, expanded_percentiles(resampled, num_prompts, confidence), np.nan)
    found = dict(zip(linked, zip(fitted, *ends, strict=True), strict=True))
    unknown = np.full(3, np.nan)
    return [
        Strength(*(None if np.isnan(one) else float(one) for one in found.get(index, unknown)))
        for index in range(num_candidates)
    ]


def _find_linked(is_compared: NDArray[np.bool_]) -> list[int]:
    """The candidates that a chain of pairs links with the first one, itself included, in order."""
    linked = np.zeros(len(is_compared), dtype=bool)
    linked[0] = True
    for _ in is_compared:
        linked |= is_compared[linked].any(axis=0)
    return [int(index) for index in np.flatnonzero(linked)]


def _fit(wins: NDArray[np.float64]) -> NDArray[np.float64]:
    """The likeliest strengths, (..., num_candidates), by Newton's method on all of (..., candidates, candidates)."""
    strengths = np.zeros(wins.shape[:-1])
    duels = wins + wins.swapaxes(-1, -2)
    diagonal = np.arange(wins.shape[-1])
    for _ in range(_MOST_STEPS):
        chances = 1 / (1 + np.exp(strengths[..., None, :] - strengths[..., :, None]))
        slopes = (wins - duels * chances).sum(axis=-1)
        curvatures = -duels * chances * (1 - chances)
        curvatures[..., diagonal, diagonal] -= curvatures.sum(axis=-1)
        steps = np.linalg.solve(curvatures[..., 1:, 1:], slopes[..., 1:, None])[..., 0]
        strengths[..., 1:] += np.clip(steps, -_FARTHEST_STEP, _FARTHEST_STEP)
        if not steps.size or np.abs(steps).max() < _TOLERANCE:
            break
    return strengths
