"""What a gif says about itself, read from its blocks, and its frames by Pillow, one at a time."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageSequence

from ivideo.errors import IvideoError

SIGNATURE = b"GIF8"
_DEFAULT_FPS = 10.0  # as browsers show a gif without delays
_EXTENSION, _PICTURE, _END, _TIMING = 0x21, 0x2C, 0x3B, 0xF9


@dataclass(frozen=True)
class GifHeader:
    """What the file announces: frames, their average rate in 1/s, and their size in pixels."""

    num_frames: int
    fps: float
    height: int
    width: int


def read_gif_header(path: Path) -> GifHeader:
    """Walk through a gif's blocks up to its end mark, without decoding a picture.

    fps = number of frames / sum of their delays, 10 where there are none.

    Args:
        path: an existing file that begins with "GIF8".

    Returns:
        The header.

    Raises:
        IvideoError: cut off, or without frames.
        OSError: the file can't be opened.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            num_frames, centiseconds = _walk(data)
            width, height = (int.from_bytes(data[start : start + 2], "little") for start in (6, 8))
        except IndexError as error:
            raise IvideoError(f"{path} is truncated: it ends before the gif's end mark; get a whole copy") from error
    if num_frames == 0:
        raise IvideoError(f"{path} has no video frames")
    return GifHeader(num_frames, 100 * num_frames / centiseconds if centiseconds else _DEFAULT_FPS, height, width)


def read_gif_frames(path: Path) -> Iterator[NDArray[np.uint8]]:
    """Decode a gif picture by picture, each with what earlier ones left standing.

    Args:
        path: an existing gif.

    Yields:
        Frames uint8 (height, width, 3), RGB, writable; what is transparent takes its colour's place in the palette.

    Raises:
        IvideoError: a damaged picture.
    """
    try:
        with Image.open(path) as gif:
            for picture in ImageSequence.Iterator(gif):
                yield np.array(picture.convert("RGB"))
    except (OSError, SyntaxError, EOFError, ValueError, IndexError, Image.DecompressionBombError) as error:
        raise IvideoError(f"{path} is truncated or damaged: {error}") from error


def _walk(data: mmap.mmap) -> tuple[int, int]:
    """Count the pictures and add up their delays in 1/100 s; IndexError where the file ends before its end mark."""
    num_frames = centiseconds = delay = 0
    start = 13 + _palette_size(data[10])
    while data[start] != _END:
        if data[start] == _PICTURE:
            num_frames, centiseconds, delay = num_frames + 1, centiseconds + delay, 0
            start += 10 + _palette_size(data[start + 9]) + 1
        elif data[start] == _EXTENSION:
            if data[start + 1] == _TIMING:
                delay = data[start + 4] + 256 * data[start + 5]
            start += 2
        else:  # a stray byte, which decoders skip
            start += 1
            continue
        while data[start]:
            start += 1 + data[start]
        start += 1
    return num_frames, centiseconds


def _palette_size(flags: int) -> int:
    return 3 << ((flags & 7) + 1) if flags & 0x80 else 0
