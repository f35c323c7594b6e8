"""The study's pictures: courses of the reward over their cost, and what each sweep changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from .claims import ends_of, final_change
from .plan import DRAFT, INSTRUCT, STRENGTHS, Sweep
from .results import Results

LIGHT = "#f6bf8f"
COLOURS = ("#1a73e8", "#e8710a", "#188038", "#a50e0e", "#9334e6")
Course = Sequence[Mapping[str, Any]]
WIDTH, HEIGHT, DPI = 8.0, 3.2, 110


def draw_cost(results: Results, path: Path) -> None:
    """Gain of held-out reward over seconds and over network evaluations, of seeds and their mean (figure 5a)."""
    figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    lines = (
        ("DRaFT-1", DRAFT, COLOURS[0], False),
        ("InstructVideo", INSTRUCT, COLOURS[1], False),
        ("InstructVideo, its clips counted", INSTRUCT, LIGHT, True),
    )
    for axes, axis, label in zip(panels, ("seconds", "evaluations"), ("seconds", "network evaluations"), strict=True):
        for name, group, colour, count_clips in lines:
            courses = [results.course(one.name, count_clips=count_clips) for one in group]
            places = [record[axis] for record in courses[0]]
            gains = np.array([measure_gains(course) for course in courses])  # (num_seeds, num_evaluations)
            axes.plot(places, gains.T, color=colour, linewidth=0.7, alpha=0.6)
            axes.plot(places, gains.mean(axis=0), marker="o", markersize=3, color=colour, linewidth=2, label=name)
        finish(axes, f"{label} of training")
    panels[0].set_ylabel("gain of held-out reward")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False)
    save(figure, path)


def measure_gains(course: Course) -> list[float]:
    """Mean reward of each evaluation over that of the first one."""
    means = [float(np.mean(record["by_prompt"]["reward"])) for record in course]
    return [mean - means[0] for mean in means]


def draw_strengths(results: Results, path: Path) -> None:
    """Held-out reward and motion over seconds, a line a strength (figure 5b of the paper)."""
    figure = Figure(figsize=(WIDTH, HEIGHT), layout="constrained")
    panels = figure.subplots(1, 2)
    for axes, metric in zip(panels, ("reward", "motion"), strict=True):
        for colour, (strength, training) in zip(COLOURS, STRENGTHS.items(), strict=True):
            draw_course(axes, results.course(training.name), "seconds", colour, f"strength {strength}", metric)
        finish(axes, "seconds of training")
        axes.set_ylabel(f"held-out {metric}")
    panels[0].legend(frameon=False)
    save(figure, path)


def draw_sweep(results: Results, sweep: Sweep, path: Path) -> None:
    """What each training of a sweep changes in reward and motion, with intervals."""
    labels = [label for label, name in sweep.trainings.items() if results.get(name)]
    figure = Figure(figsize=(WIDTH, 0.8 + 0.35 * len(labels)), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, (metric, unit) in zip(panels, {"reward": "", "motion": ", pixels a frame"}.items(), strict=True):
        changes = [final_change(results, sweep.base, sweep.trainings[label], metric) for label in labels]
        middles = np.array([change.difference for change in changes])
        reach = np.array([np.abs(np.subtract(ends_of(change), change.difference)) for change in changes])
        ends = np.where(np.isfinite(reach), reach, 0.0)  # a point where there is no interval
        axes.errorbar(middles, range(len(labels)), xerr=ends.T, fmt="o", color=COLOURS[0], capsize=3)
        axes.axvline(0, color="#9aa0a6", linewidth=0.8)
        axes.locator_params(axis="x", nbins=6)
        finish(axes, f"change of {metric}{unit} [95 %]")
    panels[0].set_yticks(range(len(labels)), labels)
    panels[0].set_ylim(len(labels) - 0.5, -0.5)  # the first on top
    save(figure, path)


def draw_course(axes: Axes, course: Course, axis: str, colour: str, label: str, metric: str = "reward") -> None:
    """A line of a metric's means over prompts."""
    means = [float(np.mean(record["by_prompt"][metric])) for record in course]
    axes.plot([record[axis] for record in course], means, marker="o", markersize=3, color=colour, label=label or None)


def finish(axes: Axes, label: str) -> None:
    """Name the axis and leave out the frame's right and upper side."""
    axes.set_xlabel(label)
    axes.spines[["top", "right"]].set_visible(False)


def save(figure: Figure, path: Path) -> None:
    """Write a PNG that depends on nothing but its content."""
    path.parent.mkdir(parents=True, exist_ok=True)
    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=DPI, metadata={"Software": None})
