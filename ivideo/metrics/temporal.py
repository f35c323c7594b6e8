"""What a clip does over time, measured in one pass over its frames: how it moves, flickers, and how smoothly.

A frozen clip looks perfect in flickering, smoothness and consistency (`ivideo.metrics.by_reward`, which needs a
reward model's features): read them beside motion and dynamic degree, where it looks worst.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from ivideo.metrics.over_time import REFERENCE_FPS, Frame, OverPairs, Pair, to_grey
from ivideo.metrics.registry import measures


class TemporalMeter:
    """Measures a clip frame by frame; it keeps two frames, and a number a frame and metric, however long the clip.

    meter = TemporalMeter(fps=8)
    for frame in frames:
        meter.add(frame)
    print(meter.figures()["motion"])
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
        self._measures = measures(OverPairs)
        self._numbers: dict[Callable[[Pair], float | None], list[float]] = {
            measure.look: [] for measure in self._measures.values()
        }
        self._num_frames = 0
        self._before: Frame | None = None
        self._last: tuple[Frame, Frame] | None = None  # in colour and in grey

    def add(self, frame: Frame) -> None:
        """Take the next frame.

        Args:
            frame: (height, width, 3), uint8, RGB; it is kept until two more have come and must not be written to.

        Raises:
            ValueError: a frame of another type, or of another shape than the ones before.
        """
        expected = self._last[0].shape if self._last else (*frame.shape[:2], 3)
        if frame.dtype != np.uint8 or frame.shape != expected:
            raise ValueError(f"a frame must be uint8 {expected}, got {frame.dtype} {frame.shape}")
        grey = to_grey(frame)
        if self._last:
            last, last_grey = self._last
            pair = Pair(last, frame, self._before, self._num_frames, self._fps, (last_grey, grey))
            for look, numbers in self._numbers.items():
                if (number := look(pair)) is not None:
                    numbers.append(number)
            self._before = last
        self._last = frame, grey
        self._num_frames += 1

    def figures(self) -> dict[str, float]:
        """Tell each metric of the frames so far; fewer than 2 are a clip that neither moves nor flickers."""
        return {name: measure.sum_up(self._numbers[measure.look]) for name, measure in self._measures.items()}


def measure_temporal(frames: Iterable[Frame], fps: float = REFERENCE_FPS) -> dict[str, float]:
    """Measure a clip in one pass.

    Args:
        frames: (num_frames, height, width, 3), uint8, RGB, or an iterator of such frames, which is read once.
        fps: frames per second, above 0; only the dynamic degree depends on it.

    Returns:
        The figure of each metric that is measured over pairs of frames.

    Raises:
        ValueError: frames of another type or of different shapes, or a rate that is not above 0.
    """
    meter = TemporalMeter(fps)
    for frame in frames:
        meter.add(frame)
    return meter.figures()
