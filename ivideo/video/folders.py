"""Which videos a path means, what else lies in a folder, and the frames of a folder of pictures."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Collection, Sequence
from glob import glob, has_magic
from itertools import pairwise
from pathlib import Path

from ivideo.errors import IvideoError
from ivideo.files.atomic import explain_os_error
from ivideo.video.pictures import PICTURE_SUFFIXES, is_animation

READABLE_SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi", ".gif", ".apng", ".ts", ".mts", ".m2ts", ".mpg", ".mpeg"),
    *(".m2v", ".vob", ".wmv", ".asf", ".flv", ".f4v", ".ogv", ".3gp", ".3g2", ".mxf", ".nut", ".dv", ".y4m", ".ivf"),
    *(".obu", ".264", ".h264", ".265", ".h265", ".hevc", ".rm", ".rmvb", ".wtv"),
)
_CODE_SUFFIXES = (".ts", ".mts")  # which sources of TypeScript have as well
_ANIMATED_SUFFIXES = (".webp", ".avif")  # which stills have as well
_PACKET, _SYNC = (0, 4), 0x47  # where a packet of a transport stream may begin, and how
_NUM_NAMED = 3


def list_folder(folder: Path) -> list[Path]:
    """What lies in a folder, in natural order, without hidden files."""
    try:
        return sorted((path for path in folder.iterdir() if not path.name.startswith(".")), key=natural_order)
    except OSError as error:
        raise explain_os_error("read folder", folder, error) from error


def is_video(path: Path) -> bool:
    """Whether a file in a folder is one of its videos: by its name, and where that leaves it open, by its first bytes.

    A name of several meanings: .webp and .avif are videos if they move, .ts and .mts unless they are source code.
    """
    suffix = path.suffix.lower()
    if suffix not in (*READABLE_SUFFIXES, *_ANIMATED_SUFFIXES) or not path.is_file():
        return False
    if suffix not in (*_CODE_SUFFIXES, *_ANIMATED_SUFFIXES):
        return True
    head = _read_head(path)
    return is_animation(head) if suffix in _ANIMATED_SUFFIXES else any(head[start] == _SYNC for start in _PACKET)


def _read_head(path: Path) -> bytes:
    """A file's first 21 bytes, filled up with zeros."""
    try:
        with path.open("rb") as file:
            return file.read(21).ljust(21, b"\0")
    except OSError as error:
        raise explain_os_error("read", path, error) from error


def list_frames(folder: Path) -> list[Path]:
    """List a folder's pictures in natural order: frame2.png comes before frame10.png.

    Args:
        folder: an existing folder; what else lies in it, hidden files and subfolders are left out.
    """
    pictures = [path for path in list_folder(folder) if path.suffix.lower() in PICTURE_SUFFIXES and path.is_file()]
    return [path for path in pictures if path.suffix.lower() not in _ANIMATED_SUFFIXES or not is_video(path)]


def list_content(video: Path) -> list[Path]:
    """The files whose bytes are a video: itself, or the pictures of a folder."""
    return list_frames(video) if video.is_dir() else [video]


def natural_order(path: Path) -> list[tuple[int, str]]:
    """Sort key of a file name in which numbers count as numbers; equal numbers sort by their digits (1 before 01)."""
    parts = re.split(r"([0-9]+)", path.name)
    return [(int(part), part) if place % 2 else (0, part) for place, part in enumerate(parts)]


def describe_numbering(frames: Sequence[Path]) -> list[str]:
    """What is odd about the numbers in the names of frames, a line each.

    The last number in a name counts. Frames of equal steps, as 0, 10, 20, are whole.

    Args:
        frames: pictures in natural order.
    """
    parts = [(re.fullmatch(r"(.*?)([0-9]+)([^0-9]*)", path.stem), path) for path in frames]
    kinds = dict.fromkeys(re.sub("[0-9]+", "#", part[1]) + part[3] if part else path.stem for part, path in parts)
    if len(kinds) > 1:
        shown = ", ".join(map(repr, [*kinds][:_NUM_NAMED]))
        return [f"frames of {len(kinds)} kinds of names ({shown}) are one video, in the order of their names"]
    found = [(int(part[2]), path) for part, path in parts if part]
    if len({part[1] for part, _ in parts if part}) > 1:  # other numbers than the last one change as well
        return []
    steps = [after[0] - before[0] for before, after in pairwise(found)]
    notes = [
        f"{before.name} and {after.name} have the same number, and both are frames"
        for (first, before), (second, after) in pairwise(found)
        if first == second
    ]
    step = min(filter(None, steps), default=1)
    gaps = [f"{before.name} to {after.name}" for (one, before), (two, after) in pairwise(found) if two - one > step]
    if gaps:
        more = f" and {len(gaps) - _NUM_NAMED} more gaps" if len(gaps) > _NUM_NAMED else ""
        num_missing = sum(one // step - 1 for one in steps if one > step)
        shown = ", ".join(gaps[:_NUM_NAMED])
        notes.append(f"frames are missing by their numbers ({num_missing}, from {shown}{more}); the others are joined")
    return notes


def find_videos(path: Path) -> list[Path]:
    """List the videos that a path means.

    Args:
        path: a file, which is itself; a folder of videos, which is each file in it that is one (`is_video`) and each
            subfolder of frames, whatever other files lie there; a folder of frames, which is one video; or a pattern
            (`*`, `?`, `[a-z]`, and `**` for any folders) of such paths, where nothing has that very name.

    Returns:
        The videos in natural order. A path that means nothing of this kind is given back as it is: opening it tells
        what is wrong.
    """
    if not os.path.exists(path) and has_magic(str(path)):
        return [video for match in expand_pattern(path) for video in find_videos(match)] or [path]
    if not os.path.isdir(path):
        return [path]
    children = list_folder(path)
    videos = [child for child in children if is_video(child)]
    if not videos and list_frames(path):
        return [path]
    clips = [child for child in children if child.is_dir() and list_frames(child)]
    return sorted([*videos, *clips], key=natural_order) or [path]


def find_folders(path: Path) -> list[Path]:
    """The folders whose videos a path means, itself or by its pattern."""
    if os.path.isdir(path):
        return [path]
    is_pattern = not os.path.exists(path) and has_magic(str(path))
    return [match for match in expand_pattern(path) if match.is_dir()] if is_pattern else []


def expand_pattern(path: Path) -> list[Path]:
    """What a pattern matches, in natural order."""
    return sorted(map(Path, glob(str(path), recursive=True)), key=_natural_path)


def _natural_path(path: Path) -> list[list[tuple[int, str]]]:
    return [natural_order(Path(part)) for part in path.parts]


def describe_left_out(folder: Path, videos: Collection[Path]) -> str | None:
    """What lies in a folder of videos beside those that are read from it, in one line; None if that is nothing.

    Captions and metadata of the videos (`1.txt` and `1.json` beside `1.mp4`) are part of these.

    Args:
        folder: an existing folder.
        videos: that are read from it; the folder itself where it is one of frames.
    """
    if folder in videos:
        others = {*list_folder(folder)} - {*list_frames(folder)}
    else:
        sidecars = {
            video.with_name(f"{stem}{suffix}")
            for video in videos
            for stem in {video.stem, video.name}
            for suffix in (".json", ".txt")
        }
        others = {*list_folder(folder)} - {*videos} - sidecars
    kinds = Counter("folder" if other.is_dir() else other.suffix.lower() or "without suffix" for other in others)
    if not kinds:
        return None
    shown = ", ".join(f"{number} {kind}" for kind, number in sorted(kinds.items()))
    return f"{folder}: not read: {shown}"


def check_path(path: Path) -> None:
    """Refuse a path that no file can have.

    Raises:
        IvideoError: a NUL in it.
    """
    if "\0" in str(path):
        raise IvideoError(f"no file can be called {str(path)!r}: there is a NUL in it")
