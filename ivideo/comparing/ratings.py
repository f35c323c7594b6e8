"""People as reward models: the answers of a blind rating page become shares of preference.

`read_ratings` gives what `results["preference"]` holds and the report shows:

    {"study": "5f0c...", "num_raters": 3, "num_ratings": 60, "confidence": 0.95,
     "pairs": [{"a": 0, "b": 1,
                "questions": {"quality": {"num_votes": 60, "num_items": 20, "num_prompts": 10,
                                          "shares": {"b": 0.7, "tie": 0.1, "a": 0.2},
                                          "ci": {"b": [0.6, 0.8], "tie": [0.05, 0.2], "a": [0.1, 0.3]},
                                          "agreement": {"alpha": 0.41, "percent": 0.7}},
                              "alignment": null}}]}

a and b are indices of candidates, a the baseline; a question that nobody answered is null. `num_ratings` counts items
with at least one answer, each rater apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ivideo.errors import UsageError
from ivideo.metrics.agreement import agreement, vote_shares
from ivideo.report.rating_page import QUESTIONS, Rating, RatingKey, read_answers, read_key

OPTIONS = ("b", "tie", "a")


CONFIDENCE = 0.95


def read_ratings(files: Sequence[Path], folder: Path) -> dict[str, Any]:
    """Join the answers of any number of raters.

    Where a rater (names are the same whatever their case) answered an item more than once, the file that was saved last
    counts. Intervals are 95 % bootstrap intervals over prompts.

    Args:
        files: that `rate.html` saved, in any order.
        folder: where the page and its key were written.

    Returns:
        The table of the module's docstring.

    Raises:
        UsageError: no files, or no answers in them.
        IvideoError: one is no answers file, or answers another study or an unknown item; the message names it.
    """
    if not files:
        raise UsageError("no ratings: name the files that the rating page saved")
    key = read_key(folder)
    answers = sorted((read_answers(path, key) for path in files), key=lambda one: one.saved_utc)
    ratings = {
        (one.rater.casefold(), rating.id): rating
        for one in answers
        for rating in one.ratings
        if rating.quality or rating.alignment
    }
    if not ratings:
        raise UsageError("the ratings hold no answers yet")
    pairs = sorted({tuple(sorted((item.left, item.right))) for item in key.items.values()})
    last_words = list(ratings.values())
    return {
        "study": key.study,
        "num_raters": len({rater for rater, _ in ratings}),
        "num_ratings": len(ratings),
        "confidence": CONFIDENCE,
        "pairs": [
            {"a": a, "b": b, "questions": {name: tally(name, (a, b), last_words, key) for name in QUESTIONS}}
            for a, b in pairs
        ],
    }


def tally(question: str, pair: tuple[int, int], ratings: Sequence[Rating], key: RatingKey) -> dict[str, Any] | None:
    """One question's shares and agreement on one pair of candidates.

    Args:
        question: "quality" or "alignment".
        pair: candidates a and b.
        ratings: each rater's last word on each item.
        key: tells the sides.

    Returns:
        The entry of the module's docstring, None where nobody answered.
    """
    by_item: dict[str, list[str]] = {}
    by_prompt: dict[str, list[str]] = {}
    for rating in ratings:
        place, side = key.items[rating.id], getattr(rating, question)
        if side is None or {place.left, place.right} != {*pair}:
            continue
        vote = "tie" if side == "tie" else "ab"[pair.index(getattr(place, side))]
        by_item.setdefault(rating.id, []).append(vote)
        by_prompt.setdefault(place.prompt, []).append(vote)
    if not by_item:
        return None
    shares = vote_shares(by_prompt, OPTIONS, confidence=CONFIDENCE)
    return {
        "num_votes": sum(map(len, by_item.values())),
        "num_items": len(by_item),
        "num_prompts": len(by_prompt),
        "shares": {option: one.share for option, one in shares.items()},
        "ci": {option: [one.ci_low, one.ci_high] for option, one in shares.items()},
        "agreement": asdict(agreement(list(by_item.values()))),
    }
