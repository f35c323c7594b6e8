"""The processes that work together, and the signals that end it."""

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


# What clusters send some time before the time is up; Windows knows neither.
NOTICES = tuple(signal.Signals[name] for name in ("SIGUSR1", "SIGUSR2") if name in signal.Signals.__members__)
SIGNALS = (signal.SIGINT, signal.SIGTERM, *NOTICES)


class StopRequested(Exception):
    """A signal asked the work to end; raised at safe points only."""


class StopSignals:
    """Catches the signals inside a `with` block; a second one ends the process at once, unless a notice is one of both.

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
        if self.received is not None and number in NOTICES:
            return
        if self.received is not None and self.received not in NOTICES:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        self.received = number
        if self._is_safe:
            self._is_safe = False
            raise StopRequested
        with suppress(RuntimeError):  # the signal came while something else was being written there
            self._announce()
