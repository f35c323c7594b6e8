"""The ffmpeg of imageio-ffmpeg: what it says of a file, and the file's frames through a pipe, one at a time."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from ivideo.errors import IvideoError

Frame = NDArray[np.uint8]


# Containers and bare streams of video; without this list ffmpeg would also make a film of a text, a picture or a
# playlist that names other files.
_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,mpegts,mpeg,mpegvideo,m4v,h264,hevc,obu,ivf,ogg,asf,mxf,nut,dv,"
    "yuv4mpegpipe,rm,wtv,apng,webp_anim"
)


_STREAM = re.compile(r"^  Stream #0:\d+.*?: Video: (.*)$", re.MULTILINE)


_SIZE = re.compile(r", (\d+)x(\d+)\b")


_RATE = re.compile(r", ([\d.]+)(k?) (?:fps|tbr)\b")


_ROTATION = re.compile(r"rotation of (-?[\d.]+) degrees")


_COMMENT = re.compile(r"^ +comment +: (.*)$", re.MULTILINE | re.IGNORECASE)


class NoDecoder(IvideoError):
    """A video that could be read if ffmpeg were there: the machine is at fault, not the video."""


@dataclass(frozen=True)
class StreamInfo:
    """What ffmpeg says of a file's picture: frames per second (to 1/100), size as shown, and the comment."""

    fps: float | None
    height: int
    width: int
    comment: str


def find_ffmpeg() -> str | None:
    """The program that imageio-ffmpeg brings or knows; None where the package or the program is not there."""
    try:
        from imageio_ffmpeg import get_ffmpeg_exe

        return str(get_ffmpeg_exe())
    except (ImportError, RuntimeError):
        return None


def find_decoder(path: Path) -> str:
    """The program that reads a video.

    Args:
        path: the video.

    Raises:
        NoDecoder: there is none on this machine.
    """
    program = find_ffmpeg()
    if program is None:
        raise NoDecoder(
            f"{path} cannot be read: no decoder of videos is installed (pip install imageio-ffmpeg); "
            "GIFs and folders of pictures can"
        )
    return program


def probe(path: Path) -> StreamInfo:
    """Ask ffmpeg what a file holds, without decoding it all.

    Args:
        path: an existing file.

    Returns:
        The first video stream, cover pictures left out. Its size is that of upright frames: a rotation that the file
        asks for is followed. fps is the average rate that it announces, or that of its time stamps' finest step where
        this is lower; None where ffmpeg knows neither.

    Raises:
        IvideoError: not a video, nothing but sound, or no ffmpeg.
    """
    command = [find_decoder(path), "-hide_banner", "-nostdin", *_input(path)]
    log = subprocess.run(command, capture_output=True, check=False).stderr.decode("utf-8", "replace")
    if "\nInput #0" not in f"\n{log}":
        raise IvideoError(f"{path} is not a video that can be read: {_why_not(log)}")
    streams = [match for match in _STREAM.finditer(log) if "(attached pic)" not in match[1]]
    size = _SIZE.search(streams[0][1]) if streams else None
    if not size:
        raise IvideoError(f"{path} has no video frames")
    described = log[streams[0].start() :].partition("\n  Stream #")
    rotation = _ROTATION.search(described[0])
    width, height = int(size[1]), int(size[2])
    if rotation and round(float(rotation[1]) / 90) % 2:
        width, height = height, width
    rates = [float(number) for number, thousands in _RATE.findall(streams[0][1]) if not thousands]
    comment = _COMMENT.search(log)
    return StreamInfo(min(filter(None, rates), default=None), height, width, comment[1] if comment else "")


def decode(path: Path, num_frames: int | None = None, options: Sequence[str] = ()) -> Iterator[Frame]:
    """Decode a file's frames one by one; ffmpeg waits while nobody takes the next one, and ends with the iterator.

    Each frame is given once, whatever its time stamp says, upright, and in the size of the first.

    Args:
        path: an existing file.
        num_frames: how many its container announces; None: it does not, and a decoding error counts as damage.
        options: of ffmpeg, before the input.

    Yields:
        Frames uint8 (height, width, 3), RGB, writable.

    Raises:
        IvideoError: no ffmpeg; after the last frame that can be read: there is none, or there are fewer than announced.
    """
    command = [find_decoder(path), "-v", "error", "-nostdin", "-fflags", "+discardcorrupt"]
    command += [] if num_frames else ["-max_error_rate", "0"]
    command += [*options, *_input(path), "-map", "0:V:0", "-fps_mode", "passthrough"]
    command += ["-sws_flags", "bicubic+accurate_rnd+full_chroma_int"]
    command += ["-pix_fmt", "rgb24", "-c:v", "ppm", "-f", "image2pipe", "-"]
    num_read = 0
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log) as process,
    ):
        try:
            assert process.stdout is not None
            while (frame := _read_picture(process.stdout)) is not None:
                num_read += 1
                yield frame
                del frame  # not kept while the next one is read
            is_damaged = process.wait() != 0 and not num_frames
        except BaseException:
            process.kill()
            raise
        log.seek(0)
        reason = _first_line(log.read().decode("utf-8", "replace"))
    if num_read == 0:
        raise IvideoError(f"{path} is damaged, no frame can be read: {reason}")
    if num_frames and num_read < num_frames:
        raise IvideoError(
            f"{path} is truncated or damaged: {num_read} of its {num_frames} frames can be read; get a whole copy"
        )
    if is_damaged:
        raise IvideoError(f"{path} is truncated or damaged: only {num_read} frames can be read: {reason}")


def _why_not(log: str) -> str:
    if "not on whitelist" in log:
        return "its content is of another kind"
    opening = re.search(r"Error opening input: (.*)", log)
    return opening[1].strip() if opening else _first_line(log)


def _first_line(log: str) -> str:
    """What went wrong first, in ffmpeg's words, without the part of ffmpeg that says it."""
    lines = [re.sub(r"^(\[.*? @ 0x[0-9a-f]+\] )+", "", line.strip()) for line in log.splitlines()]
    return next(filter(None, lines), "no reason given")


def _input(path: Path) -> list[str]:
    return ["-format_whitelist", _FORMATS, "-i", f"file:{path}"]


def _read_picture(pipe: IO[bytes]) -> Frame | None:
    """Read a PPM picture: the lines "P6", "width height" and "255", then its pixels; None where it ends early."""
    _, size, _ = pipe.readline(), pipe.readline().split(), pipe.readline()
    if len(size) != 2:
        return None
    width, height = map(int, size)
    frame = np.empty((height, width, 3), np.uint8)
    return frame if pipe.readinto(frame.data.cast("B")) == frame.nbytes else None  # type: ignore[attr-defined]
