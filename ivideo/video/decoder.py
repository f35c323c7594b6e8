"""Videos by PyAV: what a file says of its picture, and its frames, one at a time."""

from __future__ import annotations

from collections.abc import Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from ivideo.errors import IvideoError
from ivideo.video.display import Display
from ivideo.video.pixels import Converter, find_aspect, is_large, upright_size

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer
    from av.video.codeccontext import VideoCodecContext
    from av.video.stream import VideoStream

Frame = NDArray[np.uint8]

# Containers and bare streams of video; without this list ffmpeg would also make a film of a text, a picture or a
# playlist that names other files.
_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,mpegts,mpeg,mpegvideo,m4v,h264,hevc,obu,ivf,ogg,asf,mxf,nut,dv,"
    "yuv4mpegpipe,rm,wtv,apng"
)
_OPTIONS = {"format_whitelist": _FORMATS, "fflags": "+discardcorrupt", "ignore_editlist": "1"}
_MAX_RATE = 1000  # in 1/s; where frames are not announced, what is above is a time base, not a rate
_ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}  # the usual ones leave transparency out
_MAX_UNEVENNESS = 1.5  # longest frame in shortest ones; less is rounding


class NoDecoder(IvideoError):
    """A video that could be read if PyAV were there: the machine is at fault, not the video."""


@dataclass(frozen=True)
class StreamInfo:
    """What a file says of its picture.

    Attributes:
        num_frames: as its header announces it; None where there is no such header.
        fps: average frames per second; None where nothing tells.
        height: of its first frame, upright, in square pixels.
        width: the same.
        comment: its tag of that name, "" where it has none.
    """

    num_frames: int | None
    fps: float | None
    height: int
    width: int
    comment: str


def probe(path: Path) -> StreamInfo:
    """Ask what a file's first video stream is, cover pictures left out; no more than a frame is decoded.

    Args:
        path: an existing file.

    Raises:
        IvideoError: not a video, nothing but sound, or not one frame can be decoded.
        NoDecoder: PyAV is not installed.
    """
    with _open(path) as (container, stream):
        num_frames = stream.frames if "mp4" in container.format.name.split(",") else 0
        rates = [stream.average_rate] if num_frames else [stream.average_rate, stream.base_rate]
        tags = {name.lower(): text for name, text in (stream.metadata | container.metadata).items()}
        decoding = _Decoding(container, stream)
        first = next(iter(decoding), None)
        aspect = find_aspect(stream)
    if first is None:
        raise decoding.explain(path, num_frames)
    fps = min((float(rate) for rate in rates if rate and (num_frames or rate < _MAX_RATE)), default=None)
    return StreamInfo(num_frames or None, fps, *upright_size(first, aspect), tags.get("comment", ""))


def decode(
    path: Path, num_frames: int | None, display: Display, wanted: Container[int] | None = None
) -> Iterator[Frame | None]:
    """Decode a file's frames one by one, each once, whatever its time stamp says, upright, in the size of the first.

    Threads decode large frames. What they cannot decode they may pass over in silence, with what follows it, and patch
    up in other ways. So from the first fault on frames are decoded once more without threads, which tell what is wrong.

    Args:
        path: an existing file.
        num_frames: how many its header announces; None: it does not, and a decoding error counts as damage.
        display: how frames are shown; is told what had to be done for that.
        wanted: positions from 0 on of the frames to give, None for all; the others are decoded, but not made RGB.

    Yields:
        Frames uint8 (height, width, 3), RGB, writable; None in the place of one that is not wanted.

    Raises:
        IvideoError: not a video; after the last frame that can be read: there is none, or fewer than announced.
        NoDecoder: PyAV is not installed.
    """
    num_given = 0
    for has_threads in (True, False):
        with _open(path) as (container, stream):
            has_threads = has_threads and is_large(stream)
            decoding = _Decoding(container, stream, has_threads)
            convert, clock = None, _Clock()
            if (num_streams := len(_list_films(container))) > 1:
                display.note(f"of {num_streams} video streams only the first one is read")
            for index, frame in enumerate(decoding):
                convert = convert or Converter(path, frame, find_aspect(stream), display)
                if clock.is_uneven(frame.pts):
                    display.note("frame times are uneven: each frame counts once, at the average rate")
                if index < num_given:
                    continue
                num_given += 1
                yield convert(frame) if wanted is None or index in wanted else None
                del frame  # not kept while the next one is read
        if not has_threads or (decoding.num_frames >= (num_frames or decoding.num_packets) and not decoding.faults):
            break
    if num_given < (num_frames or 1) or (decoding.faults and not num_frames):
        raise decoding.explain(path, num_frames)


class _Decoding:
    """A stream's frames as they are coded, and what came of it."""

    def __init__(self, container: InputContainer, stream: VideoStream, has_threads: bool = False) -> None:
        """Say how to decode; with threads the first fault ends it."""
        self._container, self._stream, self._has_threads = container, stream, has_threads
        self._decoder = _find_decoder(stream)
        self._decoder.thread_type = "AUTO" if has_threads else "NONE"
        self.num_packets = self.num_frames = 0
        self.faults: list[str] = []

    def __iter__(self) -> Iterator[VideoFrame]:
        from av import FFmpegError

        packets = self._container.demux(self._stream)
        try:
            for packet in packets:
                self.num_packets += packet.size > 0
                try:
                    frames = self._decoder.decode(packet)
                except FFmpegError as error:
                    self.faults.append(error.strerror or str(error))
                    if self._has_threads:
                        return
                    continue
                for frame in frames:
                    if self._has_threads and frame.is_corrupt:
                        self.faults.append("a frame is damaged")
                        return
                    self.num_frames += 1
                    yield frame
        except FFmpegError as error:  # of the container
            self.faults.append(error.strerror or str(error))

    def explain(self, path: Path, num_frames: int | None = None) -> IvideoError:
        """What to say where frames are missing."""
        if not self.num_frames:
            if not self.faults and not num_frames:
                return IvideoError(f"{path} has no video frames")
            reason = next(iter(self.faults), "all of them are missing")
            return IvideoError(f"{path} is damaged, no frame can be read: {reason}")
        if num_frames:
            found = f"{self.num_frames} of its {num_frames} frames can be read; get a whole copy"
        else:
            found = f"only {self.num_frames} frames can be read: {self.faults[0]}"
        return IvideoError(f"{path} is truncated or damaged: {found}")


class _Clock:
    """Tells whether frames follow each other in uneven steps."""

    def __init__(self) -> None:
        self._last: int | None = None
        self._shortest = self._longest = 0

    def is_uneven(self, time: int | None) -> bool:
        """Whether they do so far; `time` is the next one's, in ticks, None where it is not known."""
        if time is not None and self._last is not None and (step := time - self._last) > 0:
            self._shortest = min(self._shortest or step, step)
            self._longest = max(self._longest, step)
        self._last = time
        return self._longest > max(_MAX_UNEVENNESS * self._shortest, self._shortest + 1)


def _find_decoder(stream: VideoStream) -> VideoCodecContext:
    """The stream's own decoder, or the one that knows transparency where there is some."""
    from av import CodecContext
    from av.codec.codec import UnknownCodecError

    own = stream.codec_context
    name = _ALPHA_DECODERS.get(own.name) if stream.metadata.get("alpha_mode") == "1" else None
    if name is None:
        return own
    try:
        return cast("VideoCodecContext", CodecContext.create(name, "r"))
    except UnknownCodecError as error:
        raise IvideoError(f"its transparency needs {name}, which this PyAV does not have") from error


def _list_films(container: InputContainer) -> list[VideoStream]:
    """The video streams, cover pictures left out."""
    from av.stream import Disposition

    return [one for one in container.streams.video if not one.disposition & Disposition.attached_pic]


@contextmanager
def _open(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a file and its first video stream that is no cover picture."""
    try:
        import av
    except ImportError as error:
        raise NoDecoder(
            f"{path} cannot be read: no decoder of videos is installed (pip install av); "
            "GIFs and folders of pictures can"
        ) from error
    try:
        container = av.open(f"file:{path}", options=_OPTIONS, metadata_errors="replace")
    except av.FFmpegError as error:
        is_refused = isinstance(error, av.ArgumentError)  # by the list of formats
        reason = "its content is of another kind" if is_refused else error.strerror
        raise IvideoError(f"{path} is not a video that can be read: {reason}") from error
    with container:
        streams = _list_films(container)
        if not streams:
            raise IvideoError(f"{path} has no video frames")
        if streams[0].codec_context is None:
            raise IvideoError(f"{path} is not a video that can be read: its coding is not known")
        try:
            yield container, streams[0]
        except av.FFmpegError as error:
            raise IvideoError(f"{path} is not a video that can be read: {error.strerror}") from error
