"""A training that goes wrong is stopped, says why, and leaves its pictures; where its time went is told when asked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ivideo.training import record as tracking

RUN = ("--model", "emoji-world", "--max-steps", 4, "--batch-size", 1, "--num-warmup-steps", 0, "--eval-every", 1)


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    (tmp_path / "p.txt").write_text("a cat surfing\n")
    return tmp_path / "p.txt"


def test_a_training_past_its_best_stops_and_says_why(ivideo, prompts: Path, small_training, tmp_path: Path) -> None:
    run = tmp_path / "run"
    rules = ("--learning-rate", 1, "--patience", 2, "--min-motion", 0, "--min-judge", 0, "--num-eval-prompts", 2)
    result = ivideo("finetune", prompts, *RUN, *rules, "--profile", *small_training, "-o", run)
    assert result.stdout == f"{run}\n"
    summary = json.loads((run / "summary.json").read_text())
    assert summary["stop_reason"].endswith(" of the base in the last 2 evaluations")
    assert (summary["num_steps"], summary["chosen_step"]) == (2, max((1, 2), key=lambda step: reward_at(summary, step)))
    lines = result.stderr.splitlines()
    chosen = next(line for line in lines if line.startswith("chosen"))
    assert chosen.split(None, 1)[1] == (
        f"step {summary['chosen_step']}, the best held-out reward; stopped after step 2: {summary['stop_reason']}"
    )
    assert [path.name for path in sorted((run / "grids").iterdir())] == [
        f"step_0000{step}.{kind}" for step in (1, 2) for kind in ("mp4", "png")
    ]
    assert sum(summary["profile"]["shares"].values()) == pytest.approx(1, abs=0.001)
    assert summary["profile"]["shares"]["network with graph"] > 0.01
    assert any(line.startswith("network with graph") and "%" in line for line in lines)


def test_the_bundled_second_reward_model_ends_a_training_that_spoils_the_clips(
    ivideo, prompts: Path, small_training, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    rules = ("--learning-rate", 1, "--min-motion", 0, "--num-eval-prompts", 4)
    result = ivideo("finetune", prompts, *RUN, *rules, *small_training, "-o", run)
    summary = json.loads((run / "summary.json").read_text())
    assert summary["reward"] == "emoji-preference"
    assert summary["stop_reason"].startswith("emoji-clip, which is not trained on, fell from ")
    assert summary["num_steps"] < 4
    assert "second reward model, not trained on: emoji-clip" in result.stderr.splitlines()


def reward_at(summary: dict, step: int) -> float:
    return next(record["reward"] for record in summary["evaluations"] if record["step"] == step)


def test_a_missing_tracker_is_told_before_anything_is_written(
    ivideo, prompts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking, "find_spec", lambda name: None)
    result = ivideo("finetune", prompts, *RUN, "--tracker", "tensorboard", "-o", tmp_path / "run")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.splitlines()[-1] == (
        "error: --tracker tensorboard needs a package that is not installed: pip install tensorboard 'protobuf<4'"
    )
    assert not (tmp_path / "run").exists()
