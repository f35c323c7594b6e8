"""Videos by PyAV: what a file says of its picture, and its frames, one at a time."""

from __future__ import annotations

from collections.abc import Container, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ivideo.errors import IvideoError

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer
    from av.filter import Graph
    from av.video.stream import VideoStream

Frame = NDArray[np.uint8]

# Containers and bare streams of video; without this list ffmpeg would also make a film of a text, a picture or a
# playlist that names other files.
_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,mpegts,mpeg,mpegvideo,m4v,h264,hevc,obu,ivf,ogg,asf,mxf,nut,dv,"
    "yuv4mpegpipe,rm,wtv,apng"
)
_OPTIONS = {"format_whitelist": _FORMATS, "fflags": "+discardcorrupt", "ignore_editlist": "1"}
_SCALING = "flags=bicubic+accurate_rnd+full_chroma_int"
_MAX_RATE = 1000  # in 1/s; where frames are not announced, what is above is a time base, not a rate
_MIN_PIXELS_FOR_THREADS = 2**17  # smaller frames are decoded in less time than threads take to start


class NoDecoder(IvideoError):
    """A video that could be read if PyAV were there: the machine is at fault, not the video."""


@dataclass(frozen=True)
class StreamInfo:
    """What a file says of its picture.

    Attributes:
        num_frames: as its header announces it; None where there is no such header.
        fps: average frames per second; None where nothing tells.
        height: of its first frame, upright, in pixels.
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
    if first is None:
        raise decoding.explain(path, num_frames)
    fps = min((float(rate) for rate in rates if rate and (num_frames or rate < _MAX_RATE)), default=None)
    return StreamInfo(num_frames or None, fps, *_upright_size(first), tags.get("comment", ""))


def decode(path: Path, num_frames: int | None = None, wanted: Container[int] | None = None) -> Iterator[Frame | None]:
    """Decode a file's frames one by one, each once, whatever its time stamp says, upright, in the size of the first.

    Threads decode large frames. What they cannot decode they may pass over in silence, with what follows it, and patch
    up in other ways. So from the first fault on frames are decoded once more without threads, which tell what is wrong.

    Args:
        path: an existing file.
        num_frames: how many its header announces; None: it does not, and a decoding error counts as damage.
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
            has_threads = has_threads and _is_large(stream)
            decoding = _Decoding(container, stream, has_threads)
            convert = None
            for index, frame in enumerate(decoding):
                convert = convert or _Converter(frame)
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
        stream.thread_type = "AUTO" if has_threads else "NONE"
        self.num_packets = self.num_frames = 0
        self.faults: list[str] = []

    def __iter__(self) -> Iterator[VideoFrame]:
        from av import FFmpegError

        packets = self._container.demux(self._stream)
        try:
            for packet in packets:
                self.num_packets += packet.size > 0
                try:
                    frames = packet.decode()
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


class _Converter:
    """Makes frames upright RGB ones, all in the size of the first."""

    def __init__(self, first: VideoFrame) -> None:
        """Note the size."""
        self._size = _upright_size(first)
        self._kind: tuple[int, int, str] | None = None  # of frame that the graph is for

    def __call__(self, frame: VideoFrame) -> Frame:
        kind = (frame.width, frame.height, frame.format.name)
        if kind != self._kind:
            self._kind, self._graph = kind, self._build_graph(frame)
        self._graph.vpush(frame)
        pixels = np.asarray(self._graph.vpull().to_ndarray(), np.uint8)
        # an RGB frame comes through as it is, in the decoder's own memory
        return pixels.copy() if frame.format.name == "rgb24" else np.ascontiguousarray(pixels)

    def _build_graph(self, frame: VideoFrame) -> Graph:
        """The filters for frames of one size and format."""
        from av.filter import Graph

        height, width = self._size
        graph = Graph()
        graph.threads = 0 if _is_large(frame) else 1  # 0: one a core
        source = graph.add_buffer(None, frame.width, frame.height, frame.format, time_base=Fraction(1, 1000))
        steps = [*_turns(frame), ("scale", f"{width}:{height}:{_SCALING}"), ("format", "rgb24"), ("buffersink", None)]
        graph.link_nodes(source, *[graph.add(name, options) for name, options in steps]).configure()
        return graph


def _is_large(picture: VideoFrame | VideoStream) -> bool:
    return picture.width * picture.height >= _MIN_PIXELS_FOR_THREADS


def _upright_size(frame: VideoFrame) -> tuple[int, int]:
    """Height and width, once the frame is turned."""
    is_on_its_side = any(name == "transpose" for name, _ in _turns(frame))
    return (frame.width, frame.height) if is_on_its_side else (frame.height, frame.width)


def _turns(frame: VideoFrame) -> list[tuple[str, str | None]]:
    """The filters that set a frame upright, by its display matrix: x' = a x + c y, y' = b x + d y."""
    matrix: Any = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return []
    a, b, _, c, d = np.frombuffer(matrix, np.int32)[:5].tolist()
    is_on_its_side = abs(a) < abs(b)
    x_scale, y_scale = (c, b) if is_on_its_side else (a, d)
    turns: list[tuple[str, str | None]] = [("transpose", "cclock_flip")] if is_on_its_side else []
    return turns + [("hflip", None)] * (x_scale < 0) + [("vflip", None)] * (y_scale < 0)


@contextmanager
def _open(path: Path) -> Iterator[tuple[InputContainer, VideoStream]]:
    """Open a file and its first video stream that is no cover picture."""
    try:
        import av
        from av.stream import Disposition
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
        streams = [one for one in container.streams.video if not one.disposition & Disposition.attached_pic]
        if not streams:
            raise IvideoError(f"{path} has no video frames")
        if streams[0].codec_context is None:
            raise IvideoError(f"{path} is not a video that can be read: its coding is not known")
        try:
            yield container, streams[0]
        except av.FFmpegError as error:
            raise IvideoError(f"{path} is not a video that can be read: {error.strerror}") from error
