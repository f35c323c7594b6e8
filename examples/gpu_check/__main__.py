"""Measure ivideo on the GPU of this machine: right, how fast, in how much memory. Offline, in minutes.

    python -m examples.gpu_check OUT                                   # every part, 8 minutes at most
    python -m examples.gpu_check OUT --parts numerics,step_cost --seconds 200
    python -m examples.gpu_check OUT --device cpu                      # the rehearsal, in small

Each part runs in a process of its own with a time limit of its own, so that a crash or memory that runs out costs that
part only. OUT gets gpu_check.json, which is written as results come, and a log a part. Large networks have random
weights. `examples/guides/gpu.md` says more; `python -m examples.gpu_check.page` makes it from results that were kept.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from examples.gpu_check.check import Check
from examples.gpu_check.parts import BY_NAME, PARTS, Part
from examples.gpu_check.results import Results, describe_machine, print_table
from ivideo.models.registry import choose_device

SECONDS = 480
GRACE_SECONDS = 5.0  # between asking a part to end and ending it


def run_part(part: Part, command: Sequence[str], folder: Path, seconds: float) -> None:
    """Run the command of one part in a process of its own, and note how it ended.

    Args:
        part: which one.
        command: what works on it and adds rows to the results.
        folder: has the results; its log goes there.
        seconds: after which it is ended.
    """
    results, log = Results(folder), folder / f"{part.name}.log"
    print(f"{part.name}: {part.title} (at most {seconds:.0f} s)", file=sys.stderr, flush=True)
    results.update(part.name, state="cut off")  # unless it says otherwise
    started = time.monotonic()
    with log.open("w", encoding="utf-8") as sink:
        child = subprocess.Popen(command, stdout=sink, stderr=sink, stdin=subprocess.DEVNULL, start_new_session=True)
        try:
            code = child.wait(seconds)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            end_group(child)
    spent = round(time.monotonic() - started, 1)
    if code is None:
        results.update(part.name, state="out of time", seconds=spent, why=f"ended after {seconds:.0f} s")
    elif code:
        results.update(part.name, state="failed", seconds=spent, why=describe_end(code, log))
    else:
        results.update(part.name, state="done", seconds=spent)
    show_part(results.read()["parts"][part.name])


def show_part(part: dict[str, Any]) -> None:
    """A part that has ended, for people: its tables, then how it ended."""
    for title, rows in part["tables"].items():
        print(f"  {title}", file=sys.stderr)
        print_table(rows)
    print(f"  {part['state']}, {part['seconds']:.0f} s {part.get('why', '')}", file=sys.stderr, flush=True)


def end_group(child: subprocess.Popen[bytes]) -> None:
    """End a process and all that it started; first kindly."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(child.pid, number)
        except ProcessLookupError:
            break
        try:
            child.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            continue
    child.wait()


def describe_end(code: int, log: Path) -> str:
    """Why a part failed: its signal, or the last line of its log."""
    if code < 0:
        return f"killed by {signal.Signals(-code).name}"
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1][:300] if lines else f"exit code {code}"


def run_check(arguments: argparse.Namespace) -> int:
    """Run the parts one after the other; gives the exit code."""
    device = choose_device(arguments.device)
    parts = [BY_NAME[name] for name in arguments.parts.split(",")]
    arguments.folder.mkdir(parents=True, exist_ok=True)
    results = Results(arguments.folder)
    results.begin(describe_machine(device, arguments.size, arguments.commit), [part.name for part in parts])
    deadline = time.monotonic() + arguments.seconds
    for index, part in enumerate(parts):
        left = deadline - time.monotonic() - GRACE_SECONDS
        seconds = left * part.share / sum(later.share for later in parts[index:])
        if seconds < 1:
            results.update(part.name, state="no time left")
        else:
            command = [sys.executable, "-m", "examples.gpu_check", str(arguments.folder), "--only", part.name]
            command += ["--device", arguments.device, "--size", arguments.size, "--seconds", f"{seconds:.0f}"]
            run_part(part, command, arguments.folder, seconds)
    print(results.path)
    return 1 if any(part["state"] == "failed" for part in results.read()["parts"].values()) else 0


def work_alone(arguments: argparse.Namespace) -> None:
    """Be the process of one part."""
    deadline = time.monotonic() + arguments.seconds
    device = choose_device(arguments.device)
    check = Check(arguments.only, device, arguments.size == "small", deadline, Results(arguments.folder))
    BY_NAME[arguments.only].load()(check)
    if check.num_failed:
        sys.exit(f"{check.num_failed} measurements failed: see their notes")


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    names = [part.name for part in PARTS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="OUT", help="folder for gpu_check.json and the logs")
    parser.add_argument("--parts", default=",".join(names), help=f"of {','.join(names)}; default: all")
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"for all together; default: {SECONDS}")
    parser.add_argument("--device", default="auto", help="cuda, cuda:1, cpu; default: cuda where it is there")
    parser.add_argument("--size", choices=("full", "small"), help="default: full on a GPU, small on a CPU")
    parser.add_argument("--commit", help="of the code, where its repository is not there to ask")
    parser.add_argument("--only", choices=names, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if unknown := set(arguments.parts.split(",")) - set(names):
        parser.error(f"unknown parts: {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    if arguments.device == "auto":
        arguments.device = "cuda" if torch.cuda.is_available() else "cpu"
    arguments.size = arguments.size or ("small" if arguments.device == "cpu" else "full")
    return arguments


def main() -> None:
    """Run the check, or one part of it."""
    arguments = parse_arguments()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    if arguments.only:
        work_alone(arguments)
    else:
        sys.exit(run_check(arguments))


if __name__ == "__main__":
    main()
