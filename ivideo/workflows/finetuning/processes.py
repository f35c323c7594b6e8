"""Several processes that train one run (`accelerate launch`): who writes, who does what, and what all of them know."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, TypeVar

import torch
from accelerate import Accelerator, InitProcessGroupKwargs
from accelerate.utils import broadcast_object_list

from ivideo.config.settings import FinetuneSettings

Value = TypeVar("Value")
PATIENCE = timedelta(hours=6)  # that processes wait for each other: one may be generating many clips


def join_processes(settings: FinetuneSettings) -> Accelerator:
    """Meet the other processes of this launch; alone where there are none.

    What was read from disk before this call was read by all of them before any of them writes.
    """
    accelerator = Accelerator(cpu=settings.device == "cpu", kwargs_handlers=[InitProcessGroupKwargs(timeout=PATIENCE)])
    accelerator.wait_for_everyone()
    return accelerator


def is_first_process() -> bool:
    """Whether this process speaks for all, as the launcher's environment says."""
    return os.environ.get("RANK", "0") == "0"


def own_share(items: Sequence[Value], accelerator: Accelerator) -> list[Value]:
    """This process's items; together the processes have each item once."""
    return list(items[accelerator.process_index :: accelerator.num_processes])


def tell_all(value: Value, accelerator: Accelerator) -> Value:
    """The main process's value, in every process."""
    if accelerator.num_processes == 1:
        return value
    values = [value]
    broadcast_object_list(values)
    return values[0]


def is_true_anywhere(flag: bool, accelerator: Accelerator) -> bool:
    """Whether the flag is set in any process; every process gets the same answer."""
    if accelerator.num_processes == 1:
        return flag
    count: Any = accelerator.reduce(torch.tensor(float(flag), device=accelerator.device), "sum")
    return bool(count.item() > 0)


def resume_command(run: object, rewards: Sequence[str], accelerator: Accelerator) -> str:
    """What to type to go on with a run; `rewards` are those that must be named because they are code."""
    # Without --multi_gpu, accelerate starts a single process on machines that have no GPU.
    several = ["accelerate", "launch", "--multi_gpu", "--num_processes", str(accelerator.num_processes), "-m"]
    launcher = [*(several if accelerator.num_processes > 1 else ()), "ivideo", "finetune"]
    return shlex.join([*launcher, "--resume", str(run), *(word for reward in rewards for word in ("--reward", reward))])
