"""A full stdout is one line, a full stderr costs no work, and what is closed takes everything."""

from __future__ import annotations

import errno
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ivideo.cli.streams import GuardedStream, refuse
from ivideo.errors import IvideoError

ROOT = Path(__file__).parents[2]


class Full(io.StringIO):
    """Takes nothing, as a disk or a pipe may."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def write(self, text: str) -> int:
        raise OSError(self.number, os.strerror(self.number))


@pytest.mark.parametrize(
    ("number", "error", "message"),
    [
        (errno.ENOSPC, IvideoError, "cannot write to stdout: No space left on device"),
        (errno.EIO, IvideoError, "cannot write to stdout: Input/output error"),
        (errno.EPIPE, BrokenPipeError, "Broken pipe"),
    ],
)
def test_a_stdout_that_takes_nothing_is_told_at_every_write(number: int, error: Any, message: str) -> None:
    stream = GuardedStream(Full(number), refuse)
    stream.write("")  # click asks so whether it takes text
    for _ in range(2):
        with pytest.raises(error, match=message):
            stream.write("a cat")
    stream.flush()


def test_a_stderr_that_takes_nothing_keeps_quiet() -> None:
    stream = GuardedStream(Full(errno.ENOSPC), lambda error: None)
    assert stream.write("a cat") == 5
    stream.flush()


def test_what_can_be_written_is(capsys: pytest.CaptureFixture[str]) -> None:
    stream = GuardedStream(sys.stdout, refuse)
    assert (stream.write("a cat"), stream.isatty(), stream.encoding) == (5, False, sys.stdout.encoding)
    assert capsys.readouterr().out == "a cat"


@pytest.mark.parametrize(
    ("redirection", "code", "said"),
    [
        (">/dev/full", 1, "error: cannot write to stdout: No space left on device\n"),
        (">&- 2>&-", 0, ""),
    ],
)
def test_the_program_ends_in_good_order(redirection: str, code: int, said: str) -> None:
    words = ["bash", "-c", f"{sys.executable} -m ivideo --version {redirection}"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", said)
