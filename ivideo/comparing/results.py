"""What a comparison found, as the object that results.json holds, and as a table with a row a clip."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ivideo import __version__
from ivideo.comparing.candidates import Candidate
from ivideo.comparing.pairs import Row
from ivideo.config.settings import GenerationSettings
from ivideo.errors import UsageError
from ivideo.metrics.paired import Comparison, compare_candidates
from ivideo.metrics.registry import METRICS, compared
from ivideo.metrics.statistics import agreement, vote_shares
from ivideo.report.rating_page import QUESTIONS, Rating, RatingKey, read_answers, read_key
from ivideo.rewards.mixture import Rewards
from ivideo.scoring.clips import ClipScore

SCHEMA_VERSION = 2


@dataclass(frozen=True)
class ScoredRow:
    """A row's clips and how they fare.

    Attributes:
        row: which clips.
        videos: the file of each candidate's clip.
        scores: of each clip.
        side_by_side: the file with all of them; None where no pictures are kept.
        notes: what was done to show each candidate's clip, a line each.
    """

    row: Row
    videos: Sequence[Path]
    scores: Sequence[ClipScore]
    side_by_side: Path | None
    notes: Sequence[Sequence[str]]


def describe_results(
    candidates: Sequence[Candidate],
    settings: Sequence[GenerationSettings],
    rewards: Rewards,
    rows: Sequence[ScoredRow],
    *,
    command: str,
    root: Path | None,
) -> dict[str, Any]:
    """Everything that a comparison found.

    Args:
        candidates: the first one is the baseline.
        settings: of each.
        rewards: what videos were scored by.
        rows: at least one.
        command: what was asked for.
        root: folder that the paths are told from; None where no videos are kept, then they are None.

    Returns:
        The object of results.json: schema_version, created, ivideo_version, command, contestants (the candidates),
        judge and judges (how rewards are to be read), metrics (likewise), means, comparisons, rows, and preference,
        which is None until people rate.
    """
    values = collect_values([one.scores for one in rows])
    means, comparisons = compare_candidates([one.row.prompt for one in rows], values)
    return {
        "schema_version": SCHEMA_VERSION,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "ivideo_version": __version__,
        "command": command,
        "contestants": [describe_candidate(*both) for both in zip(candidates, settings, strict=True)],
        "judge": rewards.label,
        "judges": rewards.labels,
        "metrics": {name: describe_metric(name) for name in values},
        "means": {name: [asdict(mean) for mean in one] for name, one in means.items()},
        "comparisons": [describe_comparison(comparison) for comparison in comparisons],
        "rows": [describe_row(one, list(values), root) for one in rows],
        "preference": None,
    }


def collect_values(rows: Sequence[Sequence[ClipScore]]) -> dict[str, list[list[float | None]]]:
    """Every metric's values, [candidate][row], the rewards of further reward models by their names."""
    further = list(rows[0][0].rewards)[1:]
    return {
        name: [[scores[i][name] for scores in rows] for i in range(len(rows[0]))] for name in (*compared(), *further)
    }


def describe_candidate(candidate: Candidate, settings: GenerationSettings) -> dict[str, Any]:
    """Who took part, and with which settings."""
    adapter = candidate.adapter
    return {
        "name": candidate.name,
        "kind": candidate.kind,
        "model": None if candidate.folder else settings.model,
        "folder": str(candidate.folder) if candidate.folder else None,
        "adapter": str(adapter.path) if adapter else None,
        "lora_scale": adapter.scale if adapter else None,
        "settings": settings.model_dump(mode="json"),
    }


def describe_metric(name: str) -> dict[str, Any]:
    """How a metric is to be read; what is no metric is a further reward model, which is read as the reward."""
    metric = METRICS.get(name, METRICS["reward"])
    label = name.replace("_", " ") if name in METRICS else name
    return {"label": label, "unit": metric.unit, "higher_is_better": metric.higher_is_better}


def describe_comparison(comparison: Comparison) -> dict[str, Any]:
    """A comparison as one flat record."""
    return {
        "metric": comparison.metric,
        "a": comparison.a,
        "b": comparison.b,
        **asdict(comparison.difference),
        **asdict(comparison.tests),
        "sign_p_corrected": comparison.sign_p_corrected,
        "wilcoxon_p_corrected": comparison.wilcoxon_p_corrected,
    }


def describe_row(one: ScoredRow, names: Sequence[str], root: Path | None) -> dict[str, Any]:
    """A row: its prompt and seed, and each candidate's clip with its scores."""
    clips = [
        {
            "video": path.relative_to(root).as_posix() if root else None,
            "scores": {name: score[name] for name in names},
            "frame_indices": score.frame_indices,
            "frame_rewards": score.frame_rewards,
            "notes": list(notes),
        }
        for path, score, notes in zip(one.videos, one.scores, one.notes, strict=True)
    ]
    picture = one.side_by_side.relative_to(root).as_posix() if root and one.side_by_side else None
    return {"prompt": one.row.prompt, "seed": one.row.seed, "side_by_side": picture, "clips": clips}


def list_clips(results: Mapping[str, Any]) -> tuple[list[str], list[dict[str, Any]]]:
    """The columns and rows of results.csv: one row a clip, with the candidate's name and a column a metric."""
    names = [candidate["name"] for candidate in results["contestants"]]
    records = [
        {"prompt": row["prompt"], "seed": row["seed"], "contestant": name, "video": clip["video"], **clip["scores"]}
        for row in results["rows"]
        for name, clip in zip(names, row["clips"], strict=True)
    ]
    return ["prompt", "seed", "contestant", "video", *results["metrics"]], records


OPTIONS = ("b", "tie", "a")
CONFIDENCE = 0.95


def read_ratings(files: Sequence[Path], folder: Path) -> dict[str, Any]:
    """Join the answers of any number of raters.

    Where a rater (names are the same whatever their case) answered an item more than once, the file that was saved last
    counts. Intervals are 95 % bootstrap intervals over prompts.

    Args:
        files: that `rate.html` saved, in any order.
        folder: where the page and its key were written.

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
    """One question's shares and agreement on one pair of candidates; None where nobody answered.

    Args:
        question: "quality" or "alignment".
        pair: candidates a and b.
        ratings: each rater's last word on each item.
        key: tells the sides.
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
