"""The processes that work together, the signals that end it, and memory that runs out."""

from __future__ import annotations

import os
import shlex
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, Self, TypeVar

import torch
from accelerate import Accelerator, InitProcessGroupKwargs
from accelerate.utils import broadcast_object_list

from ivideo.config.settings import FinetuneSettings
from ivideo.errors import IvideoError
from ivideo.launch import PATIENCE

Value = TypeVar("Value")


def join_processes(settings: FinetuneSettings) -> Accelerator:
    """Meet the other processes of this launch; alone where there are none.

    What was read from disk before this call was read by all of them before any of them writes.
    """
    is_on_cpu = settings.device == "cpu" or not torch.cuda.is_available()
    accelerator = Accelerator(cpu=is_on_cpu, kwargs_handlers=[InitProcessGroupKwargs(timeout=PATIENCE)])
    accelerator.wait_for_everyone()
    return accelerator


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


SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopRequested(Exception):
    """A signal asked the work to end; raised at safe points only."""


class StopSignals:
    """Catches the signals inside a `with` block.

    Only Python's main thread may do that: in any other thread, signals go where they went before.
    """

    def __init__(self, announce: Callable[[], object] = lambda: None) -> None:
        """Catch nothing yet; `announce` is called at the first signal."""
        self.received: int | None = None
        self._announce = announce
        self._is_safe = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        """Catch signals from here on."""
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._receive) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        """Let signals do what they did before."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def check(self) -> None:
        """A safe point.

        Raises:
            StopRequested: a signal has come.
        """
        if self.received is not None:
            raise StopRequested

    @contextmanager
    def safe_points(self) -> Iterator[None]:
        """A block that can be broken off anywhere, because it will be done again as a whole.

        Raises:
            StopRequested: a signal has come, or comes inside the block.
        """
        self._is_safe = True
        try:
            self.check()
            yield
        finally:
            self._is_safe = False

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        self.received = number
        if self._is_safe:
            self._is_safe = False
            raise StopRequested
        with suppress(RuntimeError):  # the signal came while something else was being written there
            self._announce()


CPU_MESSAGES = ("DefaultCPUAllocator: can't allocate memory", "not enough memory: you tried to allocate")


@contextmanager
def explain_out_of_memory(settings: FinetuneSettings, num_processes: int = 1) -> Iterator[None]:
    """Turn an allocator's error into advice.

    Raises:
        IvideoError: memory ran out inside the block.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        is_told = isinstance(error, torch.OutOfMemoryError | MemoryError)
        if not is_told and not any(message in str(error) for message in CPU_MESSAGES):
            raise
        raise IvideoError(f"out of memory: {advise(settings, num_processes)}") from error


def advise(settings: FinetuneSettings, num_processes: int = 1) -> str:
    """What takes memory and can be changed: first what a run can be gone on with, then what needs a new one.

    The batch size counts only as far as several of its clips go through the network together.
    """
    own_clips = -(-settings.batch_size // num_processes)
    together = -(-own_clips // settings.gradient_accumulation)
    resumable = [
        (not settings.gradient_checkpointing, "`gradient_checkpointing` True"),
        (together > 1, f"`gradient_accumulation` {own_clips} (now {settings.gradient_accumulation})"),
        (settings.guidance_batching and settings.guidance_scale != 1, "`guidance_batching` False"),
    ]
    anew = [
        (together > 1, f"`batch_size` below {settings.batch_size}"),
        (settings.dtype == "float32", "`dtype` bfloat16 (now float32)"),
        (
            settings.num_grad_steps > 1 and settings.gradient != "random",
            f"`num_grad_steps` below {settings.num_grad_steps}",
        ),
        (settings.num_frames > settings.num_segments, f"`num_frames` below {settings.num_frames}"),
        (True, "a smaller `height` and `width`"),
    ]
    first, second = (", ".join(words for applies, words in advice if applies) for advice in (resumable, anew))
    return f"{'go on with ' + first + '; or start anew with ' if first else 'start anew with '}{second}"
