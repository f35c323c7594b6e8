"""Folders of pictures as clips, and which videos a path means; a folder that can't be read is an IvideoError."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from glob import glob, has_magic
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from ivideo.errors import IvideoError
from ivideo.files.atomic import explain_os_error

READABLE_SUFFIXES = (".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi", ".gif")
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg")
_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")


def list_folder(folder: Path) -> list[Path]:
    """What lies in a folder, in natural order, without hidden files."""
    try:
        return sorted((path for path in folder.iterdir() if not path.name.startswith(".")), key=natural_order)
    except OSError as error:
        raise explain_os_error("read folder", folder, error) from error


def list_frames(folder: Path) -> list[Path]:
    """List a folder's pictures (.png, .jpg, .jpeg) in natural order: frame2.png comes before frame10.png.

    Args:
        folder: an existing folder; what else lies in it, hidden files and subfolders are left out.
    """
    return [path for path in list_folder(folder) if path.suffix.lower() in PICTURE_SUFFIXES and path.is_file()]


def list_content(video: Path) -> list[Path]:
    """The files whose bytes are a video: itself, or the pictures of a folder."""
    return list_frames(video) if video.is_dir() else [video]


def read_pictures(paths: Iterable[Path]) -> Iterator[NDArray[np.uint8]]:
    """Read pictures one by one, all of one size.

    Args:
        paths: .png and .jpg files.

    Yields:
        uint8 (height, width, 3), RGB, writable.

    Raises:
        IvideoError: a picture that can't be read, or of another size than the first.
    """
    shape: tuple[int, ...] = ()
    for path in paths:
        picture = read_picture(path)
        shape = shape or picture.shape
        if picture.shape != shape:
            own, first = (f"{width} x {height}" for height, width, _ in (picture.shape, shape))
            raise IvideoError(f"{path} has {own} pixels, the pictures before it have {first}")
        yield picture


def natural_order(path: Path) -> list[tuple[int, str]]:
    """Sort key of a file name in which numbers count as numbers; equal numbers sort by their digits (1 before 01)."""
    parts = re.split(r"(\d+)", path.name)
    return [(int(part), part) if place % 2 else (0, part) for place, part in enumerate(parts)]


def read_picture(path: Path) -> NDArray[np.uint8]:
    """Read a picture, uint8 (height, width, 3), RGB: turned as its EXIF data say; transparency is ignored.

    Args:
        path: a .png or .jpg.

    Raises:
        IvideoError: missing, damaged, or of more than 8 bits a channel.
    """
    try:
        with Image.open(path) as picture:
            if picture.mode not in _MODES:
                raise IvideoError(f"{path} has pixels of kind {picture.mode}: save it with 8 bits a channel")
            return np.array(ImageOps.exif_transpose(picture).convert("RGB"))
    except FileNotFoundError as error:
        raise IvideoError(f"picture {path} does not exist") from error
    except (OSError, SyntaxError, EOFError, ValueError, IndexError, Image.DecompressionBombError) as error:
        reason = " ".join(str(error).replace(f" {str(path)!r}", "").split())
        raise IvideoError(f"{path} is damaged or not a picture: {reason}") from error


def find_videos(path: Path) -> list[Path]:
    """List the videos that a path means.

    Args:
        path: a file, which is itself; a folder of videos, which is each file in it that is named like a video and each
            subfolder of frames, whatever other files lie there; a folder of frames, which is one video; or a pattern
            (`*`, `?`, `[a-z]`, and `**` for any folders) of such paths, where nothing has that very name.

    Returns:
        The videos in natural order. A path that means nothing of this kind is given back as it is: opening it tells
        what is wrong.
    """
    if not path.exists() and has_magic(str(path)):
        matches = sorted(map(Path, glob(str(path), recursive=True)), key=_natural_path)
        return [video for match in matches for video in find_videos(match)] or [path]
    if not path.is_dir():
        return [path]
    children = list_folder(path)
    videos = [child for child in children if child.suffix.lower() in READABLE_SUFFIXES and child.is_file()]
    if not videos and list_frames(path):
        return [path]
    clips = [child for child in children if child.is_dir() and list_frames(child)]
    return sorted([*videos, *clips], key=natural_order) or [path]


def _natural_path(path: Path) -> list[list[tuple[int, str]]]:
    return [natural_order(Path(part)) for part in path.parts]
