"""Frames as a decoder gives them, made upright RGB ones of square pixels in SDR, by ffmpeg's filters."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ivideo.errors import IvideoError
from ivideo.video.display import Display
from ivideo.video.pictures import HDR_TRANSFERS

if TYPE_CHECKING:
    from av import VideoFrame
    from av.filter import Graph
    from av.video.stream import VideoStream

Step = tuple[str, str | None]
SCALING = "flags=bicubic+accurate_rnd+full_chroma_int"
MIN_PIXELS_FOR_THREADS = 2**17  # smaller frames are decoded in less time than threads take to start
_WIDE = {9: "BT.2020", 11: "DCI-P3", 12: "Display P3"}  # primaries by the number that ITU-T H.273 gives them
_TO_BT709 = "out_primaries=bt709:out_transfer=bt709"
_TONE_MAPPING = f"{_TO_BT709}:intent=perceptual"
_MAX_ASPECT = 4  # of a pixel; what is beyond is a mistake


class Converter:
    """Makes frames upright RGB ones, all in the size of the first."""

    def __init__(self, path: Path, first: VideoFrame, aspect: Fraction, display: Display) -> None:
        """Note the size.

        Args:
            path: the file, for messages.
            first: its first frame.
            aspect: width of a coded pixel in heights.
            display: what transparent pixels lie on; is told what is done.
        """
        self._path, self._display = path, display
        self._size = upright_size(first, aspect)
        self._kind: tuple[object, ...] | None = None  # of frame that the graph is for
        if aspect != 1:
            height, width = self._size
            display.note(f"pixels of {aspect.numerator}:{aspect.denominator} are made square: {width} x {height}")

    def __call__(self, frame: VideoFrame) -> NDArray[np.uint8]:
        """Convert a frame, uint8 (height, width, 3), writable."""
        name = frame.format.name
        kind = (frame.width, frame.height, name, frame.color_trc, frame.color_primaries, frame.interlaced_frame)
        if kind != self._kind:
            self._kind, self._graph = kind, self._build_graph(frame)
        self._graph.vpush(frame)
        pixels = np.asarray(self._graph.vpull().to_ndarray(), np.uint8)
        if self._is_transparent:
            return self._display.flatten(pixels)
        # an RGB frame comes through as it is, in the decoder's own memory
        return pixels.copy() if name == "rgb24" else np.ascontiguousarray(pixels)

    def _build_graph(self, frame: VideoFrame) -> Graph:
        """The filters for frames of one kind."""
        from av import FFmpegError

        height, width = self._size
        colours = self._choose_colours(frame)
        has_alpha = any(component.is_alpha for component in frame.format.components)
        self._is_transparent = has_alpha or frame.format.has_palette
        if frame.interlaced_frame:
            self._display.note("frames are interlaced, and shown as they are coded, with both fields in one")
        steps = (
            *_turns(frame),
            ("scale", ":".join(filter(None, (str(width), str(height), SCALING, colours)))),
            ("format", "rgba" if self._is_transparent else "rgb24"),
        )
        num_threads = 0 if is_large(frame) or colours else 1  # 0: one a core
        make = _KEPT.make_graph if colours else make_graph
        try:
            return make(frame.width, frame.height, frame.format.name, steps, num_threads)
        except FFmpegError as error:
            if not colours:
                raise
            advice = "which this PyAV cannot convert (pip install -U av); or give an SDR one"
            raise IvideoError(f"{self._path} is in HDR or in wide colours, {advice}") from error

    def _choose_colours(self, frame: VideoFrame) -> str:
        """How the scaler converts a frame's colours; nothing where they are those of all videos."""
        if transfer := HDR_TRANSFERS.get(frame.color_trc):
            self._display.note(f"HDR ({transfer}) is tone-mapped to SDR")
            return _TONE_MAPPING
        if wide := _WIDE.get(frame.color_primaries):
            self._display.note(f"{wide} colours are converted to BT.709")
            return _TO_BT709
        return ""


def make_graph(width: int, height: int, format: str, steps: Sequence[Step], num_threads: int) -> Graph:
    """Filters in a row, for frames of one size and format that are pushed and pulled one by one.

    Args:
        width: of the frames that come, in pixels.
        height: the same.
        format: of their pixels.
        steps: each filter with its options.
        num_threads: 0 for one a core.

    Raises:
        av.FFmpegError: ffmpeg does not have them.
    """
    from av import VideoFormat
    from av.filter import Graph

    graph = Graph()
    graph.threads = num_threads
    nodes = [graph.add_buffer(None, width, height, VideoFormat(format), time_base=Fraction(1, 1000))]
    nodes += [graph.add(name, options) for name, options in (*steps, ("buffersink", None))]
    graph.link_nodes(*nodes).configure()
    return graph


class _KeptGraphs(threading.local):
    """The last graphs of a thread that convert colours: their tables take seconds, and serve many videos."""

    def __init__(self) -> None:
        self.make_graph = lru_cache(maxsize=4)(make_graph)


_KEPT = _KeptGraphs()


def is_large(picture: VideoFrame | VideoStream) -> bool:
    """Whether a picture is worth the start of threads."""
    return picture.width * picture.height >= MIN_PIXELS_FOR_THREADS


def find_aspect(stream: VideoStream) -> Fraction:
    """Width of a stream's pixels in heights; 1 where it says nothing, or nothing that can be."""
    aspect = stream.sample_aspect_ratio
    return aspect if aspect and Fraction(1, _MAX_ASPECT) <= aspect <= _MAX_ASPECT else Fraction(1)


def upright_size(frame: VideoFrame, aspect: Fraction) -> tuple[int, int]:
    """Height and width, once the frame is turned and its pixels are square; no side gets shorter for that."""
    one = Fraction(1)
    height, width = round(frame.height / min(aspect, one)), round(frame.width * max(aspect, one))
    is_on_its_side = any(name == "transpose" for name, _ in _turns(frame))
    return (width, height) if is_on_its_side else (height, width)


def _turns(frame: VideoFrame) -> list[Step]:
    """The filters that set a frame upright, by its display matrix: x' = a x + c y, y' = b x + d y."""
    matrix: Any = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return []
    a, b, _, c, d = np.frombuffer(matrix, np.int32)[:5].tolist()
    is_on_its_side = abs(a) < abs(b)
    x_scale, y_scale = (c, b) if is_on_its_side else (a, d)
    turns: list[Step] = [("transpose", "cclock_flip")] if is_on_its_side else []
    return turns + [("hflip", None)] * (x_scale < 0) + [("vflip", None)] * (y_scale < 0)
