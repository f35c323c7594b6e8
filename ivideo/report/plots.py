"""Pictures of rewards: over the steps of a run, and along videos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from ivideo.files.atomic import atomic_path

_REWARD_COLOUR = "#1a73e8"
_ATTENUATED_COLOUR = "#e8710a"
_HELDOUT_COLOUR = "#188038"
_CHOSEN_COLOUR = "#a50e0e"
_GREY = "#5f6368"


def smooth(values: Sequence[float], window: int) -> NDArray[np.float64]:
    """Average each value with its neighbours, (n,), float64; at the ends with as many as there are.

    [0, 3, 6, 3] with window 3 gives [1.5, 3, 4, 4.5].

    Args:
        values: (n,), any unit.
        window: number of values averaged, odd, at least 1.
    """
    half = window // 2
    starts = np.maximum(np.arange(len(values)) - half, 0)
    ends = np.minimum(np.arange(len(values)) + half + 1, len(values))
    sums = np.concatenate([[0.0], np.cumsum(values)])
    averages: NDArray[np.float64] = (sums[ends] - sums[starts]) / (ends - starts)
    return averages


@dataclass(frozen=True)
class WatchedCurve:
    """A value of the held-out prompts that training should not lower.

    Attributes:
        label: what it is and in which unit.
        values: one an evaluation.
        floor: below it training stops; None where no rule says so.
    """

    label: str
    values: Sequence[float]
    floor: float | None = None


def plot_reward_curve(
    path: Path,
    steps: Sequence[int],
    rewards: Sequence[float],
    attenuated_rewards: Sequence[float],
    *,
    title: str,
    reward_label: str,
    heldout_points: Sequence[tuple[int, float]] = (),
    chosen_step: int | None = None,
    watched: Sequence[WatchedCurve] = (),
) -> Path:
    """Draw how the reward went over the training steps: raw values as faint points, their running mean as a line.

    The mean of the drawn frames' scores is above, the temporally attenuated reward that is trained on below: their
    scales differ, because the weights of the attenuation sum to less than the number of frames. Each watched value has
    a panel of its own under them.

    Args:
        path: the PNG to create or replace.
        steps: (n,), training steps.
        rewards: (n,), mean score of the drawn frames at each step.
        attenuated_rewards: (n,), reward that is maximised at each step.
        title: text above the plot.
        reward_label: what the reward is and in which unit, e.g. "simulated preference (cosine)".
        heldout_points: (step, mean on held-out prompts) pairs, one an evaluation.
        chosen_step: the step of the best adapter so far, marked in every panel.
        watched: values at the same evaluations.

    Raises:
        IvideoError: the file can't be written.
    """
    figure = Figure(figsize=(8, 6 + 1.5 * len(watched)), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    heights = [3.6, 2.4, *[1.5] * len(watched)]
    upper, lower, *panels = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
    _draw_curve(upper, steps, rewards, _REWARD_COLOUR, "training prompts")
    evaluated, values = zip(*heldout_points, strict=True) if heldout_points else ((), ())
    if heldout_points:
        upper.plot(evaluated, values, "D-", color=_HELDOUT_COLOUR, markersize=6, label="held-out prompts", zorder=4)
    if chosen_step is not None:
        for axes in (upper, lower, *panels):
            axes.axvline(chosen_step, color=_CHOSEN_COLOUR, linewidth=1.2, linestyle=":")
        chosen = [(step, value) for step, value in heldout_points if step == chosen_step]
        name = f"best held-out reward: step {chosen_step}"
        upper.plot(*zip(*chosen, strict=True), "*", color=_CHOSEN_COLOUR, markersize=15, label=name, zorder=5)
    upper.set_ylabel(reward_label, parse_math=False)
    upper.legend(frameon=False, fontsize=9)
    upper.set_title(title, loc="left", fontsize=12, fontweight="bold", parse_math=False)
    _draw_curve(lower, steps, attenuated_rewards, _ATTENUATED_COLOUR, "training prompts")
    lower.set_ylabel("temporally attenuated\n(what is trained on)")
    for axes, curve in zip(panels, watched, strict=True):
        _draw_watched(axes, evaluated, curve)
    (panels or [lower])[-1].set_xlabel("training step")
    lower.xaxis.set_major_locator(MaxNLocator(integer=True))
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")
    return path


def _draw_watched(axes: Axes, steps: Sequence[int], curve: WatchedCurve) -> None:
    axes.plot(steps, curve.values, "o-", color=_HELDOUT_COLOUR, markersize=4, linewidth=1.5)
    if curve.floor is not None:
        axes.axhline(curve.floor, color=_GREY, linestyle="--", linewidth=1)
        axes.annotate("floor", (1, curve.floor), xycoords=("axes fraction", "data"), fontsize=8, color=_GREY)
    axes.set_ylabel(curve.label, fontsize=9, parse_math=False)
    _tidy(axes)


def _draw_curve(axes: Axes, steps: Sequence[int], values: Sequence[float], colour: str, label: str) -> None:
    window = max(len(values) // 10, 1) // 2 * 2 + 1
    axes.plot(steps, values, "o", color=colour, alpha=0.25, markersize=4, markeredgewidth=0)
    name = f"{label}, mean of {window} steps" if window > 1 else label
    axes.plot(steps, smooth(values, window), color=colour, linewidth=2, label=name)
    _tidy(axes)


def _tidy(axes: Axes) -> None:
    axes.grid(color="#dadce0", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


MAX_LINES = 10
NUM_POSITIONS = 101


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
        self._label = ""

    def add(self, record: Mapping[str, Any]) -> None:
        """Take a record; one without scores of frames is left out: bad videos, and rewards of whole clips."""
        if record["error"] is None and record["frame_rewards"] is not None:
            seconds = np.array(record["frame_indices"]) / record["fps"]
            duration = record["num_frames"] / record["fps"]
            self._curves.append(
                RewardCurve(Path(record["path"]).name, seconds, np.array(record["frame_rewards"]), duration)
            )
            self._label = record["judge"]

    def write(self, path: Path) -> Path:
        """Draw up to 10 videos as lines over seconds, more of them as a band over their length.

        Args:
            path: the PNG to create or replace.

        Raises:
            IvideoError: the file can't be written.
        """
        figure = Figure(figsize=(8, 4.5), dpi=120, layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        (_draw_lines if len(self._curves) <= MAX_LINES else _draw_band)(axes, self._curves)
        axes.set_ylabel("reward")
        axes.set_title(fill(self._label, 90), loc="left", fontsize=10, parse_math=False)
        _tidy(axes)
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
    axes.fill_between(percent, mean - deviation, mean + deviation, color=_REWARD_COLOUR, alpha=0.2, linewidth=0)
    axes.plot(percent, mean, color=_REWARD_COLOUR, linewidth=2, label=f"mean of {len(curves)} videos, ± one deviation")
    axes.set_xlabel("% of the video")
    axes.legend(frameon=False, fontsize=9)


def _escape(name: str) -> str:
    """A name as matplotlib shows it: no formula, not hidden for its leading underscore, and not too long."""
    short = name if len(name) <= 40 else f"{name[:24]}…{name[-15:]}"
    return short.replace("$", r"\$").removeprefix("_")
