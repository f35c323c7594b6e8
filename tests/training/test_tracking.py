"""Trackers get the numbers of every record, at its step."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
from accelerate import Accelerator

from ivideo.config.presets import PRESETS
from ivideo.config.settings import FinetuneSettings
from ivideo.errors import IvideoError
from ivideo.files.run_folder import RunFolder
from ivideo.training import record as tracking
from ivideo.training.record import check_tracker, flatten_numbers, open_tracker

RECORDS = [
    ({"step": 0, "values": {"reward": 0.5, "motion": 1.0}, "by_prompt": {"reward": [0.5]}}, "heldout"),
    ({"step": 1, "loss": 0.25, "rewards": {"clip": 0.75}}, "train"),
]


def make_settings(tracker: str | None) -> FinetuneSettings:
    return FinetuneSettings(**{**PRESETS["emoji-world"]["default"], "model": "m", "tracker": tracker})


@pytest.fixture(autouse=True)
def _processes() -> None:
    """Trackers ask accelerate which process they are in."""
    Accelerator(cpu=True)


def test_numbers_are_named_by_their_path() -> None:
    (before, heldout), (line, train) = RECORDS
    assert flatten_numbers(before, heldout) == {"heldout/values/reward": 0.5, "heldout/values/motion": 1.0}
    assert flatten_numbers(line, train) == {"train/loss": 0.25, "train/rewards/clip": 0.75}


def test_tensorboard_reads_what_was_tracked(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with open_tracker(make_settings("tensorboard"), RunFolder(tmp_path)) as track:
        for record, group in RECORDS:
            track(record, group)
    events = EventAccumulator(str(tmp_path / "tracker" / "ivideo"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("train/rewards/clip")] == [(1, 0.75)]
    assert [(event.step, event.value) for event in events.Scalars("heldout/values/reward")] == [(0, 0.5)]
    assert len(list((tmp_path / "tracker").rglob("hparams.yml"))) == 1


def test_no_tracker_writes_nothing(tmp_path: Path) -> None:
    check_tracker(None)
    with open_tracker(make_settings(None), RunFolder(tmp_path)) as track:
        track(*RECORDS[0])
    assert list(tmp_path.iterdir()) == []


def test_a_missing_package_is_one_line_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking, "find_spec", lambda name: None)
    with pytest.raises(IvideoError) as caught:
        check_tracker("wandb")
    assert str(caught.value) == (
        "`tracker` wandb needs a package that is not installed: pip install wandb 'protobuf<4'"
    )


@pytest.mark.slow
@pytest.mark.skipif(find_spec("wandb") is None, reason="wandb is not installed")
def test_wandb_keeps_a_run_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    with open_tracker(make_settings("wandb"), RunFolder(tmp_path)) as track:
        for record, group in RECORDS:
            track(record, group)
    (kept,) = tmp_path.rglob("*.wandb")
    assert kept.stat().st_size > 0
