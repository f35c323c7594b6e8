"""What a clip does from frame to frame: how far it moves, how much it flickers, and how smoothly."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray


def to_grey(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Make a frame uint8 (height, width, 3), RGB, grey: uint8 (height, width)."""
    return cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY).astype(np.uint8, copy=False)


def pixel_speeds(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Measure how far each pixel moves between two frames, whatever the direction.

    speed(y, x) = |flow(y, x)|, with a pyramid of 3 levels (scale 0.5), windows of 15 pixels, 3 iterations and
    polynomials over 5 pixels (sigma 1.1). These work for frames from 64 pixels up.

    Args:
        first: (height, width), uint8, grey.
        second: the frame after it, of the same shape.

    Returns:
        (height, width), float32, pixels per frame, at least 0.

    Source: G. Farneback, "Two-frame motion estimation based on polynomial expansion", SCIA 2003.
    """
    start = np.zeros((*first.shape, 2), np.float32)
    flow = cv2.calcOpticalFlowFarneback(
        first, second, start, pyr_scale=0.5, levels=3, winsize=15, iterations=3, poly_n=5, poly_sigma=1.1, flags=0
    )
    return np.asarray(np.linalg.norm(flow, axis=-1), dtype=np.float32)


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


def mean_speed(pair: Pair) -> float:
    """Mean over all pixels of how far they move, in pixels a frame.

    motion = mean over pairs t, y, x of |flow_t(y, x)|. A texture that is shifted by 2 pixels a frame gives about 2, a
    frozen clip less than 0.01. It is per frame: another fps tag on the same frames changes nothing.
    """
    return float(pair.speeds.mean())


REFERENCE_FPS = 8.0
_TOP_SHARE = 0.05


def top_speed(speeds: NDArray[np.float32]) -> float:
    """Mean of the fastest 5 % (at least one) of the pixels' speeds (height, width), in pixels per frame."""
    num_fast = max(int(_TOP_SHARE * speeds.size), 1)
    return float(np.partition(speeds.ravel(), speeds.size - num_fast)[-num_fast:].mean())


def moves(pair: Pair) -> bool:
    """Tell whether a pair of frames has fast pixels; their share of all pairs is the clip's dynamic degree.

    A pair moves where top_speed * fps / 8 > 6 * min(height, width) / 256: the threshold is in pixels per 1/8 second, at
    256 pixels 6 of them. At 64 x 64 and 8 fps it is 1.5 pixels: top speeds of 2, 1 and 2 give a share of 2/3.

    No other metric depends on the fps tag: the same frames shown twice as fast move twice as far in 1/8 second. VBench
    does the same below 8 fps, and above takes every round(fps / 8)-th frame; here all neighbours are compared, so that
    one optical flow serves all metrics. A frozen clip scores lowest here, not highest.

    Source: VBench (Huang et al., CVPR 2024), "dynamic degree".
    """
    shorter_side: int = min(pair.speeds.shape)
    return top_speed(pair.speeds) * pair.fps / REFERENCE_FPS > 6.0 * shorter_side / 256.0


def is_dynamic(moving: Sequence[float]) -> bool:
    """Tell whether enough pairs move: round(n / 4), at least one, in a clip of n frames, which has n - 1 pairs.

    VBench's figure of a model is the share of its clips that are dynamic; of two frames, there, any pair is enough.

    Args:
        moving: of each pair, whether it `moves`.
    """
    return sum(moving) >= max(round((len(moving) + 1) / 4), 1)


def mean_change(pair: Pair) -> float:
    """Mean absolute difference of two neighbouring frames, in grey levels from 0 to 255.

    flicker = (255 - mean |frame_{t+1} - frame_t|) / 255, its `likeness`: frames of all 10, all 40 and all 40 give
    1 - 15 / 255 = 0.9412, and a frozen clip 1. It looks perfect here: read it beside the motion.

    Source: VBench (Huang et al., CVPR 2024), "temporal flickering"; there static clips are filtered out first.
    """
    return cv2.norm(pair.first, pair.second, cv2.NORM_L1) / pair.first.size


def prediction_error(pair: Pair) -> float | None:
    """Measure how far a frame is from the mean of its two neighbours, in grey levels from 0 to 255.

    error = mean |first - (before + second) / 2|. Frames of all 10, all 20 and all 60 give |20 - 35| = 15. The proxy of
    VBench's motion smoothness is (255 - mean error) / 255, its `likeness`, over the frames 1, 3, 5, ... that have a
    frame on both sides. VBench predicts the same frames by an interpolation network (AMT-S), which follows things that
    move; a mean of neighbours does not, so the proxy is lower where much moves, and only clips of alike motion compare.
    A frozen clip looks perfect here, and so does one that fades evenly: read it beside the motion.

    Returns:
        The error, in [0, 255]; None where `first` is no frame that is predicted.

    Source: VBench (Huang et al., CVPR 2024), "motion smoothness", with another predictor.
    """
    if pair.before is None or pair.index % 2:
        return None
    doubled = 2 * pair.first.astype(np.int16)
    doubled -= pair.before
    doubled -= pair.second
    return cv2.norm(doubled, cv2.NORM_L1) / doubled.size / 2
