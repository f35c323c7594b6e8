"""Runs a command as a child and writes down what it cost."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ivideo.errors import Interrupted, IvideoError
from ivideo.files.atomic import prepare_folder
from ivideo.files.records import JsonLines, read_json_lines

POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Cost:
    """What one launch of a command took; a run that was broken off and gone on with has several.

    Attributes:
        wall_seconds: on the clock, start-up included.
        processor_seconds: of all its threads.
        peak_memory: the most resident memory at any time, bytes.
    """

    wall_seconds: float
    processor_seconds: float
    peak_memory: int


def launch(words: Sequence[str], costs: Path) -> None:
    """Run `python -m WORDS`; its cost is a line more in a file, also where it fails.

    Raises:
        IvideoError: it failed; it has said why on stderr.
        Interrupted: a signal stopped it.
    """
    started = time.monotonic()
    # stdout of the child is data for nobody here.
    child = subprocess.Popen([sys.executable, "-m", *words], stdout=subprocess.DEVNULL)
    status, usage, peak = watch(child.pid)
    child.returncode = code = os.waitstatus_to_exitcode(status)
    cost = Cost(time.monotonic() - started, usage.ru_utime + usage.ru_stime, peak)
    prepare_folder(costs.parent)
    with JsonLines(costs) as lines:
        lines.write({**asdict(cost), "exit_code": code})
    if code in (-2, -15, 130, 143):
        raise Interrupted("interrupted; the same command goes on", -code if code < 0 else code - 128)
    if code:
        raise IvideoError(f"`{' '.join(words)}` failed with exit code {code}")


def watch(pid: int) -> tuple[int, resource.struct_rusage, int]:
    """Wait for a child; gives its status, what it used, and its peak memory in bytes.

    The peak that `wait4` tells counts this process's memory, too: the child is a copy of it for a moment. Where there
    is a /proc, the child's own is read while it runs.
    """
    peak = 0
    while True:
        try:
            found, status, usage = os.wait4(pid, os.WNOHANG)
            if found:
                return status, usage, peak or usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
            peak = max(peak, read_peak(pid))
            time.sleep(POLL_SECONDS)
        except KeyboardInterrupt:  # the child got it too, and saves
            continue


def read_peak(pid: int) -> int:
    """The most memory that a running process had resident so far, bytes; 0 where that cannot be read."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)


def add_up(costs: Path) -> Cost:
    """All launches of a command together.

    Raises:
        IvideoError: none was written down.
    """
    lines = read_json_lines(costs)
    if not lines:
        raise IvideoError(f"{costs} is missing: what the command cost is not known")
    return Cost(
        wall_seconds=sum(line["wall_seconds"] for line in lines),
        processor_seconds=sum(line["processor_seconds"] for line in lines),
        peak_memory=max(line["peak_memory"] for line in lines),
    )
