"""What a comparison found, as the object that results.json holds, and as a table with a row a clip."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ivideo import __version__
from ivideo.comparing.candidates import Candidate
from ivideo.comparing.pairs import Row
from ivideo.config.settings import GenerationSettings
from ivideo.metrics.paired import Comparison, compare_candidates
from ivideo.metrics.registry import METRICS, compared
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
            "scores": {name: _finite(score[name]) for name in names},
            "frame_indices": score.frame_indices,
            "frame_rewards": score.frame_rewards and [_finite(reward) for reward in score.frame_rewards],
            "notes": list(notes),
        }
        for path, score, notes in zip(one.videos, one.scores, one.notes, strict=True)
    ]
    picture = one.side_by_side.relative_to(root).as_posix() if root and one.side_by_side else None
    return {"prompt": one.row.prompt, "seed": one.row.seed, "side_by_side": picture, "clips": clips}


def _finite(value: Any) -> Any:
    """None for what is no finite number, which statistics leave out and JSON has no word for."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def list_clips(results: Mapping[str, Any]) -> tuple[list[str], list[dict[str, Any]]]:
    """The columns and rows of results.csv: one row a clip, with the candidate's name and a column a metric."""
    names = [candidate["name"] for candidate in results["contestants"]]
    records = [
        {"prompt": row["prompt"], "seed": row["seed"], "contestant": name, "video": clip["video"], **clip["scores"]}
        for row in results["rows"]
        for name, clip in zip(names, row["clips"], strict=True)
    ]
    return ["prompt", "seed", "contestant", "video", *results["metrics"]], records
