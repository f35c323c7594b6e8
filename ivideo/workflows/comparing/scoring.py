"""A comparison's rows, scored and drawn one after the other, so that no more than one row's clips is in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ivideo.config.settings import Settings
from ivideo.io.panels import contact_sheet, label_clip, stack_side_by_side, write_png
from ivideo.io.video import Video, default_suffix, nearest_fps, read_video, write_video
from ivideo.models.judges import Judge
from ivideo.workflows.comparing.pairing import Row
from ivideo.workflows.comparing.results import ScoredRow
from ivideo.workflows.judging import ClipScore
from ivideo.workflows.progress import Progress
from ivideo.workflows.scoring import score_clip

NUM_SHEET_ROWS = 12
NUM_SHEET_PICKS = 4

Find = Callable[[Row], list[Path]]


def score_rows(
    rows: Sequence[Row],
    find_videos: Find,
    judge: Judge,
    settings: Settings,
    *,
    names: Sequence[str],
    output: Path | None,
    progress: Progress,
) -> list[ScoredRow]:
    """Score every row's videos as they lie on the disk.

    Args:
        rows: which.
        find_videos: gives the files of a row, one a contestant.
        judge: gives the rewards.
        settings: how they are scored.
        names: of the contestants.
        output: gets a side-by-side video a row, and a sheet of the first rows; None for no pictures.
        progress: is told what happens.

    Raises:
        IvideoError: a video is damaged, or a picture cannot be written.
    """
    progress.start("scoring", len(rows))
    scored: list[ScoredRow] = []
    sheet: list[tuple[str, list[np.ndarray]]] = []
    for row in rows:
        paths = find_videos(row)
        videos = [read_video(path) for path in paths]
        scores = [score_clip(judge, video.frames, row.prompt, settings, fps=video.fps) for video in videos]
        joined = output / "side_by_side" / f"{row.name}{default_suffix()}" if output else None
        if joined:
            write_side_by_side(joined, row, names, videos, scores)
            if len(sheet) < NUM_SHEET_ROWS:
                sheet.append((row.prompt, [pick_frames(video.frames) for video in videos]))
        scored.append(ScoredRow(row, paths, scores, joined))
        progress.advance()
    if output:
        write_png(output / "contact_sheet.png", contact_sheet(sheet, names, NUM_SHEET_PICKS))
    return scored


def write_side_by_side(
    path: Path, row: Row, names: Sequence[str], videos: Sequence[Video], scores: Sequence[ClipScore]
) -> Path:
    """Write all contestants' clips as one video, each under its name and reward, at the first one's frame rate."""
    panels = [
        label_clip(video.frames, f"{name}: {score.reward:.3f}")
        for name, video, score in zip(names, videos, scores, strict=True)
    ]
    about = {"prompt": row.prompt, "seed": row.seed, "contestants": list(names)}
    return write_video(path, stack_side_by_side(panels), nearest_fps(path.suffix, videos[0].fps), about)


def pick_frames(frames: np.ndarray) -> np.ndarray:
    """The frames that a sheet shows, evenly spread from the first to the last."""
    picked: np.ndarray = frames[np.linspace(0, len(frames) - 1, NUM_SHEET_PICKS).round().astype(int)]
    return picked
