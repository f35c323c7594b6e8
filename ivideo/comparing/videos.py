"""The videos of a comparison: missing ones are made, model by model, and all are scored, row by row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ivideo.comparing.candidates import Candidate
from ivideo.comparing.pairs import Row
from ivideo.comparing.results import ScoredRow
from ivideo.config.settings import GenerationSettings, Settings
from ivideo.errors import IvideoError
from ivideo.generating import describe_generation, generate_clip, introduce, is_made, open_model, tell_of_negatives
from ivideo.inputs.prompts import unique_prompts
from ivideo.inputs.provenance import Provenance
from ivideo.launch import ALONE, Launch
from ivideo.models.contract import ClipMaker
from ivideo.models.lora import adapter_merged, adapter_off
from ivideo.progress import Progress
from ivideo.rewards.mixture import Rewards
from ivideo.scoring.clips import ClipScore, score_clip
from ivideo.video.display import NoteCounts
from ivideo.video.panels import contact_sheet, label_clip, pick_frames, stack_side_by_side, write_png
from ivideo.video.reader import Video, read_video
from ivideo.video.writer import default_suffix, nearest_fps, write_video


@dataclass(frozen=True)
class VideoMaker:
    """A candidate that makes videos.

    Attributes:
        candidate: a model, with or without an adapter.
        settings: its own.
        provenance: what its clips depend on.
        folder: where they lie.
    """

    candidate: Candidate
    settings: GenerationSettings
    provenance: Provenance
    folder: Path

    def path_of(self, row: Row) -> Path:
        """The file of a row's clip; of one kind for all, so that mp4s of another machine are no match for GIFs."""
        return self.folder / f"{row.name}{default_suffix()}"

    @property
    def base(self) -> tuple[object, ...]:
        """Which weights it needs in memory, whatever the adapter."""
        settings = self.settings
        return settings.model, tuple(settings.family_options.values()), settings.device, settings.dtype

    def has_made(self, row: Row) -> bool:
        """Whether a row's video is there, and was made as this one would be."""
        assert row.seed is not None, "only ready videos have no seed"
        path = self.path_of(row)
        return is_made(path, row.prompt, row.seed, settings=self.settings, provenance=self.provenance)

    def make(self, row: Row, model: ClipMaker) -> Path:
        """Make a row's video and write it, with what it says of itself."""
        assert row.seed is not None, "only ready videos have no seed"
        settings = self.settings
        frames = generate_clip(model, settings, row.prompt, row.seed)
        about = describe_generation(
            settings, row.prompt, row.seed, frames, self.candidate.adapter, provenance=self.provenance
        )
        return write_video(self.path_of(row), frames, settings.fps, about)


def make_videos(makers: Sequence[VideoMaker], rows: Sequence[Row], progress: Progress, launch: Launch = ALONE) -> None:
    """Make every video that is missing; each is written as soon as it is made, and none is kept in memory.

    Models are opened one after the other. Adapters go first, so that bad ones show before long work, and the base of an
    adapter is the same model with the adapter switched off; there is no second copy of it.

    Args:
        makers: who makes them.
        rows: what each of them makes.
        progress: is told what happens.
        launch: of several processes each makes a share.

    Raises:
        IvideoError: a model or an adapter cannot be loaded, a file cannot be written, or processes do not see what
            others wrote.
    """
    missing = launch.from_first(
        lambda: {maker.folder: [row for row in rows if not maker.has_made(row)] for maker in makers}
    )
    for maker in makers:
        if kept := len(rows) - len(missing[maker.folder]):
            progress.say(f"videos of {maker.candidate.name}: {kept} of {len(rows)} are there already")
    prompts = unique_prompts(row.prompt for row in rows)
    model: ClipMaker | None = None
    opened: tuple[object, ...] = ()
    for maker in _order([maker for maker in makers if missing[maker.folder]]):
        if model is None or maker.candidate.adapter or maker.base != opened:
            model = None  # the first one goes before the second comes
            opening = partial(open_model, maker.settings, maker.candidate.adapter, prompts)
            model, opened = launch.after_first(opening), maker.base
        with (adapter_merged if maker.candidate.adapter else adapter_off)(model.network):
            _make_rows(maker, missing[maker.folder], model, progress, launch)


def _order(makers: Sequence[VideoMaker]) -> list[VideoMaker]:
    """Those of the same weights one after the other, the adapters of each before their base."""
    bases = list(dict.fromkeys(maker.base for maker in makers))
    return sorted(makers, key=lambda maker: (bases.index(maker.base), maker.candidate.adapter is None))


def _make_rows(maker: VideoMaker, rows: Sequence[Row], model: ClipMaker, progress: Progress, launch: Launch) -> None:
    prompts = unique_prompts(row.prompt for row in rows)
    introduce(model, prompts, progress)
    tell_of_negatives(model, prompts, maker.settings, progress)
    progress.start(f"videos of {maker.candidate.name}", len(rows))
    for path in launch.share(rows, lambda own: (maker.make(row, model) for row in own), 1):
        if not path.is_file():
            raise IvideoError(f"{path} was made by another process and is not here: all need one `output` folder")
        progress.advance()


def name_folders(names: Sequence[str]) -> list[str]:
    """Each candidate's folder: its name without what file systems dislike ("mine-@0.5"), unlike the others'."""
    given: list[str] = []
    for name in names:
        plain = "".join(c if c.isalnum() or c in "._@-" else "-" for c in name).strip(".-") or "candidate"
        shown, number = plain, 2
        while shown.lower() in {other.lower() for other in given}:
            shown, number = f"{plain}-{number}", number + 1
        given.append(shown)
    return given


NUM_SHEET_ROWS = 12
SIDE_BY_SIDE = "side_by_side"
NUM_AT_ONCE = 4  # rows that each of several processes scores between two meetings


def score_rows(
    rows: Sequence[Row],
    find_videos: Callable[[Row], list[Path]],
    rewards: Rewards,
    settings: Settings,
    *,
    names: Sequence[str],
    output: Path | None,
    progress: Progress,
    launch: Launch = ALONE,
) -> list[ScoredRow]:
    """Score every row's videos as they lie on the disk.

    Args:
        rows: which.
        find_videos: gives the files of a row, one a candidate.
        rewards: what videos are scored by.
        settings: how they are scored.
        names: of the candidates.
        output: gets a side-by-side video a row, and a sheet of the first rows; None for no pictures.
        progress: is told what happens.
        launch: of several processes each scores a share.

    Raises:
        IvideoError: a video is damaged, or a picture cannot be written.
    """
    shown = {row.name for row in rows[:NUM_SHEET_ROWS]} if output else set()

    def score_own(own: Sequence[Row]) -> Iterator[tuple[ScoredRow, list[np.ndarray] | None]]:
        for row in own:
            paths = find_videos(row)
            videos = [read_video(path) for path in paths]
            scores = [score_clip(rewards, video.frames, row.prompt, settings, fps=video.fps) for video in videos]
            joined = output / SIDE_BY_SIDE / f"{row.name}{default_suffix()}" if output else None
            if joined:
                write_side_by_side(joined, row, names, videos, scores)
            pictures = [pick_frames(video.frames) for video in videos] if row.name in shown else None
            yield ScoredRow(row, paths, scores, joined, [video.notes for video in videos]), pictures

    progress.start("scoring", len(rows))
    scored: list[ScoredRow] = []
    notes = NoteCounts()
    sheet: list[tuple[str, list[np.ndarray]]] = []
    for one, pictures in launch.share(rows, score_own, NUM_AT_ONCE):
        scored.append(one)
        if pictures:
            sheet.append((one.row.prompt, pictures))
        for path, told in zip(one.videos, one.notes, strict=True):
            notes.add(path, told)
        progress.advance()
    for line in notes.describe():
        progress.say(line)
    if output and launch.is_first:
        write_png(output / "contact_sheet.png", contact_sheet(sheet, names))
    return scored


def write_side_by_side(
    path: Path, row: Row, names: Sequence[str], videos: Sequence[Video], scores: Sequence[ClipScore]
) -> Path:
    """Write all candidates' clips as one video, each under its name and reward, at the first one's frame rate."""
    panels = [
        label_clip(video.frames, f"{name}: {score.reward:.3f}")
        for name, video, score in zip(names, videos, scores, strict=True)
    ]
    about = {"prompt": row.prompt, "seed": row.seed, "contestants": list(names)}
    return write_video(path, stack_side_by_side(panels), nearest_fps(path.suffix, videos[0].fps), about)
