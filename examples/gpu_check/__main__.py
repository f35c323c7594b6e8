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
import sys
import time
from pathlib import Path

import torch

from examples.gpu_check.parts import BY_NAME, PARTS
from examples.gpu_check.results import Results, describe_machine
from examples.gpu_check.runner import GRACE_SECONDS, measure_part, run_part, start_processes
from ivideo.errors import UsageError
from ivideo.models.devices import choose_device

SECONDS = 480


def run_check(arguments: argparse.Namespace) -> int:
    """Run the parts one after the other; gives the exit code, 0 if each was done."""
    device = torch.device(arguments.device)
    parts = [BY_NAME[name] for name in arguments.parts.split(",")]
    arguments.folder.mkdir(parents=True, exist_ok=True)
    results = Results(arguments.folder)
    machine = describe_machine(device, arguments.size, arguments.commit, arguments.note)
    results.begin(machine, [part.name for part in parts])
    context = start_processes(is_forked=arguments.fork)
    deadline = time.monotonic() + arguments.seconds
    for index, part in enumerate(parts):
        left = deadline - time.monotonic() - GRACE_SECONDS
        seconds = left * part.share / sum(later.share for later in parts[index:])
        if seconds < 1:
            results.update(part.name, state="no time left")
        else:
            own = (part.name, arguments.folder, arguments.device, arguments.size, seconds)
            run_part(context, part, seconds, arguments.folder, measure_part, *own)
    print(results.path)
    return 0 if all(part["state"] == "done" for part in results.read()["parts"].values()) else 1


def parse_arguments() -> argparse.Namespace:
    """The command line."""
    names = [part.name for part in PARTS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="OUT", help="folder for gpu_check.json and the logs")
    parser.add_argument("--parts", default=",".join(names), help=f"of {','.join(names)}; default: all")
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"for all together; default: {SECONDS}")
    parser.add_argument("--device", default="auto", help="cuda, cuda:1, cpu; default: cuda where it is there")
    parser.add_argument("--size", choices=("full", "small"), help="default: full on a GPU, small on a CPU")
    fork = {"action": argparse.BooleanOptionalAction, "help": "parts are forked off one process; default: on a CPU"}
    parser.add_argument("--fork", **fork)
    parser.add_argument("--commit", help="of the code, where its repository is not there to ask")
    parser.add_argument("--note", help="what a reader must know besides, such as other work on the machine")
    arguments = parser.parse_args()
    if unknown := set(arguments.parts.split(",")) - set(names):
        parser.error(f"unknown parts: {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    try:
        arguments.device = str(choose_device(arguments.device))
    except UsageError as error:
        parser.error(str(error))
    if arguments.fork is None:
        arguments.fork = arguments.device == "cpu"
    arguments.size = arguments.size or ("small" if arguments.device == "cpu" else "full")
    return arguments


def main() -> None:
    """Run the check."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    sys.exit(run_check(parse_arguments()))


if __name__ == "__main__":
    main()
