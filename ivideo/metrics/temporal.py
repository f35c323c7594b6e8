"""What a clip does over time, measured in one pass over its frames: how it moves, flickers, and how smoothly.

A frozen clip looks perfect in flickering, smoothness and consistency (`ivideo.metrics.consistency`, which needs a
judge's features): read them beside motion and dynamic degree, where it looks worst.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ivideo.metrics.dynamic_degree import REFERENCE_FPS, dynamic_degree, top_speed
from ivideo.metrics.flickering import flicker, flickering_of_changes, mean_change
from ivideo.metrics.optical_flow import motion, pixel_speeds, to_grey
from ivideo.metrics.smoothness import prediction_error, smoothness_of_errors

__all__ = ["TemporalFigures", "TemporalMeter", "flicker", "measure_temporal", "motion"]


@dataclass(frozen=True)
class TemporalFigures:
    """What a clip does over time.

    Attributes:
        motion: mean optical flow in pixels per frame, at least 0; 0 is frozen. Whatever the fps tag.
        flicker: VBench's temporal flickering, in [0, 1]; 1 is frozen.
        motion_smoothness_proxy: how well frames are the mean of their neighbours, in [0, 1]; 1 is frozen (or even).
        dynamic_degree: share of pairs of frames with fast pixels, in [0, 1]; 0 is frozen. Depends on the fps tag.
        is_dynamic: whether VBench would call the clip dynamic, after `dynamic_degree`'s pairs.
    """

    motion: float
    flicker: float
    motion_smoothness_proxy: float
    dynamic_degree: float
    is_dynamic: bool


class TemporalMeter:
    """Measures a clip frame by frame; it keeps two frames and four numbers a frame, however long the clip.

    meter = TemporalMeter(fps=8)
    for frame in frames:
        meter.add(frame)
    print(meter.figures().motion)

    The optical flow of each pair of neighbours is computed once, for motion and dynamic degree.
    """

    def __init__(self, fps: float = REFERENCE_FPS) -> None:
        """Start a clip.

        Args:
            fps: frames per second, above 0; only the dynamic degree depends on it.

        Raises:
            ValueError: a rate that is not above 0.
        """
        if not fps > 0:
            raise ValueError(f"fps must be above 0, got {fps}")
        self._fps = fps
        self._last_frames: list[NDArray[np.uint8]] = []
        self._last_grey = np.empty((0, 0), np.uint8)
        self._num_frames = 0
        self._mean_speeds: list[float] = []
        self._top_speeds: list[float] = []
        self._changes: list[float] = []
        self._errors: list[float] = []

    def add(self, frame: NDArray[np.uint8]) -> None:
        """Take the next frame.

        Args:
            frame: (height, width, 3), uint8, RGB; it is kept until two more have come and must not be written to.

        Raises:
            ValueError: a frame of another type, or of another shape than the ones before.
        """
        expected = self._last_frames[-1].shape if self._last_frames else (*frame.shape[:2], 3)
        if frame.dtype != np.uint8 or frame.shape != expected:
            raise ValueError(f"a frame must be uint8 {expected}, got {frame.dtype} {frame.shape}")
        grey = to_grey(frame)
        if self._last_frames:
            self._changes.append(mean_change(self._last_frames[-1], frame))
            speeds = pixel_speeds(self._last_grey, grey)
            self._mean_speeds.append(float(speeds.mean()))
            self._top_speeds.append(top_speed(speeds))
        if self._num_frames % 2 == 0 and len(self._last_frames) == 2:
            self._errors.append(prediction_error(self._last_frames[0], self._last_frames[1], frame))
        self._last_frames = [*self._last_frames[-1:], frame]
        self._last_grey = grey
        self._num_frames += 1

    def figures(self) -> TemporalFigures:
        """Tell what the frames so far give; fewer than 2 are a clip that neither moves nor flickers."""
        height, width = self._last_frames[-1].shape[:2] if self._last_frames else (1, 1)
        degree = dynamic_degree(self._top_speeds, height, width, self._fps)
        return TemporalFigures(
            motion=float(np.mean(self._mean_speeds)) if self._mean_speeds else 0.0,
            flicker=flickering_of_changes(self._changes),
            motion_smoothness_proxy=smoothness_of_errors(self._errors),
            dynamic_degree=degree.share,
            is_dynamic=degree.is_dynamic,
        )


def measure_temporal(frames: Iterable[NDArray[np.uint8]], fps: float = REFERENCE_FPS) -> TemporalFigures:
    """Measure a clip in one pass.

    Args:
        frames: (num_frames, height, width, 3), uint8, RGB, or an iterator of such frames, which is read once.
        fps: frames per second, above 0; only the dynamic degree depends on it.

    Returns:
        The figures.

    Raises:
        ValueError: frames of another type or of different shapes, or a rate that is not above 0.
    """
    meter = TemporalMeter(fps)
    for frame in frames:
        meter.add(frame)
    return meter.figures()
