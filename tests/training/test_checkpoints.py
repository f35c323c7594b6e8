"""A checkpoint gives back what was saved to the bit, or says what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ivideo.errors import IvideoError
from ivideo.files.run_folder import RunFolder
from ivideo.progress import Silence
from ivideo.training.checkpoints import (
    OPTIMIZER_FILE,
    STATE_FILE,
    binding_settings,
    checkpoint_path,
    copy_adapter,
    list_checkpoints,
    prune_checkpoints,
    read_checkpoint,
    restore_checkpoint,
    step_of,
    write_checkpoint,
)
from ivideo.training.loop import TrainingLoop
from ivideo.training.resume import find_whole_checkpoint

FILES = ["adapter_config.json", "adapter_model.safetensors", OPTIMIZER_FILE, STATE_FILE]


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run")


@pytest.fixture
def trained(make_loop: Callable[..., TrainingLoop], run: RunFolder) -> TrainingLoop:
    loop = make_loop(run)
    for step in range(3):
        loop.trainer.train_step(step)
    return loop


def test_everything_comes_back_to_the_bit(
    trained: TrainingLoop, make_loop: Callable[..., TrainingLoop], run: RunFolder
) -> None:
    trained.trainer.num_skipped, trained.trainer.num_bad_in_row = 4, 1
    path = write_checkpoint(run, 3, trained.trainer)
    assert sorted(file.name for file in path.iterdir()) == FILES
    fresh: Any = make_loop(run).trainer
    assert not torch.equal(fresh.weights(), trained.trainer.weights())
    restore_checkpoint(read_checkpoint(path), fresh)
    assert (fresh.num_skipped, fresh.num_bad_in_row) == (4, 1)
    for trainer in (fresh, trained.trainer):
        trainer.train_step(3)
    assert torch.equal(fresh.weights(), trained.trainer.weights())


def test_the_scale_of_float16_comes_back(
    trained: TrainingLoop, make_loop: Callable[..., TrainingLoop], run: RunFolder
) -> None:
    loops = [trained, make_loop(run)]
    for loop in loops:
        loop.trainer.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**9, growth_interval=3)
        loop.trainer.scaler.scale(torch.ones(()))  # as every step's loss
    trained.trainer.train_step(3)
    trained.trainer.scaler.update(2.0**5)
    restore_checkpoint(read_checkpoint(write_checkpoint(run, 4, trained.trainer)), loops[1].trainer)
    states = [loop.trainer.scaler.state_dict() for loop in loops]
    assert states[0] == states[1]
    assert states[0]["scale"] == 2.0**5


@pytest.mark.parametrize("name", FILES)
def test_damage_is_named_with_an_older_checkpoint(trained: TrainingLoop, run: RunFolder, name: str) -> None:
    older, newer = (write_checkpoint(run, step, trained.trainer) for step in (2, 3))
    content = bytearray((newer / name).read_bytes())
    places = range(0, len(content), 1 + len(content) // 60)
    for place in places:
        content[place] ^= 1
        (newer / name).write_bytes(content)
        with pytest.raises(IvideoError, match=f"checkpoint {newer} is damaged: .*; go on from .*: `resume` {older}$"):
            read_checkpoint(newer)
        content[place] ^= 1
    (newer / name).write_bytes(content[:-2])
    with pytest.raises(IvideoError, match="is damaged"):
        read_checkpoint(newer)
    (newer / name).unlink()
    with pytest.raises(IvideoError, match=f"is damaged: .*{name} does not exist; go on from an older one"):
        read_checkpoint(newer)
    assert read_checkpoint(older).step == 2


def test_without_an_older_one_it_says_so(trained: TrainingLoop, run: RunFolder) -> None:
    path = write_checkpoint(run, 3, trained.trainer)
    (path / STATE_FILE).write_text("{}")
    with pytest.raises(IvideoError, match="it has none older: start anew"):
        read_checkpoint(path)
    with pytest.raises(IvideoError, match=r"step_00009 does not exist; go on from an older one: .*step_00003"):
        read_checkpoint(checkpoint_path(run, 9))


def test_another_adapters_checkpoint_does_not_fit(
    trained: TrainingLoop, make_loop: Callable[..., TrainingLoop], run: RunFolder
) -> None:
    path = write_checkpoint(run, 3, trained.trainer)
    with pytest.raises(IvideoError, match="has other weights than the adapter of this run"):
        restore_checkpoint(read_checkpoint(path), make_loop(run, lora_rank=2).trainer)


@pytest.mark.parametrize(
    ("newest", "last_reward", "kept"),
    [
        (1, 0.3, [0, 4, 6]),
        (1, 0.7, [0, 4, 6]),
        (2, 0.7, [0, 4, 5, 6]),
        (3, 0.7, [0, 2, 4, 5, 6]),
        (9, 0.7, [*range(7)]),
    ],
)
def test_the_start_the_newest_and_the_best_of_their_time_are_kept(
    trained: TrainingLoop,
    quick_settings: Callable[..., Any],
    run: RunFolder,
    newest: int,
    last_reward: float,
    kept: list[int],
) -> None:
    for step in range(7):
        write_checkpoint(run, step, trained.trainer)
    rewards = {0: 0.1, 2: 0.5, 4: 0.6, 6: last_reward}
    evaluations = [{"step": step, "values": {"reward": value, "motion": 1.0}} for step, value in rewards.items()]
    prune_checkpoints(run, quick_settings(keep_checkpoints=newest), evaluations)
    assert [step_of(path) for path in list_checkpoints(run)] == kept


def test_only_the_adapter_is_copied_and_replaces_another(trained: TrainingLoop, run: RunFolder) -> None:
    first = write_checkpoint(run, 3, trained.trainer)
    trained.trainer.train_step(3)
    second = write_checkpoint(run, 4, trained.trainer)
    for source in (first, second, second):
        copy_adapter(source, run.best, trained.trainer.model)
        assert sorted(file.name for file in run.best.iterdir()) == FILES[:2]
        assert all((run.best / name).read_bytes() == (source / name).read_bytes() for name in FILES[:2])


def test_where_nothing_leads_up_to_it_the_end_may_move(quick_settings: Callable[..., Any]) -> None:
    constant = [binding_settings(quick_settings(lr_schedule="constant", max_steps=steps)) for steps in (5, 9)]
    linear = [binding_settings(quick_settings(lr_schedule="linear", max_steps=steps)) for steps in (5, 9)]
    assert constant[0] == constant[1]
    assert linear[0] != linear[1]
    free = quick_settings(gradient_accumulation=1, gradient_checkpointing=True, save_every=9, guidance_batching=False)
    assert binding_settings(free) == binding_settings(quick_settings())
    assert json.loads(json.dumps(binding_settings(free))) == binding_settings(free)


class Notes(Silence):
    """Keeps what a person should act on."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, message: str) -> None:
        self.warnings.append(message)


@pytest.mark.parametrize(
    ("damaged", "found"),
    [
        ((), 4),
        ((4,), 3),
        ((4, 3), 2),
        (("metrics.jsonl",), 1),
        ((2,), 1),
    ],
)
def test_the_newest_whole_checkpoint_is_found(
    make_loop: Callable[..., TrainingLoop], run: RunFolder, damaged: tuple[Any, ...], found: int
) -> None:
    loop = make_loop(run, max_steps=4, eval_every=2, save_every=1, keep_checkpoints=9)
    rewards = iter((0.1, 0.9, 0.5))
    evaluate = loop.evaluate

    def score(step: int) -> Any:
        evaluation: Any = evaluate(step)
        evaluation.record()["values"]["reward"] = next(rewards)
        return evaluation

    loop.evaluate = score
    loop.train(0)
    for name in damaged:
        if isinstance(name, int):
            (checkpoint_path(run, name) / OPTIMIZER_FILE).write_bytes(b"")
        else:
            run.metrics.write_bytes(run.metrics.read_bytes().splitlines(keepends=True)[0])
    notes = Notes()
    path = find_whole_checkpoint(run, loop.settings, notes)
    assert path == checkpoint_path(run, found)
    assert len(notes.warnings) == 4 - found
    assert all(line.endswith(f"; going on from {path} instead") for line in notes.warnings)


def test_where_all_are_damaged_the_newest_is_told(trained: TrainingLoop, run: RunFolder) -> None:
    assert find_whole_checkpoint(run, trained.settings, Silence()) is None
    for step in (2, 3):
        (write_checkpoint(run, step, trained.trainer) / STATE_FILE).write_text("")
    with pytest.raises(IvideoError, match=r"step_00003 is damaged: .*; it has none older that is whole"):
        find_whole_checkpoint(run, trained.settings, Silence())


def test_strays_among_checkpoints_do_no_harm(trained: TrainingLoop, run: RunFolder) -> None:
    path = write_checkpoint(run, 2, trained.trainer)
    (path / ".snapshot").mkdir()
    for name in ("notes.txt", "step_00004.zip", "step_", "step_00003"):
        (run.checkpoints / name).write_text("own")
    (run.checkpoints / "step_00009").symlink_to(path)
    assert list_checkpoints(run) == [path]
    assert write_checkpoint(run, 3, trained.trainer) == list_checkpoints(run)[-1]
    copy_adapter(path, run.best, trained.trainer.model)
    assert sorted(file.name for file in run.best.iterdir()) == FILES[:2]
    (moved,) = run.checkpoints.glob("step_00003-*")
    assert moved.read_text() == "own"
