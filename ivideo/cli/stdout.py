"""Stdout for data alone: whatever else a command's libraries and functions print there goes to stderr."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

_data: TextIO | None = None


def data() -> TextIO:
    """Where data goes: stdout, also where `keep_stdout` keeps others away from it."""
    return _data or sys.stdout


@contextmanager
def keep_stdout() -> Iterator[None]:
    """Leave stdout to `data`: what else is printed, by functions of the user's own or libraries, goes to stderr.

    So does what C code writes, where stdout is a file of the system's.
    """
    global _data
    before, own = _data, sys.stdout or open(os.devnull, "w")  # a closed one takes nothing
    numbers = [_number_of(stream) for stream in (own, sys.stderr)]
    copy = None if None in numbers else os.dup(numbers[0])
    _data = own
    sys.stdout = sys.stderr
    try:
        if copy is not None:
            own.flush()
            os.dup2(numbers[1], numbers[0])
            _data = os.fdopen(copy, "w", encoding=own.encoding, errors=own.errors)
        yield
        _data.flush()
    finally:
        sys.stdout = own
        if copy is not None:
            with suppress(OSError, TypeError):  # what C's own buffer holds; Windows has no such library
                ctypes.CDLL(None).fflush(None)
            os.dup2(copy, numbers[0])
            with suppress(OSError):  # what could not be written was told
                _data.close()
        _data = before


def _number_of(stream: TextIO | None) -> Any:
    """Its number for the system; None for what has none: a closed one, a stand-in in tests."""
    try:
        return stream.fileno() if stream else None
    except OSError:
        return None
