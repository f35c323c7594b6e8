"""What generated videos are called, so that each has a name of its own and none that exists is written over."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from ivideo.errors import IvideoError, UsageError
from ivideo.video.writer import VIDEO_SUFFIXES, default_suffix


def file_stem(prompt: str) -> str:
    """A prompt as a file name: its words joined by dashes, at most 60 characters."""
    return re.sub(r"[\W_]+", "-", prompt.lower()).strip("-")[:60].rstrip("-") or "video"


@dataclass(frozen=True)
class PlannedVideo:
    """A video that is wanted.

    Attributes:
        prompt: what it should show.
        seed: what it is drawn from.
        path: its file.
        is_kept: whether it is there already, made as it would be now.
    """

    prompt: str
    seed: int
    path: Path
    is_kept: bool = False


Fits = Callable[[Path, str, int], bool]
"""`fits(path, prompt, seed)`: whether a file that is there is what would be made of a prompt and a seed."""


def plan_files(
    wanted: Sequence[tuple[str, int]], output: Path, adapter_name: str | None, fits: Fits | None = None
) -> list[PlannedVideo]:
    """Which clip goes where: no path twice.

    Args:
        wanted: a prompt and a seed a clip.
        output: a folder, or a file.
        adapter_name: becomes part of the names in a folder; None without an adapter.
        fits: a file that does is kept, and for one that does not a clip gets another name; None: files that are there
            make way.

    Raises:
        UsageError: an output file for several clips, or one that is no video or no file.
        IvideoError: an output file that is there and does not fit.
    """
    if str(output) == "-":
        raise UsageError("`output` -: videos are files, and their paths are printed; name a folder or a .mp4")
    if output.suffix and not output.is_dir():
        return [_plan_file(wanted, output, fits)]
    planned: list[PlannedVideo] = []
    suffix = default_suffix()
    taken: set[Path] = set()
    for prompt, seed in wanted:
        stem = "_".join(filter(None, (file_stem(prompt), f"seed{seed}", adapter_name)))
        path = find_free_path(output / f"{stem}{suffix}", prompt, seed, taken, fits)
        taken.add(path)
        planned.append(PlannedVideo(prompt, seed, path, is_kept=fits is not None and is_there(path)))
    return planned


def _plan_file(wanted: Sequence[tuple[str, int]], output: Path, fits: Fits | None) -> PlannedVideo:
    if output.suffix.lower() not in VIDEO_SUFFIXES:
        raise UsageError(f"`output` {output}: a video ends in .mp4 or .gif; a new folder has no suffix")
    if len(wanted) != 1:
        raise UsageError(f"`output` {output} is one file for {len(wanted)} videos; give a folder")
    (prompt, seed), *_ = wanted
    if output.exists() and not output.is_file():
        raise UsageError(f"`output` {output} is no regular file; name a new one")
    is_kept = fits is not None and is_there(output)
    if is_kept and fits is not None and not fits(output, prompt, seed):
        raise IvideoError(f"{output} is there, made otherwise: choose another `output`, or `overwrite` True")
    return PlannedVideo(prompt, seed, output, is_kept)


def find_free_path(path: Path, prompt: str, seed: int, taken: Collection[Path], fits: Fits | None) -> Path:
    """The first of x.mp4, x_2.mp4, x_3.mp4, ... that is not taken and is not there, or fits.

    Args:
        path: x.mp4.
        prompt: what the clip should show.
        seed: what it is drawn from.
        taken: by other clips.
        fits: whether a file that is there may have the name; None: all may.
    """
    found, number = path, 2
    while found in taken or (fits is not None and is_there(found) and not fits(found, prompt, seed)):
        found, number = path.with_name(f"{path.stem}_{number}{path.suffix}"), number + 1
    return found


def is_there(video: Path) -> bool:
    """Whether anything has a video's name, or that of the metadata beside a gif."""
    return os.path.lexists(video) or (video.suffix.lower() == ".gif" and os.path.lexists(video.with_suffix(".json")))
