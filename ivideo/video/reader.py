"""Videos of any kind, opened without decoding more than a frame: files that PyAV reads, gifs, folders of pictures.

| what                            | number of frames     | what tells that it is whole                              |
|---------------------------------|----------------------|----------------------------------------------------------|
| .mp4, .m4v, .mov                | in the header        | the bytes and the frames that it announces               |
| .gif, .webp, .avif              | in its blocks        | its end mark (.gif), and every picture                   |
| folder of .png, .jpg, .webp ... | the files            | every picture                                            |
| .webm, .mkv, .avi               | only by reading      | the bytes that it announces (a live recording: nothing)  |
| fragmented mp4                  | only by reading      | the bytes that it announces                              |
| others (.ts, .flv, .ogv, .h264) | only by reading      | nothing: a cut-off one reads as a shorter one            |

Where frames are not announced, one that cannot be decoded is an error too. What a file is, is told from its content,
never from its name. Frames come as they look: upright (a rotation in the file is followed), in square pixels, in SDR,
transparent pixels on a background, and each exactly once: time stamps, even uneven ones, only decide the average rate,
and an edit list hides nothing. What had to be changed, and what is odd (interlaced frames, gaps in the numbers of
pictures), is in the reader's `notes`. Damage inside a frame that its decoder patches up is not noticed.

Gifs, webps, avifs and pictures are read by Pillow; the others need PyAV (ffmpeg), and without it are not even opened.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Container, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ivideo.errors import IvideoError
from ivideo.files.atomic import explain_os_error
from ivideo.video.containers import check_whole
from ivideo.video.decoder import Frame, decode, probe
from ivideo.video.display import BLACK, Display
from ivideo.video.folders import check_path, describe_numbering, is_video, list_folder, list_frames
from ivideo.video.gif import SIGNATURE, GifHeader, read_animation_header, read_gif_frames, read_gif_header
from ivideo.video.pictures import PICTURE_SUFFIXES, is_avif, is_webp, read_picture, read_pictures
from ivideo.video.sidecars import Sidecar, read_sidecar

Frames = NDArray[np.uint8]

DEFAULT_FPS = 8.0


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
        foreign: what is wrong with that `.json`, in one line, where it is not the video's metadata; else empty.
        display: how frames are shown.
    """

    path: Path
    num_frames: int | None
    fps: float
    height: int
    width: int
    metadata: dict[str, Any]
    _decode: Callable[[Container[int] | None], Iterator[Frame | None]] = field(repr=False)
    foreign: str = ""
    display: Display = field(default_factory=Display)

    @property
    def notes(self) -> list[str]:
        """What was done to show the frames that were read so far, and what is odd about them, a line each."""
        return self.display.notes

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


def open_video(path: Path, folder_fps: float = DEFAULT_FPS, background: str = BLACK) -> VideoReader:
    """Look at a video without decoding more than its first frame.

    Args:
        path: a file of any kind that PyAV reads, or a folder of pictures, in natural order.
        folder_fps: frames per second of a folder, which cannot say it.
        background: colour that transparent pixels lie on, as CSS names or writes it.

    Raises:
        IvideoError: missing, not a video, nothing but sound, cut off as far as that can be told, a folder without
            pictures or with videos beside them, or PyAV is missing (NoDecoder).
    """
    check_path(path)
    display = Display(background)
    try:
        if path.is_dir():
            return _open_folder(path, folder_fps, display)
        if path.exists() and not path.is_file():
            raise IvideoError(f"{path} is not a video: it is no regular file")
        with path.open("rb") as file:
            head = file.read(12)
        if not head:
            raise IvideoError(f"{path} is empty; get a whole copy")
        if head.startswith(SIGNATURE):
            return _open_pictures(path, read_gif_header(path), display)
        if is_webp(head) or is_avif(head):
            return _open_pictures(path, read_animation_header(path), display)
        return _open_coded(path, display)
    except FileNotFoundError as error:
        raise IvideoError(f"video {path} does not exist") from error
    except OSError as error:
        raise explain_os_error("read", path, error) from error


def _open_folder(path: Path, fps: float, display: Display) -> VideoReader:
    pictures = list_frames(path)
    if not pictures:
        raise IvideoError(f"{path} is a folder without videos and without frames ({', '.join(PICTURE_SUFFIXES)})")
    if any(map(is_video, list_folder(path))):
        raise IvideoError(f"{path} is a folder of both videos and pictures: name the videos, or a folder of frames")
    for note in describe_numbering(pictures):
        display.note(note)
    height, width, _ = read_picture(pictures[0], display).shape
    said = read_sidecar(path.resolve().parent / f"{path.resolve().name}.json")
    shape = len(pictures), fps, height, width
    return VideoReader(path, *shape, said.metadata, lambda _: read_pictures(pictures, display), said.fault, display)


def _open_pictures(path: Path, header: GifHeader, display: Display) -> VideoReader:
    said = read_sidecar(path.with_suffix(".json"))
    shape = header.num_frames, header.fps, header.height, header.width
    return VideoReader(path, *shape, said.metadata, lambda _: read_gif_frames(path, display), said.fault, display)


def _open_coded(path: Path, display: Display) -> VideoReader:
    check_whole(path)
    info = probe(path)
    try:
        comment = json.loads(info.comment)
    except (ValueError, RecursionError):
        comment = None
    said = Sidecar(comment) if isinstance(comment, dict) else read_sidecar(path.with_suffix(".json"))
    shape = info.num_frames, info.fps or DEFAULT_FPS, info.height, info.width
    frames = partial(decode, path, info.num_frames, display)
    return VideoReader(path, *shape, said.metadata, frames, said.fault, display)


@dataclass(frozen=True)
class Video:
    """A clip: frames uint8 (num_frames, height, width, 3) RGB, frames per second, what is known about it, and notes."""

    frames: Frames
    fps: float
    metadata: dict[str, Any]
    notes: list[str] = field(default_factory=list)


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
        IvideoError: missing, not a video, cut off, damaged, or without frames.
    """
    reader = open_video(path, folder_fps)
    return Video(np.stack(list(reader)), reader.fps, reader.metadata, reader.notes)
