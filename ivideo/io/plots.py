"""The picture of a fine-tuning run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from ivideo.io.files import atomic_path

_REWARD_COLOUR = "#1a73e8"
_ATTENUATED_COLOUR = "#e8710a"
_HELDOUT_COLOUR = "#188038"
_CHOSEN_COLOUR = "#a50e0e"
_GREY = "#5f6368"


def smooth(values: Sequence[float], window: int) -> NDArray[np.float64]:
    """Average each value with its neighbours; at the ends with as many as there are.

    [0, 3, 6, 3] with window 3 gives [1.5, 3, 4, 4.5].

    Args:
        values: (n,), any unit.
        window: number of values averaged, odd, at least 1.

    Returns:
        (n,), float64, in the unit of `values`.
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

    Returns:
        The same path.

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
