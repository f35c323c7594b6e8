"""The processes that one `accelerate launch` started: who does which prompts and videos, and what one must tell all.

They meet over gloo, on GPUs as well: what goes between them is a few records, never tensors.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from typing import Any, TypeVar

from ivideo.errors import IvideoError, UsageError

Item = TypeVar("Item")
Value = TypeVar("Value")
PATIENCE = timedelta(hours=6)  # that processes wait for each other: one may be generating many clips


class ToldError(IvideoError):
    """An error that every process of the launch knows; the first one tells it."""

    def __init__(self, message: str, exit_code: int) -> None:
        """Take over the exit code of the error; 0 is an end that nobody need hear of."""
        super().__init__(message)
        self.exit_code = exit_code


@dataclass(frozen=True)
class Launch:
    """This process among those of its launch.

    All of them call the same methods in the same order, and each gets what all of them gave. One that fails says so
    in its next meeting (`joined` sees to that), so that all of them end there.

    Attributes:
        index: which one this is, from 0.
        count: how many there are, over all machines.
    """

    index: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process speaks for all, and writes what there is once."""
        return self.index == 0

    def gather(self, value: Value) -> list[Value]:
        """Every process's value in every process, the first one's first.

        Raises:
            ToldError: another process failed or is gone.
        """
        return [value] if self.count == 1 else self._meet(value, None)

    def from_first(self, make: Callable[[], Value]) -> Value:
        """What the first process makes, in every process; the others make nothing."""
        return self.gather(make() if self.is_first else None)[0]  # type: ignore[return-value]

    def after_first(self, make: Callable[[], Value]) -> Value:
        """What each process makes for itself, the others after the first, which may leave them something on the disk.

        Each sees its own errors and those of others.
        """
        made = [make()] if self.is_first else []
        self.gather(None)
        return made[0] if made else make()

    def share(
        self, items: Sequence[Item], work: Callable[[Sequence[Item]], Iterator[Value]], at_once: int
    ) -> Iterator[Value]:
        """Do some work together, each item in one process.

        Items are dealt in turn, so that those beside each other, which are often alike, go to different processes.

        Args:
            items: what there is to do, the same in every process.
            work: gives a result an item, in their order; gets this process's items.
            at_once: items that each process does between two meetings.

        Yields:
            The results of all items in their order, in every process.

        Raises:
            ToldError: another process failed or is gone.
        """
        if self.count == 1:
            yield from work(items)
            return
        results = work(items[self.index :: self.count])
        for start in range(0, len(items), at_once * self.count):
            window = range(start, min(start + at_once * self.count, len(items)))
            done = self.gather(list(islice(results, len(window[self.index :: self.count]))))
            for place in range(len(window)):
                yield done[place % self.count][place // self.count]

    def fail(self, error: Exception) -> None:
        """Tell the others that this process cannot go on; what is no known error then takes its own way.

        Raises:
            ToldError: a known error: this one, or one of a process before this one.
        """
        if self.count == 1 or isinstance(error, ToldError):
            return
        try:
            self._meet(None, self._tell(error))
        except ToldError:
            if isinstance(error, IvideoError):
                raise

    def _tell(self, error: Exception) -> ToldError:
        if isinstance(error, BrokenPipeError):
            return ToldError("nobody reads what the first process prints", 0)
        if isinstance(error, IvideoError):
            return ToldError(str(error), error.exit_code)
        return ToldError(f"process {self.index} failed: {type(error).__name__}: {error}", 1)

    def _meet(self, value: Any, error: ToldError | None) -> list[Any]:
        from accelerate.utils import gather_object

        try:
            met = gather_object([(value, error and (str(error), error.exit_code))])
        except RuntimeError as lost:
            raise error or ToldError("another process of the launch is gone: killed, or out of memory", 1) from lost
        for index, (_, told) in enumerate(met):
            if told is not None:
                raise ToldError(told[0] + (f" (in process {index})" if index else ""), told[1])
        return [value for value, _ in met]


ALONE = Launch()


def is_first_process() -> bool:
    """Whether this process speaks for all, as the launcher's environment says."""
    return not is_launched() or os.environ.get("RANK", "0") == "0"


def is_launched() -> bool:
    """Whether a launcher started this process with others, as its environment says.

    Some clusters set RANK and WORLD_SIZE for every task; LOCAL_RANK is what accelerate goes by.
    """
    return "LOCAL_RANK" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1


@contextmanager
def joined() -> Iterator[Launch]:
    """Meet the other processes of this launch, and tell them where the block fails; alone where there are none.

    Every process gets a GPU of its own, as far as there are.

    Raises:
        ToldError: a known error, in this process or another.
    """
    if not is_launched():
        yield ALONE
        return
    import torch
    from accelerate import PartialState

    state = PartialState(cpu=not torch.cuda.is_available(), backend="gloo", timeout=PATIENCE)
    launch = Launch(state.process_index, state.num_processes)
    try:
        yield launch
    except Exception as error:
        launch.fail(error)
        raise
    finally:
        state.destroy_process_group()


def check_device(name: str, launch: Launch) -> None:
    """Refuse one GPU by its number for several processes.

    Raises:
        UsageError: it is one.
    """
    if launch.count > 1 and ":" in name:
        raise UsageError(f"`device` {name} for {launch.count} processes: give cuda, and each takes one of its own")
