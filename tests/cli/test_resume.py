"""`ivideo finetune --resume` as a user meets it; on a random pipeline of 16 x 16 pixels a step takes a moment."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import Result

import ivideo as package
from ivideo.files.run_folder import LOCK_FILE, lock_folder
from ivideo.training.loop import TrainingLoop
from ivideo.training.step import Trainer

SETTINGS: dict[str, Any] = {
    "num_frames": 4,
    "num_inference_steps": 2,
    "generation_num_inference_steps": 2,
    "height": 16,
    "width": 16,
    "max_steps": 5,
    "batch_size": 2,
    "gradient_accumulation": 2,
    "learning_rate": 0.01,
    "num_warmup_steps": 1,
    "lr_schedule": "constant",
    "dtype": "float32",
    "eval_every": 4,
    "patience": 0,
    "min_motion": 0,
    "save_every": 1,
    "keep_checkpoints": 3,
}
PROMPTS = [f"a {animal}" for animal in ("cat", "dog", "cow", "pig")]
BRIGHTNESS = "def brightness(frames, prompts):\n    return frames.mean((2, 3, 4))\n"
FINISHED = {"adapter", "best", "checkpoints", "clips", "config.toml", "curve.png", "evaluations.jsonl", "heldout.txt"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("resume")
    (folder / "reward.py").write_text(BRIGHTNESS)
    (folder / "p.txt").write_text("".join(f"{prompt}\n" for prompt in PROMPTS))
    return folder


@pytest.fixture(scope="module")
def start(ivideo, root: Path, authors_folder: Path) -> Callable[..., Result]:
    """`start(run, *flags)`: a new run."""
    settings = {**SETTINGS, "model": authors_folder, "reward": f"{root / 'reward.py'}:brightness"}
    flags = [word for name, value in settings.items() for word in (f"--{name.replace('_', '-')}", value)]
    return lambda run, *more: ivideo("finetune", root / "p.txt", *flags, "--output", run, *more)


@pytest.fixture(scope="module")
def resume(ivideo, root: Path) -> Callable[..., Result]:
    """`resume(run, *flags)`: the same by `--resume`, with the reward named again, as its code is to be run."""
    reward = f"{root / 'reward.py'}:brightness"
    return lambda run, *more: ivideo("finetune", "--resume", run, "--reward", reward, *more)


@pytest.fixture(scope="module")
def whole(start: Callable[..., Result], root: Path) -> Path:
    """A run without a break; leave it as it is."""
    result = start(root / "whole")
    assert result.exit_code == 0, result.stderr
    return root / "whole"


@pytest.fixture
def read_tree() -> Callable[[Path], dict[str, bytes]]:
    """`read_tree(folder)`: every file below it, but for the lock."""
    return lambda folder: {
        str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != LOCK_FILE
    }


@pytest.fixture
def broken(whole: Path, tmp_path: Path) -> Path:
    """A run that was killed in its fifth step."""
    run = tmp_path / "broken"
    shutil.copytree(whole, run)
    for name in ("adapter", "videos", "checkpoints/step_00005"):
        shutil.rmtree(run / name)
    (run / "summary.json").unlink()
    return run


def results_of(run: Path) -> dict[str, Any]:
    """What may not depend on breaks: adapters, logs without the clock, and the changes."""
    metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    summary = json.loads((run / "summary.json").read_text())
    paths = [*run.glob("*/*.safetensors"), *run.glob("checkpoints/*/*")]
    return {
        **{str(path.relative_to(run)): path.read_bytes() for path in paths},
        "evaluations": (run / "evaluations.jsonl").read_text(),
        "metrics": [{**line, "seconds": 0} for line in metrics],
        "summary": {name: summary[name] for name in ("heldout", "heldout_rewards", "chosen_step", "num_steps")},
        "leftovers": [str(path) for path in run.rglob(".ivideo-*")],
        "curve": (run / "curve.png").read_bytes(),
    }


def stop_in_step(monkeypatch: pytest.MonkeyPatch, step: int, number: int) -> None:
    """Have a signal come while that step is computed."""
    usual = Trainer.train_step

    def train_step(self: Trainer, now: int) -> Any:
        if now == step:
            os.kill(os.getpid(), number)
        return usual(self, now)

    monkeypatch.setattr(Trainer, "train_step", train_step)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGUSR1, 138)])
def test_a_signal_finishes_the_step_and_says_how_to_go_on(
    start, resume, whole: Path, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: int
) -> None:
    run = tmp_path / "run"
    with monkeypatch.context() as patch:
        stop_in_step(patch, 2, number)
        result = start(run)
    assert (result.exit_code, result.stdout) == (code, "")
    command = f"ivideo finetune --resume {run} --reward {root / 'reward.py'}:brightness"
    assert result.stderr.splitlines()[-1] == f"interrupted after step 3 of 5; go on with: {command}"
    assert (run / "adapter" / "adapter_model.safetensors").read_bytes() == (
        run / "checkpoints" / "step_00003" / "adapter_model.safetensors"
    ).read_bytes()
    if number == signal.SIGINT:
        return
    result = resume(run)
    assert (result.exit_code, result.stdout) == (0, f"{run}\n"), result.stderr
    assert "going on after step 3 of 5" in result.stderr
    assert results_of(run) == results_of(whole)


def test_a_finished_run_is_left_as_it_is(resume, whole: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in whole.rglob("*")}
    for flags in ((), ("--resume", "auto", "--output", whole)):
        result = resume(whole, *flags)
        assert (result.exit_code, result.stdout) == (0, f"{whole}\n")
        assert f"run {whole} is finished: there is nothing to go on with" in result.stderr.splitlines()
    assert {path: path.stat().st_mtime_ns for path in whole.rglob("*")} == before
    assert {path.name for path in whole.iterdir()} >= FINISHED


def test_auto_starts_and_goes_on_with_the_same_command(
    start, whole: Path, broken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    newest, older = (broken / "checkpoints" / f"step_0000{step}" for step in (4, 3))
    (newest / "optimizer.safetensors").write_bytes(b"half")
    result = start(broken, "--resume", "auto")
    assert result.exit_code == 0, result.stderr
    assert f"going on with {broken}" in result.stderr.splitlines()
    damage = f"checkpoint {newest} is damaged: optimizer.safetensors is not what was written"
    assert f"warning: {damage}; going on from {older} instead" in result.stderr.splitlines()
    assert results_of(broken) == results_of(whole)
    result = start(tmp_path / "new", "--resume", "auto", "--max-steps", 1, "--no-eval")
    assert result.exit_code == 0, result.stderr
    assert f"no run to go on with in {tmp_path / 'new'}: a new one is started" in result.stderr.splitlines()


def test_auto_finds_the_unfinished_run(
    ivideo, resume, whole: Path, broken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(whole, tmp_path / "runs" / "finished")
    result = resume("auto")
    assert result.exit_code == 2
    assert "no run to go on with in runs: a new one is started\nerror: PROMPTS are missing" in result.stderr
    broken.rename(tmp_path / "runs" / "broken")
    result = resume("auto")
    assert (result.exit_code, result.stdout) == (0, "runs/broken\n"), result.stderr


def test_steps_can_be_added_to_a_constant_learning_rate(start, resume, whole: Path, tmp_path: Path) -> None:
    assert start(tmp_path / "long", "--max-steps", 7, "--quiet").exit_code == 0
    shutil.copytree(whole, tmp_path / "run")
    result = resume(tmp_path / "run", "--max-steps", 7)
    assert result.exit_code == 0, result.stderr
    assert results_of(tmp_path / "run") == results_of(tmp_path / "long")
    assert "max_steps = 7" in (tmp_path / "run" / "config.toml").read_text()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ("--learning-rate", 0.02, "--seed", 3),
            "--seed 3 (the run has 0), --learning-rate 0.02 (the run has 0.01) would change what it computes",
        ),
        (("--max-steps", 3), "--max-steps 3 (the run has 5) would change what it computes; steps can only be added"),
        (("--no-eval",), "--no-eval (the run has True)"),
        (("--preset", "quick"), "would change what it computes"),
        (("--output", "elsewhere"), "--output elsewhere is not the run"),
        (("--reward", "clip"), "--reward ("),
    ],
)
def test_what_would_change_the_run_is_refused(resume, broken: Path, read_tree, flags: Any, message: str) -> None:
    before = read_tree(broken)
    result = resume(broken, *flags)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr.splitlines()[-1]
    assert read_tree(broken) == before


def test_other_prompts_are_refused_and_the_same_are_not(ivideo, resume, broken: Path, tmp_path: Path) -> None:
    (tmp_path / "others.txt").write_text("a cat\na fox\n")
    result = resume(broken, tmp_path / "others.txt")
    assert result.exit_code == 2
    assert f"PROMPTS are not those in {broken / 'prompts.txt'}" in result.stderr
    result = ivideo("finetune", "--resume", broken)
    assert result.exit_code == 2
    assert "is code: it is run only if --reward names it again" in result.stderr


def test_what_leaves_the_result_may_change(resume, whole: Path, broken: Path) -> None:
    result = resume(broken, "--gradient-checkpointing", "--gradient-accumulation", 1, "--keep-checkpoints", 9)
    assert result.exit_code == 0, result.stderr
    assert "gradient_accumulation = 1\n" in (broken / "config.toml").read_text()
    found, wanted = (results_of(run)["metrics"][-1] for run in (broken, whole))
    assert found["loss"] == pytest.approx(wanted["loss"], rel=1e-4)


def test_a_damaged_checkpoint_names_an_older_one_that_works(
    resume, whole: Path, broken: Path, read_tree: Callable[[Path], Any]
) -> None:
    (broken / "checkpoints" / "step_00004" / "optimizer.safetensors").write_bytes(b"half")
    before = read_tree(broken)
    result = resume(broken)
    assert (result.exit_code, result.stdout) == (1, "")
    older = broken / "checkpoints" / "step_00003"
    assert result.stderr.splitlines()[-1] == (
        f"error: checkpoint {broken / 'checkpoints' / 'step_00004'} is damaged: optimizer.safetensors is not what was "
        f"written; go on from an older one: --resume {older}"
    )
    assert read_tree(broken) == before
    result = resume(older)
    assert result.exit_code == 0, result.stderr
    assert results_of(broken) == results_of(whole)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda run: shutil.rmtree(run / "checkpoints"), "did 5 steps but has no checkpoint any more: start anew"),
        (
            lambda run: (run / "prompts.txt").write_text("a cat\na fox\na pig\n"),
            "was made with other prompts than",
        ),
        (
            lambda run: (run / "config.toml").write_text(
                (run / "config.toml").read_text().replace("strength = 0.6", "strength = 0.5")
            ),
            "was made with another strength than",
        ),
        (lambda run: shutil.rmtree(run), "does not exist"),
        (lambda run: (run / "config.toml").unlink(), "is neither a run folder"),
    ],
)
def test_what_does_not_fit_is_an_error_and_no_new_start(
    resume, broken: Path, change: Callable[[Path], None], message: str
) -> None:
    change(broken)
    result = resume(broken)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.splitlines()[-1].startswith("error: ")
    assert message in result.stderr.splitlines()[-1]


def test_a_run_in_use_is_left_alone(start, resume, broken: Path) -> None:
    with lock_folder(broken):
        for result in (resume(broken), start(broken)):
            assert result.exit_code == 1
            assert f"error: {broken} is in use by process {os.getpid()} on " in result.stderr.splitlines()[-1]
    result = start(broken)
    assert f"is not empty; choose another --output, or remove it first; to go on with that run: --resume {broken}" in (
        result.stderr
    )


def test_a_reward_that_breaks_its_contract_later_leaves_the_last_checkpoint(
    start, resume, root: Path, whole: Path, tmp_path: Path
) -> None:
    reward_model, run = root / "reward.py", tmp_path / "run"
    moody = "calls = 0\ndef brightness(frames, prompts):\n    global calls\n    calls += 1\n"
    try:
        reward_model.write_text(f"{moody}    return frames.mean((2, 3, 4))[:, : 1 if calls == 9 else None]\n")
        result = start(run)
    finally:
        reward_model.write_text(BRIGHTNESS)
    assert result.exit_code == 1
    assert "brightness returned a float32 tensor (1, 1) instead of" in result.stderr.splitlines()[-1]
    assert resume(run).exit_code == 0
    assert results_of(run) == results_of(whole)


def test_running_out_of_memory_is_one_line_and_can_be_gone_on_from(
    start, resume, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_out(self: Trainer, step: int) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train_step", run_out)
        result = start(tmp_path / "run", "--no-gradient-checkpointing", "--gradient-accumulation", 1, "--no-eval")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].startswith(
        "error: out of memory (2.00 GiB were wanted): go on with --gradient-checkpointing, --gradient-accumulation 2 "
    )
    assert resume(tmp_path / "run", "--gradient-checkpointing", "--gradient-accumulation", 2).exit_code == 0


def train_and_die(run: Path, settings: dict[str, Any], place: str, call: int) -> None:
    """Train in this process until the n-th call of a function, which kills it; 0 lets it live."""
    owner, name = MOMENTS[place]
    usual, calls = getattr(owner, name), []

    def die(*arguments: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == call:
            os.kill(os.getpid(), signal.SIGKILL)
        return usual(*arguments, **options)

    setattr(owner, name, die)
    package.finetune(PROMPTS, run, resume="auto", **settings)


MOMENTS: dict[str, tuple[Any, str]] = {
    "name a file": (os, "replace"),
    "reach the disk": (os, "fsync"),
    "name a folder": (os, "rename"),
    "train": (Trainer, "train_step"),
    "evaluate": (TrainingLoop, "_evaluate"),
}


@pytest.mark.parametrize(
    "moments",
    [
        # A clip gets its name, a checkpoint gets its name, and before an evaluation.
        (("name a file", 5), ("name a folder", 3), ("evaluate", 1)),
        # A checkpoint's second file reaches the disk, and in the middle of the training.
        pytest.param((("reach the disk", 6), ("train", 2)), marks=pytest.mark.slow),
    ],
)
def test_a_killed_run_comes_out_the_same(
    moments: tuple[tuple[str, int], ...], root: Path, authors_folder: Path, whole: Path, tmp_path: Path
) -> None:
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(["ivideo.training.run", "ivideo.training.resume"])
    settings = {**SETTINGS, "model": str(authors_folder), "reward": f"{root / 'reward.py'}:brightness"}
    run = tmp_path / "run"

    def train(place: str, call: int) -> int | None:
        process = processes.Process(target=train_and_die, args=(run, settings, place, call))
        process.start()
        process.join()
        return process.exitcode

    for place, call in moments:
        assert train(place, call) == -signal.SIGKILL, place
    assert train("train", 0) == 0
    assert results_of(run) == results_of(whole)
