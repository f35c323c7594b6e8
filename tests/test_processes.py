"""Several processes train one run as one process would."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from safetensors.torch import load_file

from ivideo.launch import is_first_process
from ivideo.processes import is_true_anywhere, own_share, resume_command, tell_all
from tests.models.pipelines import tiny

ROOT = Path(__file__).parents[1]
ALONE: Any = SimpleNamespace(num_processes=1, process_index=0)
SETTINGS = {
    "num_frames": 4,
    "num_inference_steps": 2,
    "generation_num_inference_steps": 2,
    "height": 16,
    "width": 16,
    "num_grad_steps": 1,
    "batch_size": 4,
    "gradient_accumulation": 4,
    "learning_rate": 0.01,
    "num_warmup_steps": 0,
    "lr_schedule": "constant",
    "device": "cpu",
    "dtype": "float32",
    "eval_every": 1,
    "patience": 0,
    "min_motion": 0,
    "save_every": 1,
}


def test_shares_are_disjoint_and_complete() -> None:
    processes: list[Any] = [SimpleNamespace(process_index=index, num_processes=3) for index in range(3)]
    assert [own_share(range(7), process) for process in processes] == [[0, 3, 6], [1, 4], [2, 5]]


def test_alone_there_is_nobody_to_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tell_all("x", ALONE) == "x"
    assert [is_true_anywhere(flag, ALONE) for flag in (True, False)] == [True, False]
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert is_first_process()
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert not is_first_process()


def test_the_command_to_go_on_with_is_exact() -> None:
    assert resume_command("runs/my run", (), ALONE) == "ivideo finetune --resume 'runs/my run'"
    several: Any = SimpleNamespace(num_processes=2)
    assert resume_command(Path("runs/a"), ("j.py:f",), several) == (
        "accelerate launch --multi_gpu --num_processes 2 -m ivideo finetune --resume runs/a --reward j.py:f"
    )


@pytest.mark.parametrize("kind", ["unet", pytest.param("wan", marks=pytest.mark.slow)])
def test_two_processes_train_as_one_and_one_goes_on(kind: str, ivideo, authors_folder: Path, tmp_path: Path) -> None:
    model = authors_folder if kind == "unet" else tiny.write(kind, tmp_path / "model")
    (tmp_path / "reward.py").write_text("def brightness(frames, prompts):\n    return frames.mean((2, 3, 4))\n")
    (tmp_path / "p.txt").write_text("".join(f"a {word}\n" for word in ("cat", "dog", "cow", "pig", "fox", "owl")))
    size = {} if kind == "unet" else {"num_frames": tiny.SIZES[kind][0], "strength": 0.5}
    settings = {**SETTINGS, **size, "model": model, "reward": f"{tmp_path / 'reward.py'}:brightness"}
    flags = [str(word) for name, value in settings.items() for word in (f"--{name.replace('_', '-')}", value)]
    words = ["finetune", str(tmp_path / "p.txt"), *flags]
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "-m", "ivideo"]
    done = subprocess.run(
        [*launch, *words, "--max-steps", "1", "--output", str(tmp_path / "two")],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{tmp_path / 'two'}\n"
    assert done.stderr.count("training 1/1") == 1  # the main process speaks for both
    assert "base clips 0/2" in done.stderr.splitlines()  # and makes its half of the four
    assert ivideo(*words, "--max-steps", 2, "--output", tmp_path / "one").exit_code == 0

    folders = [tmp_path / name / "checkpoints" / "step_00001" / "optimizer.safetensors" for name in ("two", "one")]
    two, one = (load_file(path) for path in folders)
    gradients = [name for name in one if name.endswith(":exp_avg")]
    assert max(one[name].abs().max().item() for name in gradients) > 0
    for name in gradients:
        assert (two[name] - one[name]).abs().max() <= 1e-4 * one[name].abs().max() + 1e-9, name
    result = ivideo("finetune", "--resume", tmp_path / "two", "--reward", settings["reward"], "--max-steps", 2)
    assert result.exit_code == 0, result.stderr
    logs = [(tmp_path / name / "metrics.jsonl").read_text().splitlines() for name in ("two", "one")]
    for found, wanted in zip(*([json.loads(line) for line in log] for log in logs), strict=True):
        assert found["reward"] == pytest.approx(wanted["reward"], rel=1e-4)
        assert found["gradient_norm"] == pytest.approx(wanted["gradient_norm"], rel=1e-3)
