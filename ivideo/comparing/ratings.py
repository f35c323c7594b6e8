"""What people said of a comparison's clips: votes by question and pair, and each candidate's strength."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ivideo.errors import UsageError
from ivideo.metrics.statistics import agreement, vote_shares
from ivideo.metrics.strengths import bradley_terry
from ivideo.report.answers import QUESTIONS, Placement, Rating, RatingKey, find_key, read_answers

OPTIONS = ("b", "tie", "a")
TIES = {"tie": "same", "both_good": "both_good", "both_bad": "both_bad"}
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Vote:
    """One rater's answer to one question on one pair of clips.

    Attributes:
        rater: the name, as it was written.
        item: name of the pair on the page.
        place: what was shown where.
        question: "quality" or "alignment".
        answer: the candidate's index that is preferred, else "same", "both_good" or "both_bad".
        seconds: how long the item was on the screen, for all questions.
    """

    rater: str
    item: str
    place: Placement
    question: str
    answer: int | str
    seconds: float

    @property
    def pair(self) -> tuple[int, int]:
        """The candidates a and b, the one with the lower index first."""
        return min(self.place.left, self.place.right), max(self.place.left, self.place.right)

    @property
    def option(self) -> str:
        """What it counts as: a, b or a tie."""
        return "ab"[self.pair.index(self.answer)] if isinstance(self.answer, int) else "tie"


def read_votes(files: Sequence[Path], folder: Path) -> tuple[RatingKey, list[Vote]]:
    """Join the answers of any number of raters to one page.

    Where a rater (names are the same whatever their case) answered an item more than once, the file that was saved last
    counts.

    Args:
        files: that `rate.html` saved, in any order.
        folder: where the page and its key were written.

    Returns:
        The page's key, and the votes in the order of its items.

    Raises:
        UsageError: no files, or no answers in them.
        IvideoError: one is no answers file, or answers another study or an unknown item; the message names it.
    """
    if not files:
        raise UsageError("no ratings: name the files that the rating page saved")
    key = find_key(folder, files[0])
    answers = sorted((read_answers(path, key) for path in files), key=lambda one: one.saved_utc)
    last_words: dict[tuple[str, str], tuple[str, Rating]] = {
        (one.rater.casefold(), rating.id): (one.rater, rating)
        for one in answers
        for rating in one.ratings
        if rating.quality or rating.alignment
    }
    order = {name: number for number, name in enumerate(key.items)}
    votes = [
        _read_vote(rater, rating, key.items[rating.id], question)
        for (_, name), (rater, rating) in sorted(last_words.items(), key=lambda one: (order[one[0][1]], one[0][0]))
        for question in QUESTIONS
        if getattr(rating, question)
    ]
    if not votes:
        raise UsageError("the ratings hold no answers yet")
    return key, votes


def _read_vote(rater: str, rating: Rating, place: Placement, question: str) -> Vote:
    side = getattr(rating, question)
    answer = TIES[side] if side in TIES else getattr(place, side)
    return Vote(rater, rating.id, place, question, answer, rating.seconds)


def describe_votes(key: RatingKey, votes: Sequence[Vote]) -> dict[str, Any]:
    """What was said of each pair of candidates, and how strong each one is.

    Args:
        key: of the page.
        votes: at least one.

    Returns:
        `preference` of results.json: `pairs` with their questions, see `tally`; and `strengths` by question, one a
        candidate, None where nobody answered.
    """
    return {
        "study": key.study,
        "num_raters": len({vote.rater.casefold() for vote in votes}),
        "num_ratings": len({(vote.rater.casefold(), vote.item) for vote in votes}),
        "confidence": CONFIDENCE,
        "pairs": [
            {
                "a": pair[0],
                "b": pair[1],
                "questions": {
                    name: tally([vote for vote in votes if vote.pair == pair and vote.question == name])
                    for name in QUESTIONS
                },
            }
            for pair in sorted({vote.pair for vote in votes})
        ],
        "strengths": {
            name: fit_strengths([vote for vote in votes if vote.question == name], len(key.contestants))
            for name in QUESTIONS
        },
    }


def tally(votes: Sequence[Vote]) -> dict[str, Any] | None:
    """Shares, counts and agreement of the votes on one question and pair; None where nobody answered.

    The shares are of a, b and ties of any kind, and so is the agreement: who says that both are good and who says that
    both are the same prefer neither. The counts tell the kinds apart.
    """
    if not votes:
        return None
    by_item: dict[str, list[str]] = {}
    by_prompt: dict[str, list[str]] = {}
    for vote in votes:
        by_item.setdefault(vote.item, []).append(vote.option)
        by_prompt.setdefault(vote.place.prompt, []).append(vote.option)
    shares = vote_shares(by_prompt, OPTIONS, confidence=CONFIDENCE)
    kinds = Counter(vote.option if isinstance(vote.answer, int) else vote.answer for vote in votes)
    return {
        "num_votes": len(votes),
        "num_items": len(by_item),
        "num_prompts": len(by_prompt),
        "counts": {kind: kinds[kind] for kind in ("b", *TIES.values(), "a")},
        "shares": {option: one.share for option, one in shares.items()},
        "ci": {option: [one.ci_low, one.ci_high] for option, one in shares.items()},
        "agreement": asdict(agreement(list(by_item.values()))),
    }


def fit_strengths(votes: Sequence[Vote], num_candidates: int) -> list[dict[str, float | None]] | None:
    """Each candidate's strength by the votes on one question, ties of any kind being half a win for each side."""
    if not votes:
        return None
    prompts = {prompt: place for place, prompt in enumerate(dict.fromkeys(vote.place.prompt for vote in votes))}
    wins = np.zeros((len(prompts), num_candidates, num_candidates))
    for vote in votes:
        a, b = vote.pair
        share = {"a": 1.0, "b": 0.0, "tie": 0.5}[vote.option]
        wins[prompts[vote.place.prompt], a, b] += share
        wins[prompts[vote.place.prompt], b, a] += 1 - share
    return [asdict(one) for one in bradley_terry(wins, confidence=CONFIDENCE)]
