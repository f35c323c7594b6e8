"""Where chains start and where their gradient flows, as a user meets it; on a random pipeline of 16 x 16 pixels."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import Result

from ivideo.training.step import Trainer
from ivideo.video.writer import write_video

SETTINGS: dict[str, Any] = {
    "num_frames": 4,
    "num_segments": 2,
    "num_inference_steps": 3,
    "generation_num_inference_steps": 2,
    "height": 16,
    "width": 16,
    "max_steps": 2,
    "batch_size": 2,
    "gradient_accumulation": 2,
    "num_grad_steps": 2,
    "learning_rate": 0.01,
    "num_warmup_steps": 1,
    "lr_schedule": "constant",
    "attenuation_rate": "none",
    "dtype": "float32",
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("chains")
    (folder / "reward.py").write_text("def brightness(frames, prompts):\n    return frames.mean((2, 3, 4))\n")
    (folder / "p.txt").write_text("a cat\na dog\na cow\n")
    return folder


@pytest.fixture(scope="module")
def train(ivideo, root: Path, authors_folder: Path) -> Callable[..., Result]:
    """`train(run, *flags)`: a new run."""
    settings = {**SETTINGS, "model": authors_folder, "reward": f"{root / 'reward.py'}:brightness"}
    flags = [word for name, value in settings.items() for word in (f"--{name.replace('_', '-')}", value)]
    return lambda run, *more: ivideo("finetune", root / "p.txt", *flags, "--no-eval", "--output", run, *more)


def read_weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "adapter" / "adapter_model.safetensors")


def read_metrics(run: Path) -> list[dict[str, Any]]:
    return [{**json.loads(line), "seconds": 0} for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def runs(train: Callable[..., Result], root: Path) -> dict[str, Path]:
    """A run from noise for each way of the gradient, and `first`, which trains on first frames; leave them alone."""
    flags = {way: ("--gradient", way) for way in ("last", "random", "drtune", "draft-lv")}
    flags["first"] = ("--frame-draw", "first")
    for name, more in flags.items():
        result = train(root / name, "--start", "noise", *more)
        assert (result.exit_code, result.stdout) == (0, f"{root / name}\n"), result.stderr
        assert "base clips" not in result.stderr
    return {name: root / name for name in flags}


def test_every_way_trains_from_noise_without_clips(runs: dict[str, Path]) -> None:
    for run in runs.values():
        assert not (run / "clips").exists()
        assert [line["step"] for line in read_metrics(run)] == [1, 2]
        assert all(line["gradient_norm"] > 0 for line in read_metrics(run))
        # without attenuation what is maximised is the mean score, also of several samples of a clip
        assert all(line["reward"] == pytest.approx(line["attenuated_reward"]) for line in read_metrics(run))
    config = (runs["draft-lv"] / "config.toml").read_text()
    assert 'start = "noise"\n' in config
    assert 'gradient = "draft-lv"\n' in config
    assert 'frame_draw = "first"\n' in (runs["first"] / "config.toml").read_text()


def test_every_way_learns_something_else(runs: dict[str, Path]) -> None:
    flat = [torch.cat([weight.flatten() for weight in read_weights(run).values()]) for run in runs.values()]
    assert len({tuple(weights[:99].tolist()) for weights in flat}) == len(runs)
    first_scores = {name: read_metrics(run)[0]["reward"] for name, run in runs.items()}
    assert first_scores["last"] == first_scores["drtune"]  # the same clip, whichever of its steps has the gradient
    assert len({*first_scores.values()}) == len(runs) - 1


def test_an_interrupted_run_goes_on_to_the_same(
    ivideo, train, runs, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, usual, way = tmp_path / "run", Trainer.train_step, "drtune"

    def train_step(self: Trainer, step: int) -> Any:
        if step == 0:
            os.kill(os.getpid(), signal.SIGTERM)
        return usual(self, step)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train_step", train_step)
        assert train(run, "--start", "noise", "--gradient", way).exit_code == 143
    reward = f"{root / 'reward.py'}:brightness"
    other = ivideo("finetune", "--resume", run, "--reward", reward, "--gradient", "last", "--frame-draw", "first")
    assert other.exit_code == 2
    refused = f"--gradient last (the run has {way}), --frame-draw first (the run has random) would change what it"
    assert refused in other.stderr
    result = ivideo("finetune", "--resume", run, "--reward", reward)
    assert result.exit_code == 0, result.stderr
    assert "going on after step 1 of 2" in result.stderr
    assert read_metrics(run) == read_metrics(runs[way])
    found, wanted = read_weights(run), read_weights(runs[way])
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_clips_are_edited_in_another_way(train, tmp_path: Path) -> None:
    assert train(tmp_path / "last", "--max-steps", 1).exit_code == 0
    for way in ("drtune", "draft-lv"):
        result = train(tmp_path / way, "--max-steps", 1, "--gradient", way, "--clips", tmp_path / "last")
        assert result.exit_code == 0, result.stderr
        assert "base clips 0" not in result.stderr  # they are there
    rewards = {way: read_metrics(tmp_path / way)[0]["reward"] for way in ("last", "drtune", "draft-lv")}
    assert rewards["last"] == rewards["drtune"] != rewards["draft-lv"]


def test_clips_for_chains_from_noise_are_refused(ivideo, train, runs, tmp_path: Path) -> None:
    result = train(tmp_path / "run", "--start", "noise", "--clips", runs["last"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.splitlines() == ["error: --start noise edits no clips: leave out --clips"]
    write_video(tmp_path / "1.mp4", np.zeros((8, 16, 16, 3), np.uint8), 8.0, {})
    (tmp_path / "list.txt").write_text("1.mp4|||a cat\n")
    result = ivideo("finetune", tmp_path / "list.txt", "--start", "noise", "--no-eval", "--output", tmp_path / "run")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.splitlines()[-1] == (
        "error: --start noise edits no clips, and the list to train on names videos: give prompts alone"
    )
    assert not (tmp_path / "run").exists()
    result = train(tmp_path / "run", "--clips", runs["last"])
    assert result.stderr.splitlines()[-1].endswith("has no clip of these prompts")
