"""SIGINT and SIGTERM: the work ends at its next safe point; a second one ends it at once."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, Self

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
