"""What a metric over time is measured from: each two neighbouring frames of a clip, as they come."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ivideo.metrics.optical_flow import pixel_speeds

Frame = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Pair:
    """Two neighbouring frames (height, width, 3), uint8, RGB, which must not be written to.

    Attributes:
        first: the earlier one.
        second: the one after it.
        before: the one before `first`; None where that begins the clip.
        index: which frame of the clip `second` is, from 1.
        fps: frames per second of the clip, above 0.
        greys: both in grey (height, width), uint8.
    """

    first: Frame
    second: Frame
    before: Frame | None
    index: int
    fps: float
    greys: tuple[Frame, Frame]

    @cached_property
    def speeds(self) -> NDArray[np.float32]:
        """How far each pixel moves (height, width), in pixels a frame; computed once, for all metrics that ask."""
        return pixel_speeds(*self.greys)


def mean(values: Sequence[float]) -> float:
    """Mean over a clip's pairs; 0 where there is none."""
    return float(np.mean(values)) if values else 0.0


def likeness(differences: Sequence[float]) -> float:
    """1 - mean difference / 255, of differences in grey levels from 0 to 255; 1 where there is none."""
    return (255.0 - float(np.mean(differences))) / 255.0 if differences else 1.0


@dataclass(frozen=True)
class OverPairs:
    """Measures a clip pair by pair, in one pass with the other metrics; what stays of a pair is a number.

    Attributes:
        look: the number of a pair; None leaves the pair out. Metrics with the same `look` share its numbers.
        sum_up: the clip's figure from those numbers, of which a short clip may have none.
    """

    look: Callable[[Pair], float | None]
    sum_up: Callable[[Sequence[float]], float] = mean
