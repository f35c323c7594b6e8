"""The picture of how the reward goes along videos: a line each, or of many their mean with a band."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from ivideo.io.files import atomic_path

MAX_LINES = 10
NUM_POSITIONS = 101
_COLOUR = "#1a73e8"


@dataclass(frozen=True)
class RewardCurve:
    """A video's rewards (n,) at some of its frames, in seconds from its beginning; `duration` is that of all frames."""

    name: str
    seconds: NDArray[np.float64]
    rewards: NDArray[np.float64]
    duration: float


class RewardPlot:
    """Collects records of `ivideo score` and draws their rewards over time."""

    def __init__(self) -> None:
        """Begin without a curve."""
        self._curves: list[RewardCurve] = []
        self._judge = ""

    def add(self, record: Mapping[str, Any]) -> None:
        """Take a record; one of a video that could not be scored is left out."""
        if record["error"] is None:
            seconds = np.array(record["frame_indices"]) / record["fps"]
            duration = record["num_frames"] / record["fps"]
            self._curves.append(
                RewardCurve(Path(record["path"]).name, seconds, np.array(record["frame_rewards"]), duration)
            )
            self._judge = record["judge"]

    def write(self, path: Path) -> Path:
        """Draw up to 10 videos as lines over seconds, more of them as a band over their length.

        Args:
            path: the PNG to create or replace.

        Returns:
            The same path.

        Raises:
            IvideoError: the file can't be written.
        """
        figure = Figure(figsize=(8, 4.5), dpi=120, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        (_draw_lines if len(self._curves) <= MAX_LINES else _draw_band)(axes, self._curves)
        axes.set_ylabel("reward")
        axes.set_title(fill(self._judge, 90), loc="left", fontsize=10, parse_math=False)
        axes.grid(color="#dadce0", linewidth=0.6)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        with atomic_path(path) as temporary:
            figure.savefig(temporary, format="png")
        return path


def summarise_curves(curves: list[RewardCurve]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Average curves of any length, each stretched to the same one.

    Args:
        curves: at least one.

    Returns:
        Mean and standard deviation over videos, each (101,), at 0, 1, ..., 100 % of the videos' length; between scored
        frames rewards are interpolated, after the last one its reward is kept.
    """
    positions = np.linspace(0, 1, NUM_POSITIONS)
    stretched = np.stack([np.interp(positions, curve.seconds / curve.duration, curve.rewards) for curve in curves])
    return stretched.mean(axis=0), stretched.std(axis=0)


def _draw_lines(axes: Axes, curves: list[RewardCurve]) -> None:
    for curve in curves:
        axes.plot(curve.seconds, curve.rewards, "o-", markersize=3, linewidth=1.6, label=_escape(curve.name))
    axes.set_xlabel("seconds")
    if curves:
        axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))


def _draw_band(axes: Axes, curves: list[RewardCurve]) -> None:
    mean, deviation = summarise_curves(curves)
    percent = np.linspace(0, 100, NUM_POSITIONS)
    axes.fill_between(percent, mean - deviation, mean + deviation, color=_COLOUR, alpha=0.2, linewidth=0)
    axes.plot(percent, mean, color=_COLOUR, linewidth=2, label=f"mean of {len(curves)} videos, ± one deviation")
    axes.set_xlabel("% of the video")
    axes.legend(frameon=False, fontsize=9)


def _escape(name: str) -> str:
    """A name as matplotlib shows it: no formula, not hidden for its leading underscore, and not too long."""
    short = name if len(name) <= 40 else f"{name[:24]}…{name[-15:]}"
    return short.replace("$", r"\$").removeprefix("_")
