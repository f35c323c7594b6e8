"""Logs and the summary of a run that are damaged or foreign are named, with the line and the field."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ivideo.errors import IvideoError
from ivideo.files.run_folder import RunFolder
from ivideo.training.logs import read_evaluations, read_metrics, read_summary

Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def run(trained_run: Path, tmp_path: Path) -> RunFolder:
    for name in ("metrics.jsonl", "evaluations.jsonl", "summary.json"):
        shutil.copy(trained_run / name, tmp_path)
    return RunFolder(tmp_path)


def test_what_a_run_writes_is_read(run: RunFolder) -> None:
    assert [line["step"] for line in read_metrics(run)] == [1, 2]
    assert "".join(f"{json.dumps(line)}\n" for line in read_evaluations(run)) == run.evaluations.read_text()
    assert read_summary(run) == read_summary(run, only_end=True) == json.loads(run.summary.read_text())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda line: line.pop("step"), "step: Field required"),
        (lambda line: line.update(values=3), "values: "),
        (lambda line: line["values"].update(motion="much"), "values.motion: "),
        (lambda line: line["values"].pop("reward"), "values.reward: Field required"),
        (lambda line: line["by_prompt"].update(motion=[None]), "by_prompt.motion.0: "),
        (lambda line: line["by_prompt"].pop("motion"), "Value error, values and by_prompt have other names"),
    ],
)
def test_a_damaged_evaluation_is_named(run: RunFolder, change: Change, message: str) -> None:
    line = json.loads(run.evaluations.read_text().splitlines()[0])
    change(line)
    run.evaluations.write_text(json.dumps(line) + "\n")
    with pytest.raises(IvideoError, match=f"evaluations.jsonl, line 1, is damaged: {message}"):
        read_evaluations(run)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda summary: summary.pop("judges"), "judges: Field required"),
        (lambda summary: summary.update(heldout=3), "heldout: "),
        (lambda summary: summary["heldout"]["reward"].pop("difference"), "heldout.reward.difference: Field required"),
        (lambda summary: summary.update(num_steps=True), "num_steps: Input should be a valid integer"),
    ],
)
def test_a_damaged_summary_is_named_with_the_cure(run: RunFolder, change: Change, message: str) -> None:
    summary = json.loads(run.summary.read_text())
    change(summary)
    run.summary.write_text(json.dumps(summary))
    with pytest.raises(
        IvideoError, match=rf"summary.json is damaged: {message}.*; remove it to have the run's end done"
    ):
        read_summary(run)
