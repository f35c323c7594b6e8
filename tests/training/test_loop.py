"""A training that is cut off anywhere goes on as if it never was, and what cuts it off is told in one line."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from ivideo.errors import IvideoError
from ivideo.files.records import read_json_lines
from ivideo.files.run_folder import RunFolder
from ivideo.processes import StopRequested, StopSignals
from ivideo.training.checkpoints import list_checkpoints, read_checkpoint, restore_checkpoint, step_of
from ivideo.training.loop import TrainingLoop, is_evaluated
from ivideo.training.resume import Resumable, cut_back, open_checkpoint

MakeLoop = Callable[..., TrainingLoop]
WRITES = ((os, "fsync"), (os, "rename"), (os, "replace"), (Path, "write_text"), (Path, "write_bytes"), (Path, "mkdir"))


@pytest.fixture
def start(tmp_path: Path) -> Callable[[str], RunFolder]:
    """`start(name)`: a new run's folder."""

    def make(name: str) -> RunFolder:
        (tmp_path / name).mkdir()
        return RunFolder(tmp_path / name)

    return make


def go_on(make_loop: MakeLoop, run: RunFolder, checkpoint: Path | None = None, **settings: Any) -> TrainingLoop:
    """Train to the end from the newest checkpoint or a named one, as `--resume` does."""
    trainer = make_loop(run, **settings).trainer
    found = open_checkpoint(Resumable(run, checkpoint), trainer.settings, trainer.captions)
    cut_back(run, trainer.settings, found.step if found else 0)
    loop = make_loop(run, **settings)
    if found:
        restore_checkpoint(found, loop.trainer)
    loop.train(found.step if found else 0)
    return loop


@contextmanager
def failing_at(call: int) -> Iterator[list[str]]:
    """Let the n-th writing call of the block fail as on a full disk; gives the calls that were made."""
    made: list[str] = []

    def wrap(whole: Callable[..., Any], name: str) -> Callable[..., Any]:
        def write(*arguments: Any, **options: Any) -> Any:
            made.append(name)
            if len(made) == call:
                raise OSError(28, "No space left on device")
            return whole(*arguments, **options)

        return write

    with pytest.MonkeyPatch.context() as patch:
        for owner, name in WRITES:
            patch.setattr(owner, name, wrap(getattr(owner, name), name))
        yield made


def test_evaluations_come_at_the_start_now_and_then_and_at_the_end(quick_settings: Callable[..., Any]) -> None:
    settings = quick_settings(max_steps=7, eval_every=3)
    assert [step for step in range(8) if is_evaluated(step, settings)] == [0, 3, 6, 7]
    assert [step for step in range(8) if is_evaluated(step, quick_settings(eval_every=0))] == [0, 7]
    assert not is_evaluated(0, quick_settings(evaluate=False))


def test_a_whole_training_leaves_what_it_should(make_loop: MakeLoop, start: Callable[[str], RunFolder]) -> None:
    run = start("run")
    loop = make_loop(run)
    assert loop.train(0) == 7
    assert [line["step"] for line in read_json_lines(run.metrics)] == list(range(1, 8))
    assert [line["step"] for line in read_json_lines(run.evaluations)] == [0, 3, 6, 7]
    assert [step_of(path) for path in list_checkpoints(run)][-2:] == [6, 7]
    assert (run.best / "adapter_model.safetensors").read_bytes() == (
        run.checkpoints / f"step_{loop.decision.best_step:05d}" / "adapter_model.safetensors"
    ).read_bytes()
    assert {*loop.seen} == {0, loop.decision.best_step}


@pytest.mark.parametrize("step", [0, 1, 3, 4, 6, 7])
def test_from_any_checkpoint_it_comes_out_the_same(
    make_loop: MakeLoop, start: Callable[[str], RunFolder], read_folder: Callable[[Path], Any], step: int
) -> None:
    run = start("run")
    make_loop(run, keep_checkpoints=9, save_every=1).train(0)
    whole = read_folder(run.root)
    go_on(make_loop, run, run.checkpoints / f"step_{step:05d}", keep_checkpoints=9, save_every=1)
    assert read_folder(run.root) == whole


def test_a_write_that_fails_at_any_moment_loses_nothing(
    make_loop: MakeLoop, start: Callable[[str], RunFolder], read_folder: Callable[[Path], Any]
) -> None:
    short = {"max_steps": 3, "eval_every": 2}
    whole = start("whole")
    with failing_at(0) as calls:
        make_loop(whole, **short).train(0)
    wanted = read_folder(whole.root)
    assert len(calls) > 40
    for call in range(1, len(calls) + 1):
        run = start(f"run_{call}")
        with pytest.raises(IvideoError, match=r"cannot .*: No space left on device"), failing_at(call):
            make_loop(run, **short).train(0)
        for path in list_checkpoints(run):
            read_checkpoint(path)
        go_on(make_loop, run, **short)
        assert read_folder(run.root) == wanted, f"after {calls[call - 1]}, call {call}"


@pytest.mark.parametrize("moment", ["train_step", "evaluate"])
@pytest.mark.parametrize("step", [0, 3])
def test_a_signal_saves_first(
    make_loop: MakeLoop,
    start: Callable[[str], RunFolder],
    read_folder: Callable[[Path], Any],
    moment: str,
    step: int,
) -> None:
    whole, run = start("whole"), start("run")
    make_loop(whole).train(0)
    with StopSignals() as signals:
        loop = make_loop(run, signals=signals)
        owner: Any = loop.trainer if moment == "train_step" else loop
        usual = getattr(owner, moment)

        def work(now: int) -> Any:
            if now == step:
                os.kill(os.getpid(), signal.SIGTERM)
            return usual(now)

        setattr(owner, moment, work)
        with pytest.raises(StopRequested):
            loop.train(0)
    done = step + (moment == "train_step")  # the step that was begun is finished, the evaluation is not
    assert step_of(list_checkpoints(run)[-1]) == done
    assert len(read_json_lines(run.metrics)) == done
    go_on(make_loop, run)
    assert read_folder(run.root) == read_folder(whole.root)


def test_a_bad_step_leaves_everything_as_it_is_and_is_counted(
    make_loop: MakeLoop, start: Callable[[str], RunFolder]
) -> None:
    run = start("run")
    loop = make_loop(run, bad_steps=(3,))
    trainer: Any = loop.trainer
    for step in range(3):
        trainer.train_step(step)
    weights, state = trainer.weights(), {name: value.clone() for name, value in trainer.state()[0].items()}
    metrics = trainer.train_step(3)
    assert torch.equal(trainer.weights(), weights)
    assert all(torch.equal(value, state[name]) for name, value in trainer.state()[0].items())
    assert (metrics.num_skipped, trainer.num_bad_in_row) == (1, 1)
    assert metrics.record()["gradient_norm"] is None
    assert trainer.train_step(4).num_skipped == 1
    assert trainer.num_bad_in_row == 0
    assert not torch.equal(trainer.weights(), weights)


def test_bad_steps_in_a_row_stop_the_run_with_the_last_good_state(
    make_loop: MakeLoop, start: Callable[[str], RunFolder]
) -> None:
    run = start("run")
    loop = make_loop(run, bad_steps=(1, 3, 4, 5), max_bad_steps=3)
    with pytest.raises(IvideoError) as caught:
        loop.train(0)
    kept = run.checkpoints / "step_00006"
    assert str(caught.value) == (
        "3 steps in a row, up to step 6, had no finite loss and gradient: lower `learning_rate` (now 0.1) or set "
        f"`max_grad_norm` and start anew; the last good state is kept in {kept}"
    )
    assert [line["num_skipped"] for line in read_json_lines(run.metrics)] == [0, 1, 1, 2, 3, 4]
    fresh: Any = make_loop(run).trainer
    restore_checkpoint(read_checkpoint(kept), fresh)
    trainer: Any = loop.trainer
    assert fresh.weights().isfinite().all()
    assert torch.equal(fresh.weights(), trainer.weights())


def test_a_long_gradient_is_shortened_and_its_norm_told(make_loop: MakeLoop, tmp_path: Path) -> None:
    moved, norms = [], []
    for limit in (0.0, 1e-7):
        trainer: Any = make_loop(RunFolder(tmp_path), max_grad_norm=limit, num_warmup_steps=0).trainer
        before = trainer.weights()
        norms.append(trainer.train_step(0).gradient_norm)
        moved.append((trainer.weights() - before).abs().max().item())
    assert norms[0] == norms[1] > 1
    assert moved[0] == pytest.approx(0.1, rel=0.01)  # AdamW's first step is the learning rate, whatever the gradient
    assert moved[1] < 0.09  # unless that is as small as AdamW's epsilon


def test_a_longer_run_is_as_if_it_had_been_asked_for_at_once(
    make_loop: MakeLoop, start: Callable[[str], RunFolder], read_folder: Callable[[Path], Any]
) -> None:
    constant = {"lr_schedule": "constant", "keep_checkpoints": 1}
    whole, run = start("whole"), start("run")
    make_loop(whole, max_steps=11, **constant).train(0)
    make_loop(run, max_steps=7, **constant).train(0)
    go_on(make_loop, run, max_steps=11, **constant)
    assert read_folder(run.root) == read_folder(whole.root)


def test_a_reason_to_stop_ends_it_and_its_evaluation_is_the_last(
    make_loop: MakeLoop, start: Callable[[str], RunFolder]
) -> None:
    run = start("run")
    loop = make_loop(run, patience=1, max_steps=30)
    assert loop.train(0) == 3
    assert "has not risen" in str(loop.decision.stop_reason)
    assert step_of(list_checkpoints(run)[-1]) == 3


@pytest.mark.parametrize("name", ["metrics", "evaluations"])
def test_a_log_with_a_hole_is_an_error(make_loop: MakeLoop, start: Callable[[str], RunFolder], name: str) -> None:
    run = start("run")
    make_loop(run).train(0)
    log: Path = getattr(run, name)
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join([*lines[:1], *lines[2:]]))
    with pytest.raises(IvideoError, match=f"{log} lacks"):
        go_on(make_loop, run)
    assert json.loads(log.read_text().splitlines()[0])["step"] in (0, 1)
