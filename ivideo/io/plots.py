"""The picture of a fine-tuning run."""

from __future__ import annotations

from collections.abc import Sequence
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


def plot_reward_curve(
    path: Path,
    steps: Sequence[int],
    rewards: Sequence[float],
    attenuated_rewards: Sequence[float],
    *,
    title: str,
    reward_label: str,
    baseline: float | None = None,
    heldout_points: Sequence[tuple[int, float]] = (),
) -> Path:
    """Draw how the reward went over the training steps: raw values as faint points, their running mean as a line.

    The mean of the drawn frames' scores is above, the temporally attenuated reward that is trained on below: their
    scales differ, because the weights of the attenuation sum to less than the number of frames.

    Args:
        path: the PNG to create or replace.
        steps: (n,), training steps.
        rewards: (n,), mean score of the drawn frames at each step.
        attenuated_rewards: (n,), reward that is maximised at each step.
        title: text above the plot.
        reward_label: what the reward is and in which unit, e.g. "simulated preference (cosine)".
        baseline: the base model's mean on held-out prompts, drawn as a dashed line.
        heldout_points: (step, mean on held-out prompts) pairs.

    Returns:
        The same path.

    Raises:
        IvideoError: the file can't be written.
    """
    figure = Figure(figsize=(8, 6), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 2])
    _draw_curve(upper, steps, rewards, _REWARD_COLOUR, "training prompts")
    if baseline is not None:
        upper.axhline(baseline, color=_GREY, linestyle="--", linewidth=1.2, label="base model, held-out prompts")
    if heldout_points:
        heldout_steps, values = zip(*heldout_points, strict=True)
        upper.plot(heldout_steps, values, "D-", color=_HELDOUT_COLOUR, markersize=6, label="held-out prompts", zorder=4)
    upper.set_ylabel(reward_label, parse_math=False)
    upper.legend(frameon=False, fontsize=9)
    upper.set_title(title, loc="left", fontsize=12, fontweight="bold", parse_math=False)
    _draw_curve(lower, steps, attenuated_rewards, _ATTENUATED_COLOUR, "training prompts")
    lower.set_ylabel("temporally attenuated\n(what is trained on)")
    lower.set_xlabel("training step")
    lower.xaxis.set_major_locator(MaxNLocator(integer=True))
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")
    return path


def _draw_curve(axes: Axes, steps: Sequence[int], values: Sequence[float], colour: str, label: str) -> None:
    window = max(len(values) // 10, 1) // 2 * 2 + 1
    axes.plot(steps, values, "o", color=colour, alpha=0.25, markersize=4, markeredgewidth=0)
    name = f"{label}, mean of {window} steps" if window > 1 else label
    axes.plot(steps, smooth(values, window), color=colour, linewidth=2, label=name)
    axes.grid(color="#dadce0", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
