"""Gifs and animated webps and avifs: what one says about itself, and its frames, read and written by Pillow."""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import GifImagePlugin, Image, ImageSequence

from ivideo.errors import IvideoError
from ivideo.video.display import Display
from ivideo.video.pictures import DAMAGES, check_dynamic_range, to_pixels

SIGNATURE = b"GIF8"
_DEFAULT_FPS = 10.0  # as browsers show a gif without delays
_EXTENSION, _PICTURE, _END, _TIMING = 0x21, 0x2C, 0x3B, 0xF9
_NUM_COLOURS = 256
_NUM_SAMPLES = 2**15  # pixels that the palette is chosen from: more give 0.1 dB and take seconds
_NUM_AT_ONCE = 2**16  # colours that are held against the palette: 64 MiB of distances


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


def read_animation_header(path: Path) -> GifHeader:
    """The header of a webp or an avif; a still one has one frame. Its pictures are decoded for their delays.

    Raises:
        IvideoError: damaged, or in HDR.
        OSError: the file can't be opened.
    """
    with path.open("rb") as file:
        check_dynamic_range(path, file)
        try:
            with Image.open(file) as animation:
                delays = []
                for picture in ImageSequence.Iterator(animation):
                    picture.load()  # only then it tells its delay
                    delays.append(picture.info.get("duration", 0))
                fps = 1000 * len(delays) / sum(delays) if sum(delays) else _DEFAULT_FPS
                return GifHeader(len(delays), fps, animation.height, animation.width)
        except DAMAGES as error:
            raise IvideoError(f"{path} is truncated or damaged: {error}") from error


def read_gif_frames(path: Path, display: Display | None = None) -> Iterator[NDArray[np.uint8]]:
    """Decode a gif, webp or avif picture by picture, each with what earlier ones left standing.

    Args:
        path: an existing file of these kinds.
        display: what transparent pixels lie on; default: black.

    Yields:
        Frames uint8 (height, width, 3), RGB, writable.

    Raises:
        IvideoError: a damaged picture.
    """
    display = display or Display()
    try:
        with Image.open(path) as gif:
            for picture in ImageSequence.Iterator(gif):
                yield to_pixels(picture, display)
    except DAMAGES as error:
        raise IvideoError(f"{path} is truncated or damaged: {error}") from error


def write_gif(path: Path, frames: NDArray[np.uint8], fps: float) -> None:
    """Write a gif that loops for ever, with one palette for the whole clip and no dithering, whose grain would flicker.

    Every frame is a picture of its own, also where nothing moves: Pillow's own `save_all` makes one of equal ones.

    Args:
        path: the file.
        frames: (num_frames, height, width, 3), uint8, RGB, at least one frame.
        fps: at most 50; frame i starts at i / fps, rounded to 1/100 s.

    Raises:
        OSError: it can't be written.
    """
    palette, indices = _find_colours(frames)
    pictures = [Image.fromarray(frame) for frame in indices]
    for picture in pictures:
        picture.putpalette(palette.tobytes())
    starts = [math.floor(100 * place / fps + 0.5) for place in range(len(frames) + 1)]
    blocks, _ = GifImagePlugin.getheader(pictures[0], info={"loop": 0})
    for picture, (start, end) in zip(pictures, pairwise(starts), strict=True):
        blocks += GifImagePlugin.getdata(picture, duration=10 * (end - start))
    path.write_bytes(b"".join(blocks) + bytes([_END]))


def _find_colours(frames: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A palette (at most 256, 3), and each pixel's nearest colour in it; Pillow's search is coarse and costs 1 dB."""
    red, green, blue = (frames[..., channel].astype(np.uint32) for channel in range(3))
    pixels = red << 16 | green << 8 | blue
    nearest = np.zeros(1 << 24, np.uint8)  # by colour
    nearest[pixels] = 1
    colours = np.flatnonzero(nearest)
    values = np.stack([colours >> 16, colours >> 8 & 255, colours & 255], axis=-1)
    palette = values.astype(np.uint8) if len(colours) <= _NUM_COLOURS else _choose_palette(frames.reshape(-1, 3))
    ours = palette.astype(np.float32)
    for start in range(0, len(colours), _NUM_AT_ONCE):
        part = slice(start, start + _NUM_AT_ONCE)
        distances = (ours**2).sum(axis=1) - 2 * values[part].astype(np.float32) @ ours.T  # of whole numbers, so exact
        nearest[colours[part]] = distances.argmin(axis=1)
    return palette, nearest[pixels]


def _choose_palette(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """256 colours (256, 3) for many pixels (number, 3): k-means, begun with colours far apart."""
    if len(pixels) > _NUM_SAMPLES:
        pixels = pixels[np.random.default_rng(0).integers(len(pixels), size=_NUM_SAMPLES)]
    is_enough = len(pixels) // 100 + 1  # k-means ends when no more than these pixels change their colour
    found = Image.fromarray(pixels[None]).quantize(_NUM_COLOURS, Image.Quantize.MAXCOVERAGE, is_enough)
    return np.array(found.getpalette(), np.uint8).reshape(-1, 3)


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
