"""Single pictures as frames; one that can't be read as it looks is an IvideoError."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from ivideo.errors import IvideoError
from ivideo.video.display import Display

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".avif", ".bmp", ".tif", ".tiff", ".jxl")
DAMAGES = (OSError, SyntaxError, EOFError, ValueError, IndexError, Image.DecompressionBombError)  # what Pillow raises
HDR_TRANSFERS = {16: "PQ", 18: "HLG"}  # by the number that ITU-T H.273 gives them
_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")
_SEVERAL_VIEWS = "MPO"  # a photo, and a smaller or a second one of the same
_HEAD = 4096  # bytes that say what a picture is
_ANIMATED_WEBP = 0x02


def is_webp(head: bytes) -> bool:
    """Tell from a file's first 12 bytes whether it is a webp."""
    return head[:4] == b"RIFF" and head[8:12] == b"WEBP"


def is_avif(head: bytes) -> bool:
    """Tell from a file's first 12 bytes whether it is an avif, still or animated."""
    return head[4:12] in (b"ftypavif", b"ftypavis")


def is_animation(head: bytes) -> bool:
    """Tell from a file's first 21 bytes whether it is a webp or an avif that moves."""
    return head[4:12] == b"ftypavis" or (is_webp(head) and head[12:16] == b"VP8X" and head[20] & _ANIMATED_WEBP > 0)


def check_dynamic_range(path: Path, file: BinaryIO) -> None:
    """Refuse a png or an avif whose colours are HDR ones: Pillow would give them as if they were not.

    Args:
        path: for the message.
        file: it, open at its start.

    Raises:
        IvideoError: they are.
    """
    head = file.read(_HEAD)
    for tag, place in ((b"cICP", 1), (b"colrnclx", 3)):
        _, found, values = head.partition(tag)
        if found and values[place : place + 1] and (transfer := HDR_TRANSFERS.get(values[place])):
            raise IvideoError(f"{path} is an HDR picture ({transfer}), which is not tone-mapped: save it as an SDR one")


def read_pictures(paths: Iterable[Path], display: Display) -> Iterator[NDArray[np.uint8]]:
    """Read pictures one by one, all of one size.

    Args:
        paths: files of `PICTURE_SUFFIXES`.
        display: what transparent pixels lie on.

    Yields:
        uint8 (height, width, 3), RGB, writable.

    Raises:
        IvideoError: a picture that can't be read, or of another size than the first.
    """
    shape: tuple[int, ...] = ()
    for path in paths:
        picture = read_picture(path, display)
        shape = shape or picture.shape
        if picture.shape != shape:
            own, first = (f"{width} x {height}" for height, width, _ in (picture.shape, shape))
            raise IvideoError(f"{path} has {own} pixels, the pictures before it have {first}")
        yield picture


def read_picture(path: Path, display: Display | None = None) -> NDArray[np.uint8]:
    """Read a picture, uint8 (height, width, 3), RGB: turned as its EXIF data say.

    Args:
        path: of `PICTURE_SUFFIXES`.
        display: what transparent pixels lie on; default: black.

    Raises:
        IvideoError: missing, damaged, no single picture, in HDR, of more than 8 bits a channel, or of a kind that no
            installed library reads.
    """
    try:
        with path.open("rb") as file:
            check_dynamic_range(path, file)
            with Image.open(file) as picture:
                if picture.mode not in _MODES:
                    raise IvideoError(f"{path} has pixels of kind {picture.mode}: save it with 8 bits a channel")
                if getattr(picture, "n_frames", 1) > 1 and picture.format != _SEVERAL_VIEWS:
                    raise IvideoError(f"{path} holds several pictures, not one frame: give it by itself, or split it")
                return to_pixels(ImageOps.exif_transpose(picture), display or Display())
    except FileNotFoundError as error:
        raise IvideoError(f"picture {path} does not exist") from error
    except DAMAGES as error:
        raise explain_damage(path, error) from error


def to_pixels(picture: Image.Image, display: Display) -> NDArray[np.uint8]:
    """A picture's pixels, uint8 (height, width, 3), RGB, writable; transparent ones lie on the background."""
    if picture.has_transparency_data:
        return display.flatten(np.array(picture.convert("RGBA")))
    return np.array(picture.convert("RGB"))


def explain_damage(path: Path, error: Exception) -> IvideoError:
    """What to say of a picture that Pillow cannot read."""
    suffix = path.suffix.lower()
    if isinstance(error, UnidentifiedImageError) and suffix in PICTURE_SUFFIXES:
        Image.init()
        if suffix not in Image.registered_extensions():
            return IvideoError(f"{path}: no installed library reads {suffix} pictures; save them as .png")
    reason = " ".join(str(error).replace(f" {str(path)!r}", "").split())
    return IvideoError(f"{path} is damaged or not a picture: {reason}")
