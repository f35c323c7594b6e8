"""Videos of any kind, opened without decoding more than a frame: files that PyAV reads, gifs, folders of pictures.

| what                            | number of frames     | what tells that it is whole                              |
|---------------------------------|----------------------|----------------------------------------------------------|
| .mp4, .m4v, .mov                | in the header        | the bytes and the frames that it announces               |
| .gif, .webp                     | in its blocks        | its end mark (.gif), and every picture                   |
| folder of .png, .jpg            | the files            | every picture                                            |
| .webm, .mkv, .avi               | only by reading      | the bytes that it announces (a live recording: nothing)  |
| fragmented mp4                  | only by reading      | the bytes that it announces                              |
| others (.ts, .flv, .ogv, .h264) | only by reading      | nothing: a cut-off one reads as a shorter one            |

Where frames are not announced, one that cannot be decoded is an error too. What a file is, is told from its content,
never from its name. Frames come upright (a rotation in the file is followed), with the pixels that are coded, whatever
their aspect, and each exactly once: time stamps, even uneven ones, only decide the average rate, and an edit list hides
nothing. Damage inside a frame that its decoder patches up is not noticed.

Gifs, webps and pictures are read by Pillow; the others need PyAV (ffmpeg), and without it are not even opened.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Container, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from ivideo.errors import IvideoError
from ivideo.files.atomic import explain_os_error
from ivideo.video.decoder import Frame, decode, probe
from ivideo.video.folders import PICTURE_SUFFIXES, READABLE_SUFFIXES, list_frames, read_picture, read_pictures
from ivideo.video.gif import SIGNATURE, GifHeader, is_webp, read_gif_frames, read_gif_header, read_webp_header

Frames = NDArray[np.uint8]

DEFAULT_FPS = 8.0
_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
_RIFF_OPEN_SIZES = (0, 0xFFFFFFFF)
_FIRST_BOXES = {b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot"}  # of an mp4


@dataclass(frozen=True)
class VideoReader:
    """A video on disk; iterating over it decodes its frames one by one, from the first, as often as wanted.

    Damage is an IvideoError where it is met.

    Attributes:
        path: the file or folder.
        num_frames: how many frames it announces; None where only reading tells (`count`).
        fps: average frames per second; 8 where nothing says it.
        height: of a frame as it announces it, in pixels.
        width: the same.
        metadata: the JSON object in the file's comment, else in `<stem>.json` beside it (of a folder: `<name>.json`).
    """

    path: Path
    num_frames: int | None
    fps: float
    height: int
    width: int
    metadata: dict[str, Any]
    _decode: Callable[[Container[int] | None], Iterator[Frame | None]] = field(repr=False)

    def __iter__(self) -> Iterator[Frame]:
        """Decode from the first frame on; only one or two frames are in memory, if the caller keeps none.

        Yields:
            Frames uint8 (height, width, 3), RGB, all of one size.

        Raises:
            IvideoError: damaged, fewer frames than announced (after the last of them), or pictures of several sizes.
        """
        return cast(Iterator[Frame], self._decode(None))

    def count(self) -> int:
        """Number of frames, by decoding all of them where the file does not announce it."""
        return sum(1 for _ in self._decode(())) if self.num_frames is None else self.num_frames

    def select(self, indices: Collection[int]) -> Iterator[Frame | None]:
        """Decode from the first frame on, but no further than needed, and give only some frames.

        Args:
            indices: positions from 0, at least one.

        Yields:
            The frame of each position up to the last one asked for; None in the place of one that is not.
        """
        wanted = {*indices}
        for index, frame in zip(range(max(wanted) + 1), self._decode(wanted), strict=False):
            yield frame if index in wanted else None
            del frame  # not kept while the next one is read

    def read(self, indices: Sequence[int]) -> Frames:
        """Read some frames, decoding no further than the last of them and keeping no others.

        Args:
            indices: positions from 0, at least one, in any order, also repeated.

        Returns:
            uint8 (len(indices), height, width, 3), RGB, in the order of the indices.

        Raises:
            IvideoError: damaged before there, or there are fewer frames.
            ValueError: no indices, or one below 0.
        """
        if not indices or min(indices) < 0:
            raise ValueError(f"indices must be at least one, from 0 on, got {list(indices)}")
        frames = list(self.select(indices))
        if len(frames) <= max(indices):
            raise IvideoError(f"{self.path} has {len(frames)} frames, none at position {max(indices)} (counted from 0)")
        return np.stack([cast(Frame, frames[index]) for index in indices])


def open_video(path: Path, folder_fps: float = DEFAULT_FPS) -> VideoReader:
    """Look at a video without decoding more than its first frame.

    Args:
        path: a file of any kind that PyAV reads, or a folder of .png and .jpg pictures, in natural order.
        folder_fps: frames per second of a folder, which cannot say it.

    Raises:
        IvideoError: missing, not a video, nothing but sound, cut off as far as that can be told, a folder without
            pictures or with videos beside them, its sidecar isn't a JSON object, or PyAV is missing (NoDecoder).
    """
    try:
        if path.is_dir():
            return _open_folder(path, folder_fps)
        if path.exists() and not path.is_file():
            raise IvideoError(f"{path} is not a video: it is no regular file")
        with path.open("rb") as file:
            head = file.read(12)
        if head.startswith(SIGNATURE):
            return _open_pictures(path, read_gif_header(path))
        return _open_pictures(path, read_webp_header(path)) if is_webp(head) else _open_coded(path)
    except FileNotFoundError as error:
        raise IvideoError(f"video {path} does not exist") from error
    except OSError as error:
        raise explain_os_error("read", path, error) from error


def _open_folder(path: Path, fps: float) -> VideoReader:
    pictures = list_frames(path)
    if not pictures:
        raise IvideoError(f"{path} is a folder without frames ({', '.join(PICTURE_SUFFIXES)})")
    if any(other.suffix.lower() in READABLE_SUFFIXES for other in path.iterdir()):
        raise IvideoError(f"{path} is a folder of both videos and pictures: name the videos, or a folder of frames")
    height, width, _ = read_picture(pictures[0]).shape
    metadata = _read_sidecar(path.resolve().parent / f"{path.resolve().name}.json")
    return VideoReader(path, len(pictures), fps, height, width, metadata, lambda _: read_pictures(pictures))


def _open_pictures(path: Path, header: GifHeader) -> VideoReader:
    metadata = _read_sidecar(path.with_suffix(".json"))
    return VideoReader(
        path, header.num_frames, header.fps, header.height, header.width, metadata, lambda _: read_gif_frames(path)
    )


def _open_coded(path: Path) -> VideoReader:
    check_whole(path)
    info = probe(path)
    try:
        said = json.loads(info.comment)
    except json.JSONDecodeError:
        said = None
    metadata = said if isinstance(said, dict) else _read_sidecar(path.with_suffix(".json"))
    frames = partial(decode, path, info.num_frames)
    return VideoReader(path, info.num_frames, info.fps or DEFAULT_FPS, info.height, info.width, metadata, frames)


def _read_sidecar(path: Path) -> dict[str, Any]:
    try:
        metadata = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise explain_os_error("read", path, error) from error
    except ValueError as error:
        raise IvideoError(f"{path} should hold the video's metadata, but is not JSON: {error}") from error
    if not isinstance(metadata, dict):
        raise IvideoError(f"{path} should hold the video's metadata, but is not a JSON object")
    return metadata


@dataclass(frozen=True)
class Video:
    """A clip: frames uint8 (num_frames, height, width, 3) RGB, frames per second, and what is known about it."""

    frames: Frames
    fps: float
    metadata: dict[str, Any]


def read_video(path: Path, folder_fps: float = DEFAULT_FPS) -> Video:
    """Read every frame of a video, or fail: no frame is ever made up.

    A decoder ends quietly where a cut-off file ends (moviepy then repeats the last frame), so the frames that were
    decoded are counted against those that the container announces, where it does: the table of
    `ivideo.video.reader` says for each kind what can be told. An edit list that hides frames is not followed.

    Args:
        path: a file of any kind that PyAV reads, told from its content, or a folder of .png and .jpg pictures.
        folder_fps: frames per second of a folder, which cannot say it.

    Returns:
        The clip. Its metadata is the JSON in the file, else that in `<stem>.json` beside it, else empty.

    Raises:
        IvideoError: missing, not a video, cut off, damaged, without frames, or its sidecar isn't a JSON object.
    """
    reader = open_video(path, folder_fps)
    return Video(np.stack(list(reader)), reader.fps, reader.metadata)


def check_whole(path: Path) -> None:
    """Hold a file's length against what an mp4, Matroska (.mkv, .webm) or RIFF (.avi) container in it announces.

    So a cut-off file is told, which ffmpeg, and so PyAV, reads as a short one. A recorder that could not go back to
    write the size (a live recording) leaves it open; such a file cannot be told from a cut one.

    Args:
        path: an existing file of any kind; other containers pass.

    Raises:
        IvideoError: it ends early.
        OSError: it can't be opened.
    """
    length = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(4096)
        announced = 0
        if head.startswith(_EBML):
            announced = _matroska_end(head)
        elif head[:4] == b"RIFF":
            announced = _riff_end(file)
        elif head[4:8] in _FIRST_BOXES:
            announced, has_index = _mp4_end(file, length)
            if not has_index and announced <= length:
                raise IvideoError(f"{path} is truncated: its index is missing; get a whole copy")
    if announced > length:
        raise IvideoError(f"{path} is truncated: it has {length} of its {announced} bytes; get a whole copy")


def _mp4_end(file: BinaryIO, length: int) -> tuple[int, bool]:
    """Where the last box ends, and whether one is an index; a box: size, kind, long size, content (ISO 14496-12)."""
    start, has_index = 0, False
    while start + 8 <= length:
        file.seek(start)
        head = file.read(16)
        size = int.from_bytes(head[:4], "big")
        size = int.from_bytes(head[8:], "big") if size == 1 else size or length - start
        if size < 8:  # no box: the decoder tells what is wrong
            break
        has_index |= head[4:8] == b"moov"
        start += size
    return start, has_index


def _riff_end(file: BinaryIO) -> int:
    """Where the last chunk ends (a large .avi is several of them); 0 where it does not say."""
    announced = start = 0
    while True:
        file.seek(start)
        head = file.read(8)
        if len(head) < 8 or head[:4] != b"RIFF":
            return announced
        size = int.from_bytes(head[4:], "little")
        announced = start + 8 + size if size not in _RIFF_OPEN_SIZES else 0
        start += 8 + size + size % 2


def _matroska_end(head: bytes) -> int:
    """Where the segment ends that holds everything but the header (RFC 8794, RFC 9559); 0 where it does not say."""
    size, start = _read_size(head, 4)
    start += size or 0
    if size is None or head[start : start + 4] != _SEGMENT:
        return 0
    size, start = _read_size(head, start + 4)
    return start + size if size is not None else 0


def _read_size(data: bytes, start: int) -> tuple[int | None, int]:
    """Read a size whose leading zero bits tell its length, and where it ends; None is open, or not there."""
    first = data[start] if start < len(data) else 0
    length = 9 - first.bit_length()
    value = int.from_bytes(data[start : start + length], "big") & ((1 << 7 * length) - 1)
    is_open = length > 8 or value == (1 << 7 * length) - 1
    return None if is_open else value, start + length
