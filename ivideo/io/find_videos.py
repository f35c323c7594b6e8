"""Which videos a path means: a file, a folder of frames, a folder of videos, or a pattern."""

from __future__ import annotations

from glob import glob, has_magic
from pathlib import Path

from ivideo.io.files import explain_os_error
from ivideo.io.frames_folder import list_frames, natural_order
from ivideo.io.video_reader import READABLE_SUFFIXES


def find_videos(path: Path) -> list[Path]:
    """List the videos that a path means.

    Args:
        path: a file, which is itself; a folder of videos, which is each file in it that is named like a video and each
            subfolder of frames, whatever other files lie there; a folder of frames, which is one video; or a pattern
            (`*`, `?`, `[a-z]`, and `**` for any folders) of such paths, where nothing has that very name.

    Returns:
        The videos in natural order. A path that means nothing of this kind is given back as it is: opening it tells
        what is wrong.

    Raises:
        IvideoError: the folder can't be read.
    """
    if not path.exists() and has_magic(str(path)):
        matches = sorted(map(Path, glob(str(path), recursive=True)), key=_natural_path)
        return [video for match in matches for video in find_videos(match)] or [path]
    if not path.is_dir():
        return [path]
    try:
        children = sorted((child for child in path.iterdir() if not child.name.startswith(".")), key=natural_order)
    except OSError as error:
        raise explain_os_error("read folder", path, error) from error
    videos = [child for child in children if child.suffix.lower() in READABLE_SUFFIXES and child.is_file()]
    if not videos and list_frames(path):
        return [path]
    clips = [child for child in children if child.is_dir() and list_frames(child)]
    return sorted([*videos, *clips], key=natural_order) or [path]


def _natural_path(path: Path) -> list[list[tuple[int, str]]]:
    return [natural_order(Path(part)) for part in path.parts]
