"""What training goes on from: adapter, optimiser and counters after a step, in a folder that is whole or not there.

What can't be written or removed there raises an IvideoError.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load, save

from ivideo.config.fields import Resume, names_by_resume
from ivideo.config.settings import FinetuneSettings
from ivideo.errors import IvideoError
from ivideo.files.atomic import atomic_folder, remove_folder
from ivideo.files.reading import check_file, parse_json, read_text
from ivideo.files.run_folder import RunFolder
from ivideo.inputs.prompts import record_of
from ivideo.models.contract import TextToVideoModel
from ivideo.models.loading import explain_damage
from ivideo.models.lora import restore_lora
from ivideo.training.heldout import decide
from ivideo.training.step import Trainer

OPTIMIZER_FILE, STATE_FILE = "optimizer.safetensors", "state.json"
NAME = re.compile(r"step_\d{5,}")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint whose files are those that were written.

    Attributes:
        path: its folder.
        step: optimiser steps that were done.
        counters: the trainer's.
        settings: what the run computes with, see `binding_settings`.
        prompts: digest of the prompts in their order.
    """

    path: Path
    step: int
    counters: Mapping[str, Any]
    settings: Mapping[str, Any]
    prompts: str


def binding_settings(settings: FinetuneSettings) -> dict[str, Any]:
    """The settings that decide what a run computes: all that are not free.

    With a constant learning rate the steps do not depend on how many there will be: the last one may move.
    """
    meanings = [Resume.FREE, *([Resume.LONGER] if settings.lr_schedule == "constant" else [])]
    free = names_by_resume(type(settings), *meanings)
    return {name: value for name, value in settings.model_dump(mode="json").items() if name not in free}


def digest_prompts(prompts: Sequence[str | Sequence[str]]) -> str:
    """What tells one list of prompts, or of several captions an item, from another."""
    several = [[one] if isinstance(one, str) else one for one in prompts]
    records = [[record_of(prompt) for prompt in captions] for captions in several]
    return _digest(json.dumps([one[0] if len(one) == 1 else one for one in records]).encode())


def checkpoint_path(run: RunFolder, step: int) -> Path:
    """The folder of a step's checkpoint."""
    return run.checkpoints / f"step_{step:05d}"


def step_of(path: Path) -> int:
    """The step that a checkpoint's folder is named after."""
    return int(path.name.removeprefix("step_"))


def list_checkpoints(run: RunFolder) -> list[Path]:
    """The run's checkpoints, the newest last; whatever else lies there is none."""
    named = [path for path in run.checkpoints.glob("step_*") if NAME.fullmatch(path.name)]
    return sorted((path for path in named if path.is_dir() and not path.is_symlink()), key=step_of)


def write_checkpoint(run: RunFolder, step: int, trainer: Trainer) -> Path:
    """Save where training stands after a step, whole or not at all; nothing is done if it was saved already.

    Args:
        run: where to.
        step: optimiser steps that were done.
        trainer: as it stands.
    """
    path = checkpoint_path(run, step)
    if path in list_checkpoints(run):
        return path
    tensors, counters = trainer.state()
    settings = trainer.settings
    with atomic_folder(path) as folder:
        if os.path.lexists(path):  # something else has its name
            path.rename(path.with_name(f"{path.name}-{secrets.token_hex(4)}"))
        trainer.model.save_adapter(folder)
        contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        (folder / OPTIMIZER_FILE).write_bytes(save(contiguous))
        state = {
            "step": step,
            "counters": counters,
            "settings": binding_settings(settings),
            "prompts": digest_prompts(trainer.captions),
            "files": {file.name: _digest(file.read_bytes()) for file in sorted(folder.iterdir())},
        }
        text = json.dumps({"state": state, "digest": _digest(_canonical(state))}, indent=1, allow_nan=False)
        (folder / STATE_FILE).write_text(text + "\n", encoding="utf-8")
    return path


def read_checkpoint(path: Path, advice: str | None = None) -> Checkpoint:
    """A checkpoint, with every byte of it held against what was written.

    Args:
        path: its folder.
        advice: what an error ends with; by default it names an older one of the same run.

    Raises:
        IvideoError: it is not there or damaged.
    """
    if advice is None:
        advice = _name_older(path)
    if not path.is_dir():
        raise IvideoError(f"checkpoint {path} does not exist{advice}")
    with explain_damage(f"checkpoint {path} is damaged", advice):
        content = parse_json(read_text(path / STATE_FILE), STATE_FILE)
        state = content["state"]
        if _digest(_canonical(state)) != content["digest"] or state["step"] != step_of(path):
            raise ValueError(f"{STATE_FILE} is not what was written")
        for name, digest in state["files"].items():
            if _digest(check_file(path / name).read_bytes()) != digest:
                raise ValueError(f"{name} is not what was written")
        return Checkpoint(path, state["step"], state["counters"], state["settings"], state["prompts"])


def restore_checkpoint(checkpoint: Checkpoint, trainer: Trainer) -> None:
    """Put the trainer where it stood: adapter, optimiser and counters, bit for bit.

    Raises:
        IvideoError: the checkpoint is of another adapter.
    """
    restore_lora(trainer.model.network, checkpoint.path)
    with explain_damage(f"checkpoint {checkpoint.path} does not fit this run"):
        trainer.restore(load((checkpoint.path / OPTIMIZER_FILE).read_bytes()), checkpoint.counters)


def copy_adapter(checkpoint: Path, folder: Path, model: TextToVideoModel) -> None:
    """Copy a checkpoint's adapter to a folder of its own, in place of what is there, unless it is the same already.

    Args:
        checkpoint: its folder.
        folder: where to; there it is also written as other programs want it.
        model: which ways those are.
    """
    files = {file.name: file.read_bytes() for file in checkpoint.iterdir() if file.is_file()}
    files = {name: data for name, data in files.items() if name not in (OPTIMIZER_FILE, STATE_FILE)}
    if all((folder / name).is_file() and (folder / name).read_bytes() == data for name, data in files.items()):
        return
    with atomic_folder(folder, replace=True) as copy:
        for name, data in files.items():
            (copy / name).write_bytes(data)
        model.write_formats(copy)


def prune_checkpoints(run: RunFolder, settings: FinetuneSettings, evaluations: Sequence[Mapping[str, Any]]) -> None:
    """Keep the start, the newest `keep_checkpoints`, and for each of these the best known before and at its step.

    So whichever of the newest ones a run is taken up from, its best adapter is there; before, because an evaluation
    that was made only because the run ended there does not count once the run is made longer.

    Args:
        run: whose checkpoints.
        settings: of the run.
        evaluations: the lines of evaluations.jsonl so far.
    """
    checkpoints = list_checkpoints(run)
    newest = {step_of(path) for path in checkpoints[-settings.keep_checkpoints :]}
    ends = newest | {step - 1 for step in newest}
    known = [[record for record in evaluations if record["step"] <= end] for end in ends]
    best = {decide(records, settings).best_step for records in known if records}
    for path in checkpoints:
        if step_of(path) not in {0} | newest | best:
            remove_folder(path)


def _name_older(path: Path) -> str:
    named = NAME.fullmatch(path.name)
    run = RunFolder(path.parent.parent)
    older = [other for other in list_checkpoints(run) if named and step_of(other) < step_of(path)]
    return f"; go on from an older one: `resume` {older[-1]}" if older else "; it has none older: start anew"


def _canonical(state: Any) -> bytes:
    return json.dumps(state, sort_keys=True).encode()


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
