"""What a run shows of itself while it goes on: its curve, and a few held-out clips beside the base's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ivideo.config.settings import FinetuneSettings
from ivideo.io.panels import annotate, contact_sheet, label_clip, stack_in_rows, stack_side_by_side, write_png
from ivideo.io.plots import WatchedCurve, plot_reward_curve
from ivideo.io.run_folder import RunFolder
from ivideo.io.video import VIDEO_SUFFIXES, default_suffix, write_video
from ivideo.metrics.registry import METRICS
from ivideo.workflows.finetuning.guard import Record, untrained_judges
from ivideo.workflows.finetuning.heldout import Evaluation, spread

NUM_IN_GRID = 4  # held-out prompts of a grid


def draw_curve(
    run: RunFolder,
    metrics: Sequence[Mapping[str, Any]],
    evaluations: Sequence[Record],
    settings: FinetuneSettings,
    title: str,
    labels: Mapping[str, str],
    chosen_step: int = 0,
) -> None:
    """Draw the reward over the steps, the held-out prompts' at every evaluation, and what the guard watches.

    Args:
        run: where the curve is kept.
        metrics: the lines of metrics.jsonl so far; steps without a finite reward are left out.
        evaluations: the lines of evaluations.jsonl so far; none without held-out prompts.
        settings: the run's.
        title: text above.
        labels: what a person should read beside each judge's scores, by name.
        chosen_step: step of the best evaluation; 0 marks none.
    """
    shown = [line for line in metrics if line["reward"] is not None and line["attenuated_reward"] is not None]
    plot_reward_curve(
        run.curve,
        [line["step"] for line in shown],
        [line["reward"] for line in shown],
        [line["attenuated_reward"] for line in shown],
        title=title,
        reward_label=labels[settings.rewards[0].strip()],
        heldout_points=[(record["step"], record["values"]["reward"]) for record in evaluations],
        chosen_step=chosen_step or None,
        watched=watched_curves(evaluations, settings) if evaluations else [],
    )


def watched_curves(evaluations: Sequence[Record], settings: FinetuneSettings) -> list[WatchedCurve]:
    """Motion and the judges that are not trained on, with the share of the base that each should keep."""
    shares = {"motion": settings.min_motion, **dict.fromkeys(untrained_judges(settings.rewards), settings.min_judge)}
    curves = []
    for name, share in shares.items():
        values = [record["values"][name] for record in evaluations]
        floor = values[0] - (1 - share) * abs(values[0])
        label = f"{name}\n({METRICS[name].unit})" if name in METRICS else name
        curves.append(WatchedCurve(label, values, floor if share else None))
    return curves


def write_grid(
    run: RunFolder, prompts: Sequence[str], before: Evaluation, now: Evaluation, settings: FinetuneSettings
) -> None:
    """Write a few held-out prompts' clips of the base and of now, side by side: a picture, and a video.

    Each evaluation has files of its own. Those that are there are left alone: a step always has the same clips.

    Args:
        run: where they are kept.
        prompts: all held-out prompts.
        before: the base's evaluation.
        now: that of a step.
        settings: the run's.
    """
    name = f"step {now.step}"
    path = run.grids / f"step_{now.step:05d}.png"
    rows, panels = [], []
    for index in spread(now.watched, NUM_IN_GRID):
        (old, old_score), (new, new_score) = before.find(index), now.find(index)
        rewards = f"{old_score.reward:.3f} to {new_score.reward:.3f}"
        rows.append((f"{prompts[index]}: reward {rewards}", (old, new)))
        pair = [label_clip(old, f"base: {old_score.reward:.3f}"), label_clip(new, f"{name}: {new_score.reward:.3f}")]
        panels.append(annotate(stack_side_by_side(pair), prompts[index]))
    if not path.exists():
        write_png(path, contact_sheet(rows, ("base", name)))
    if not any(path.with_suffix(suffix).exists() for suffix in VIDEO_SUFFIXES):
        about = {"step": now.step, "reward": settings.rewards[0]}
        write_video(path.with_suffix(default_suffix()), stack_in_rows(panels, 2, gap=16), settings.fps, about)
