"""The program's stdout and stderr where they are full or closed: what cannot be printed is told, and costs no work."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn, TextIO

from ivideo.errors import IvideoError


class GuardedStream:
    """A text stream whose failures to write go to a function; after the first one nothing more is tried."""

    def __init__(self, stream: TextIO, tell: Callable[[OSError], object]) -> None:
        """Stand in for `stream`."""
        self._stream, self._tell = stream, tell
        self._error: OSError | None = None

    def __getattr__(self, name: str) -> Any:
        """All that is not written goes by the stream itself."""
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write as the stream does."""
        if text != "":  # click probes streams with it, and hides what they raise
            self._try(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        """Flush as the stream does; Python does so once more at its end, when nobody can be told."""
        if self._error is None:
            self._try(self._stream.flush)

    def _try(self, action: Callable[[], object]) -> None:
        try:
            if self._error is not None:
                raise self._error
            action()
        except OSError as error:
            self._error = error
            self._tell(error)


def open_nowhere() -> TextIO:
    """A stream that takes everything."""
    return open(os.devnull, "w", encoding="utf-8")


def guard_streams() -> None:
    """Have a full stdout raise an IvideoError and a full stderr keep quiet; what is closed counts as /dev/null."""
    for descriptor in range(3):  # else a file that is opened next would get the number, and what others print there
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    streams: Any = sys
    streams.stdout = GuardedStream(sys.stdout or open_nowhere(), refuse)
    streams.stderr = GuardedStream(sys.stderr or open_nowhere(), lambda error: None)


def refuse(error: OSError) -> NoReturn:
    """Say that stdout takes nothing; a closed pipe stays what it is: its reader has had enough.

    Raises:
        BrokenPipeError: a closed pipe.
        IvideoError: anything else.
    """
    if isinstance(error, BrokenPipeError):
        raise error
    raise IvideoError(f"cannot write to stdout: {error.strerror}") from error
