"""Parts in processes of their own: each has a log, a time limit, and an end that is noted."""

from __future__ import annotations

import multiprocessing
import multiprocessing.context
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from examples.gpu_check.check import Check
from examples.gpu_check.parts import BY_NAME, Part
from examples.gpu_check.results import Results, print_table
from ivideo.models.devices import choose_device

GRACE_SECONDS = 5.0  # between asking a part to end and ending it
PRELOAD = ["examples.gpu_check.preload"]


def start_processes(is_forked: bool) -> multiprocessing.context.BaseContext:
    """How parts get processes of their own.

    Args:
        is_forked: off one that has imported what they need, which saves each the time for it. Not where they use a GPU:
            diffusers asks for one when it is imported, and what is forked after that may not use any.
    """
    context = multiprocessing.get_context("forkserver" if is_forked else "spawn")
    if is_forked:
        context.set_forkserver_preload(PRELOAD)
    return context


def run_part(
    context: multiprocessing.context.BaseContext,
    part: Part,
    seconds: float,
    folder: Path,
    work: Callable[..., object],
    *arguments: object,
) -> None:
    """Run one part in a process of its own, and note how it ended.

    Args:
        context: see `start_processes`.
        part: which one.
        seconds: after which it is ended.
        folder: has the results; its log goes there.
        work: what works on it and adds rows to the results.
        arguments: of `work`.
    """
    results, log = Results(folder), folder / f"{part.name}.log"
    print(f"{part.name}: {part.title} (at most {seconds:.0f} s)", file=sys.stderr, flush=True)
    results.update(part.name, state="cut off")  # unless it says otherwise
    started = time.monotonic()
    process = context.Process(target=be_alone, args=(log, work, *arguments))
    process.start()
    try:
        process.join(seconds)
        is_late = process.is_alive()
    finally:
        end_group(process)
    spent = round(time.monotonic() - started, 1)
    if is_late:
        results.update(part.name, state="out of time", seconds=spent, why=f"ended after {seconds:.0f} s")
    elif process.exitcode:
        results.update(part.name, state="failed", seconds=spent, why=describe_end(process.exitcode, log))
    else:
        results.update(part.name, state="done", seconds=spent)
    show_part(results.read()["parts"][part.name])


def be_alone(log: Path, work: Callable[..., object], *arguments: object) -> None:
    """Be a part's process: lead a group, so that all of it can be ended, and write to the log."""
    os.setsid()
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    for standard in (1, 2):
        os.dup2(descriptor, standard)
    work(*arguments)


def measure_part(name: str, folder: Path, device: str, size: str, seconds: float) -> None:
    """What a part's process does."""
    deadline = time.monotonic() + seconds
    check = Check(name, choose_device(device), size == "small", deadline, Results(folder))
    BY_NAME[name].load()(check)
    if check.num_failed:
        sys.exit(f"{check.num_failed} measurements failed: see their notes")


def end_group(process: multiprocessing.process.BaseProcess) -> None:
    """End a process and all that it started; first kindly."""
    assert process.pid is not None
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        process.join(GRACE_SECONDS)
    process.join()


def describe_end(code: int, log: Path) -> str:
    """Why a part failed: its signal, or the last line of its log."""
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1][:300] if lines else f"exit code {code}"


def show_part(part: dict[str, Any]) -> None:
    """A part that has ended, for people: its tables, then how it ended."""
    for title, rows in part["tables"].items():
        print(f"  {title}", file=sys.stderr)
        print_table(rows)
    print(f"  {part['state']}, {part['seconds']:.0f} s {part.get('why', '')}", file=sys.stderr, flush=True)
