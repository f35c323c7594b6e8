"""Clips written as mp4 (H.264, by ffmpeg) or gif (by Pillow), with what made them inside or beside."""

from __future__ import annotations

import errno
import json
import math
import os
import signal
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from ivideo.errors import UsageError
from ivideo.files.atomic import atomic_path
from ivideo.files.records import write_json
from ivideo.video.gif import write_gif
from ivideo.video.reader import Frames

VIDEO_SUFFIXES = (".mp4", ".gif")
MIN_FPS, MAX_GIF_FPS = 0.01, 50
NO_ENCODER = "no encoder of videos is installed (pip install moviepy imageio-ffmpeg)"

# CRF 12: nearly lossless, because clips may be only 64 pixels wide. BT.709 is named so that players need not guess it.
_MP4_OPTIONS = (
    "-vf scale=out_color_matrix=bt709:out_range=tv:flags=accurate_rnd+full_chroma_int,format=yuv420p -crf 12 "
    "-colorspace bt709 -color_primaries bt709 -color_trc bt709 -color_range tv "
    "-movflags +faststart -fflags +bitexact -flags +bitexact"
).split()


def can_write_mp4() -> bool:
    """Whether this machine has an encoder: moviepy, and the ffmpeg that it runs. Imports no moviepy."""
    return find_spec("moviepy") is not None and _has_ffmpeg()


def default_suffix() -> str:
    """How a video ends that nobody gave a name: .mp4, or .gif on a machine without an encoder."""
    return ".mp4" if can_write_mp4() else ".gif"


def nearest_fps(suffix: str, fps: float) -> float:
    """The frame rate nearest to a given one that a file of this suffix can have."""
    return min(fps, MAX_GIF_FPS) if suffix == ".gif" else fps


def write_video(path: Path, frames: Frames, fps: float, metadata: Mapping[str, Any], *, replace: bool = True) -> Path:
    """Write a clip as .mp4 or .gif, whole or not at all; the same input gives the same bytes.

    An .mp4 is H.264 in yuv420p, which needs even sides: an odd height or width is filled up by repeating the last row
    or column, so that 63 x 65 pixels come back as 64 x 66. Its metadata is JSON in the tag `comment`, and the title
    is `metadata["prompt"]`. A .gif has at most 256 colours, and its metadata goes into `<stem>.json` beside it.

    Args:
        path: the file, ending in .mp4 or .gif; its folder is created where missing.
        frames: (num_frames, height, width, 3), uint8, RGB, at least one frame.
        fps: frames per second, kept to 1/100 (.gif: at most 50, in delays of 1/100 s).
        metadata: what `json.dumps` takes; "prompt", if it is there, is text.
        replace: whether a file may be there, video or metadata.

    Raises:
        AlreadyThereError: a file is there that may not be replaced.
        UsageError: another suffix, a frame rate that the format does not know, or .mp4 without an encoder.
        IvideoError: the file can't be written.
        ValueError: frames of another shape or type.
    """
    if frames.dtype != np.uint8 or frames.ndim != 4 or frames.shape[-1] != 3 or 0 in frames.shape:
        raise ValueError(f"frames must be uint8 (num_frames, height, width, 3), got {frames.dtype} {frames.shape}")
    check_video_format(path, fps)
    if path.suffix.lower() == ".mp4":
        with atomic_path(path, replace=replace) as temporary:
            _write_mp4(temporary, frames, fps, metadata)
    else:
        said = path.with_suffix(".json")
        with atomic_path(path, replace=replace) as temporary, atomic_path(said, replace=replace) as sidecar:
            write_gif(temporary, frames, fps)
            write_json(sidecar, dict(metadata))
    return path


def check_video_format(path: Path, fps: float) -> None:
    """Hold a name and a frame rate against what `write_video` can write, before there is anything to write.

    Args:
        path: the file.
        fps: frames per second.

    Raises:
        UsageError: another suffix than .mp4 and .gif, fps below 0.01, a .gif of more than 50 frames per second, or an
            .mp4 on a machine without an encoder.
    """
    suffix = path.suffix.lower()
    if suffix not in VIDEO_SUFFIXES:
        raise UsageError(f"cannot write {path}: a video ends in .mp4 or .gif, not {suffix or 'without a suffix'}")
    if not (math.isfinite(fps) and fps >= MIN_FPS):
        raise UsageError(f"a video shows at least {MIN_FPS} frames per second, not {fps:g}")
    if suffix == ".gif" and fps > MAX_GIF_FPS:
        advice = "write an .mp4" if can_write_mp4() else f"an .mp4 could, but {NO_ENCODER}"
        raise UsageError(f"a gif shows at most {MAX_GIF_FPS} frames per second, not {fps:g}; {advice}")
    if suffix == ".mp4" and not can_write_mp4():
        raise UsageError(f"cannot write {path}: {NO_ENCODER}; a .gif can be written")


def _has_ffmpeg() -> bool:
    """Whether imageio-ffmpeg is there, and the program that it brings or knows."""
    try:
        from imageio_ffmpeg import get_ffmpeg_exe

        return bool(get_ffmpeg_exe())
    except (ImportError, RuntimeError):
        return False


def _write_mp4(path: Path, frames: Frames, fps: float, metadata: Mapping[str, Any]) -> None:
    _, height, width, _ = frames.shape
    even = np.pad(frames, ((0, 0), (0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    tags = ["-metadata", f"comment={json.dumps(dict(metadata), allow_nan=False)}"]
    if "prompt" in metadata:
        tags += ["-metadata", "title=" + metadata["prompt"].replace("\0", " ")]
    _encode(path, even, fps, [*_MP4_OPTIONS, *tags])


def _encode(path: Path, frames: Frames, fps: float, options: list[str]) -> None:
    """Encode with moviepy's writer, on one thread: the number of threads would change the bytes."""
    from moviepy.video.io.ffmpeg_writer import FFMPEG_VideoWriter

    _, height, width, _ = frames.shape
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
        writer = FFMPEG_VideoWriter(
            f"file:{path}", (width, height), fps, codec="libx264", threads=1, logfile=log, ffmpeg_params=options
        )
        process = writer.proc
        with suppress(OSError), writer:  # a broken pipe says less than ffmpeg's exit status and log
            for frame in frames:
                writer.write_frame(frame)
        if (status := process.wait()) != 0:
            log.seek(0)
            raise OSError(explain_ffmpeg(status, log.read()))


def explain_ffmpeg(status: int, log: str) -> str:
    """Why ffmpeg failed: what the operating system said, else the last line that says more than that it did.

    Args:
        status: its exit status, below 0 a signal's number.
        log: all that it printed.
    """
    if status < 0:
        return f"ffmpeg was ended by {signal.Signals(-status).name}"
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO):
        if os.strerror(number) in log:
            return os.strerror(number)
    lines = [line.strip() for line in log.splitlines() if line.strip() not in ("", "Conversion failed!")]
    return f"ffmpeg: {lines[-1] if lines else 'no reason given'}"
