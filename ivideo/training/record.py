"""What a run shows of itself while it goes on: its curve, a few held-out clips beside the base's, and trackers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from ivideo.config.settings import FinetuneSettings
from ivideo.errors import IvideoError
from ivideo.files.atomic import prepare_folder
from ivideo.files.run_folder import RunFolder
from ivideo.metrics.registry import METRICS
from ivideo.report.plots import WatchedCurve, plot_reward_curve
from ivideo.training.context import RunContext
from ivideo.training.heldout import Evaluation, Record, spread, untrained_rewards
from ivideo.training.logs import read_metrics
from ivideo.video.panels import annotate, contact_sheet, label_clip, stack_in_rows, stack_side_by_side, write_png
from ivideo.video.writer import VIDEO_SUFFIXES, default_suffix, write_video

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
        labels: what a person should read beside each reward's scores, by name.
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
    """Motion and the rewards that are not trained on, with the share of the base that each should keep."""
    shares = {"motion": settings.min_motion, **dict.fromkeys(untrained_rewards(settings.rewards), settings.min_judge)}
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


PROJECT = "ivideo"
Track = Callable[[Mapping[str, Any], str], None]
"""`track(record, group)`: numbers of a line of metrics.jsonl or evaluations.jsonl, at its step."""


def check_tracker(name: str | None) -> None:
    """Prove that a tracker's package is there.

    Raises:
        IvideoError: it is not.
    """
    if name and find_spec(name) is None:
        # hpsv2 pins protobuf; without saying so pip fetches the newest, which does not go with it.
        raise IvideoError(f"`tracker` {name} needs a package that is not installed: pip install {name} 'protobuf<4'")


@contextmanager
def open_tracker(settings: FinetuneSettings | None, run: RunFolder) -> Iterator[Track]:
    """Lend what records are to be given to; without a tracker it does nothing.

    TensorBoard's files lie in the run's `tracker/`, and so does what Weights & Biases sends, or keeps with
    WANDB_MODE=offline for `wandb sync`.

    Args:
        settings: name the tracker, and are noted there; None for a process that tracks nothing.
        run: the run's folder.

    Raises:
        IvideoError: the tracker cannot be opened.
    """
    if settings is None or settings.tracker is None:
        yield lambda record, group: None
        return
    tracker = start_tracker(settings.tracker, run)
    values = settings.model_dump().items()  # trackers take numbers and texts
    tracker.store_init_configuration({k: v if isinstance(v, bool | int | float | str) else str(v) for k, v in values})
    try:
        yield lambda record, group: tracker.log(flatten_numbers(record, group), step=record["step"])
    finally:
        tracker.finish()


def start_tracker(name: str, run: RunFolder) -> Any:
    """One of accelerate's trackers, ready to log.

    Raises:
        IvideoError: Weights & Biases knows no account.
    """
    from accelerate.tracking import TensorBoardTracker, WandBTracker

    folder = prepare_folder(run.tracker)
    if name == "tensorboard":
        tracker = TensorBoardTracker(PROJECT, logging_dir=folder)
        tracker.start()
        return tracker
    import wandb

    tracker = WandBTracker(PROJECT, dir=str(folder), name=run.root.resolve().name)
    try:
        tracker.start()
    except wandb.errors.Error as error:
        raise IvideoError(
            f"`tracker` wandb: {str(error).rstrip('.')} (WANDB_MODE=offline keeps everything on this machine)"
        ) from error
    return tracker


def flatten_numbers(record: Mapping[str, Any], group: str) -> dict[str, float]:
    """The numbers of a record by path; lists and the step are left out.

    {"step": 3, "loss": .1, "rewards": {"clip": .2}} in the group "train" gives {"train/loss": .1,
    "train/rewards/clip": .2}.

    Args:
        record: a line of metrics.jsonl or evaluations.jsonl.
        group: how the paths begin.
    """
    numbers: dict[str, float] = {}
    for name, value in record.items():
        if isinstance(value, Mapping):
            numbers |= flatten_numbers(value, f"{group}/{name}")
        elif isinstance(value, int | float) and name != "step":
            numbers[f"{group}/{name}"] = value
    return numbers


class Recorder:
    """Shows a run as it goes on; only the main process has anything to show."""

    def __init__(self, run: RunFolder, context: RunContext, track: Track) -> None:
        """Begin to show a run.

        Args:
            run: where pictures are kept.
            context: what the run is worked on with.
            track: gets every record.
        """
        self.run, self.context, self.track = run, context, track

    def see_step(self, record: Record) -> None:
        """A step is done."""
        self.track(record, "train")

    def keep_grid(self, before: Evaluation, now: Evaluation) -> None:
        """An evaluation has clips."""
        write_grid(self.run, self.context.kept, before, now, self.context.settings)

    def see_evaluation(self, evaluations: Sequence[Record], best_step: int) -> None:
        """An evaluation is done; it is the last one of those so far."""
        self.track(evaluations[-1], "heldout")
        self.draw_curve(evaluations, best_step)

    def draw_curve(self, evaluations: Sequence[Record], chosen_step: int) -> None:
        """Draw the run as far as its logs go."""
        context = self.context
        title = f"{context.settings.model}: {len(context.training)} prompts"
        metrics = read_metrics(self.run)
        draw_curve(self.run, metrics, evaluations, context.settings, title, context.rewards.labels, chosen_step)


@contextmanager
def open_recorder(run: RunFolder, context: RunContext) -> Iterator[Recorder]:
    """Lend a recorder, with the tracker that the settings name; see `open_tracker`."""
    with open_tracker(context.settings if context.processes.is_main_process else None, run) as track:
        yield Recorder(run, context, track)
