"""A metric is a function and a row: everything that shows metrics shows one that is added while the program runs."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ivideo as library
from ivideo.metrics.over_time import OverPairs, Pair
from ivideo.metrics.registry import METRICS, Metric
from ivideo.video.reader import read_video
from tests.report.browsing import read_data

NAME = "brightness_change"


def brightness_change(pair: Pair) -> float:
    return abs(float(pair.second.mean()) - float(pair.first.mean()))


@pytest.fixture(autouse=True)
def row(monkeypatch: pytest.MonkeyPatch) -> Metric:
    """The row of a new metric, all that there is of it besides its function."""
    row = Metric(
        name=NAME,
        measure=OverPairs(brightness_change),
        unit="grey levels",
        meaning="How much the brightness changes from frame to frame.",
        higher_is_better=False,
        vbench="brightness",
    )
    monkeypatch.setitem(METRICS, NAME, row)
    return row


def measure(path: str | Path) -> float:
    """What it should be, from a video's frames."""
    return float(np.abs(np.diff(read_video(Path(path)).frames.mean((1, 2, 3)))).mean())


def test_a_new_metric_is_in_what_score_writes(ivideo: Callable[..., Any], base_videos: Path, tmp_path: Path) -> None:
    exported = tmp_path / "vbench.json"
    paths = sorted(base_videos.iterdir())
    records = json.loads(ivideo("score", *paths, "--format", "json", "--export", "vbench", exported).stdout)
    values = [record[NAME] for record in records]
    assert values == pytest.approx([measure(path) for path in paths])
    assert min(values) > 0
    assert json.loads(exported.read_text())["brightness"] == [
        pytest.approx(np.mean(values)),
        [{"video_path": str(path), "video_results": value} for path, value in zip(paths, values, strict=True)],
    ]
    cells = list(csv.DictReader(ivideo("score", *paths, "--format", "csv").stdout.splitlines()))
    assert [float(row[NAME]) for row in cells] == values
    assert json.loads(ivideo("score", paths[0], "--no-temporal").stdout)[NAME] is None


def test_a_new_metric_is_in_the_table_unless_its_row_says_no(
    ivideo: Callable[..., Any], base_videos: Path, row: Metric, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    path = min(base_videos.iterdir())
    head, _, line, *_ = ivideo("score", path, "--format", "table").stdout.splitlines()
    assert NAME in head
    assert f"{measure(path):.4f}" in line
    monkeypatch.setitem(METRICS, NAME, Metric(**{**vars(row), "in_table": False}))
    assert NAME not in ivideo("score", path, "--format", "table").stdout


def test_a_new_metric_is_compared_and_reported(ivideo: Callable[..., Any], base_videos: Path, tmp_path: Path) -> None:
    same, output = shutil.copytree(base_videos, tmp_path / "same"), tmp_path / "out"
    table = ivideo("compare", base_videos, same, "--output", output, "--format", "table").stdout
    assert "brightness" in table
    results = json.loads((output / "results.json").read_text())
    assert results["metrics"][NAME] == {
        "label": "brightness change",
        "unit": "grey levels",
        "higher_is_better": False,
    }
    values = [row["clips"][0]["scores"][NAME] for row in results["rows"]]
    assert values == pytest.approx([measure(output / row["clips"][0]["video"]) for row in results["rows"]])
    assert results["means"][NAME][0]["mean"] == pytest.approx(np.mean(values))
    assert [one["difference"] for one in results["comparisons"] if one["metric"] == NAME] == [0]
    cells = csv.DictReader((output / "results.csv").read_text().splitlines())
    assert [float(row[NAME]) for row in cells][::2] == values
    data = read_data(output / "report.html")
    assert data["results"]["metrics"][NAME] == results["metrics"][NAME]
    assert data["meanings"][NAME] == "How much the brightness changes from frame to frame."


def test_a_new_metric_is_evaluated_in_training(tmp_path: Path) -> None:
    small = {"num_frames": 4, "num_inference_steps": 2, "generation_num_inference_steps": 2, "num_grad_steps": 1}
    settings = {**small, "model": "emoji-world", "max_steps": 1, "batch_size": 1, "num_warmup_steps": 0}
    run = library.finetune(["a cat surfing"], tmp_path / "run", heldout=["a pig"], **settings)
    evaluations = [json.loads(line) for line in (run / "evaluations.jsonl").read_text().splitlines()]
    assert [record["by_prompt"][NAME] for record in evaluations] == [[record["values"][NAME]] for record in evaluations]
    summary = json.loads((run / "summary.json").read_text())
    assert summary["heldout"][NAME]["mean_a"] == evaluations[0]["values"][NAME] > 0
