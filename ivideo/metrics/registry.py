"""Every metric of a clip, a row each: records, tables, VBench's files, comparisons, reports and evaluations follow.

A new metric is a file with what measures it, and a row here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from operator import attrgetter
from typing import TypeVar

import numpy as np

from ivideo.metrics.by_reward import ByReward, reward_consistency
from ivideo.metrics.over_time import (
    REFERENCE_FPS,
    Frame,
    OverPairs,
    Pair,
    is_dynamic,
    likeness,
    mean_change,
    mean_speed,
    moves,
    prediction_error,
    to_grey,
)

Measure = TypeVar("Measure", OverPairs, ByReward)


@dataclass(frozen=True)
class Metric:
    """A number of a clip: how it is measured, and how it is to be read.

    Attributes:
        name: its key in every record and file.
        measure: how it is measured, over the clip's frames or by what a reward model says of them.
        unit: what it counts, or which end of it means what; "" where the meaning says all.
        meaning: what it is, for those who read a report.
        higher_is_better: True or False; None where neither end is better by itself.
        vbench: VBench's dimension that it is in an exported file; None leaves it out.
        is_compared: whether evaluations and comparisons have it, for which every clip must have a number.
        in_table: whether the table of `ivideo score` has a column of it, as other formats have in any case.
    """

    name: str
    measure: OverPairs | ByReward
    unit: str
    meaning: str
    higher_is_better: bool | None = None
    vbench: str | None = None
    is_compared: bool = True
    in_table: bool = True


# Temporal flickering is VBench's own. The other dimensions have its definition with something else in its network's
# place: a mean of neighbours for AMT-S, Farneback's optical flow for RAFT's, a reward model's features for DINO's.
_ROWS = (
    Metric(
        name="reward",
        measure=ByReward(attrgetter("reward")),
        unit="as its reward model gives it",
        meaning="Mean score of the first frame of each segment by the first reward model, or its score of the whole "
        "clip. Compare it only for the same prompt, reward model and version. Where single frames are scored, a frozen "
        "clip can have a high reward.",
        higher_is_better=True,
    ),
    Metric(
        name="attenuated_reward",
        measure=ByReward(attrgetter("attenuated_reward")),
        unit="as its reward model gives it",
        meaning="The same, each frame's score weighted by exp(-rate * |frame - centre|): what training maximises.",
        higher_is_better=True,
        in_table=False,
    ),
    Metric(
        name="motion",
        measure=OverPairs(mean_speed),
        unit="pixels a frame",
        meaning="Mean optical flow in pixels a frame; 0 for a frozen clip. More is not better, but a fall from the "
        "baseline tells that a higher reward may be bought with stillness.",
    ),
    Metric(
        name="flicker",
        measure=OverPairs(mean_change, likeness),
        unit="1 is frozen",
        meaning="VBench's temporal flickering, in [0, 1]: 1 for a frozen clip, less the more frames change.",
        vbench="temporal_flickering",
    ),
    Metric(
        name="motion_smoothness_proxy",
        measure=OverPairs(prediction_error, likeness),
        unit="1 is frozen",
        meaning="How well a frame is foretold by its neighbours, in [0, 1]: 1 for a frozen clip.",
        vbench="motion_smoothness_proxy",
        in_table=False,
    ),
    Metric(
        name="dynamic_degree",
        measure=OverPairs(moves),
        unit="share of pairs of frames, 0 is frozen",
        meaning="Share of pairs of neighbouring frames with fast pixels, in [0, 1]: 0 for a frozen clip.",
        in_table=False,
    ),
    Metric(
        name="is_dynamic",
        measure=OverPairs(moves, is_dynamic),
        unit="",
        meaning="Whether VBench would call the clip dynamic: enough pairs of its frames have fast pixels.",
        vbench="dynamic_degree",
        is_compared=False,
        in_table=False,
    ),
    Metric(
        name="consistency",
        measure=ByReward(reward_consistency),
        unit="cosine, 1 is frozen",
        meaning="How alike a frame's features are to the first and the previous one's, 1 for a frozen clip.",
        vbench="subject_consistency_by_judge",
        is_compared=False,
    ),
)
METRICS = {metric.name: metric for metric in _ROWS}


def measures(kind: type[Measure]) -> dict[str, Measure]:
    """The measures of one kind, by their metrics' names."""
    return {name: metric.measure for name, metric in METRICS.items() if isinstance(metric.measure, kind)}


def compared() -> list[str]:
    """Names of the metrics that evaluations and comparisons have."""
    return [name for name, metric in METRICS.items() if metric.is_compared]


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
    """Measure a clip in one pass: the figure of each metric over pairs of frames.

    Args:
        frames: (num_frames, height, width, 3), uint8, RGB, or an iterator of such frames, which is read once.
        fps: frames per second, above 0; only the dynamic degree depends on it.

    Raises:
        ValueError: frames of another type or of different shapes, or a rate that is not above 0.
    """
    meter = TemporalMeter(fps)
    for frame in frames:
        meter.add(frame)
    return meter.figures()
