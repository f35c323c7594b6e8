"""Metrics that go to TensorBoard or Weights & Biases, too, by accelerate's trackers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from ivideo.config.settings import FinetuneSettings
from ivideo.errors import IvideoError
from ivideo.io.files import prepare_folder
from ivideo.io.run_folder import RunFolder

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
        raise IvideoError(f"--tracker {name} needs a package that is not installed: pip install {name} 'protobuf<4'")


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
    tracker.store_init_configuration({name: as_scalar(value) for name, value in settings.model_dump().items()})
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
            f"--tracker wandb: {str(error).rstrip('.')} (WANDB_MODE=offline keeps everything on this machine)"
        ) from error
    return tracker


def as_scalar(value: Any) -> Any:
    """A setting as trackers take it: what is no number or text becomes text."""
    return value if isinstance(value, bool | int | float | str) else str(value)


def flatten_numbers(record: Mapping[str, Any], group: str) -> dict[str, float]:
    """The numbers of a record by path; lists and the step are left out.

    {"step": 3, "loss": .1, "rewards": {"clip": .2}} in the group "train" gives {"train/loss": .1,
    "train/rewards/clip": .2}.
    """
    numbers: dict[str, float] = {}
    for name, value in record.items():
        if isinstance(value, Mapping):
            numbers |= flatten_numbers(value, f"{group}/{name}")
        elif isinstance(value, int | float) and name != "step":
            numbers[f"{group}/{name}"] = value
    return numbers
