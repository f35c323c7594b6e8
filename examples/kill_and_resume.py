"""Kill a training again and again and see that it comes out as if nothing had happened.

    python -m examples.kill_and_resume build/killed --times 100

A short training of the bundled model is done once without a break. The same is then started and killed (SIGKILL, which
no program can catch) at random moments, also while it generates clips, saves and evaluates, and gone on with by
`resume="auto"` until it is finished, as often as asked for. Adapters and metrics must be the same to the bit, and no
half-written file may be left. Prints a line a kill and exits with 1 if anything differs.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import signal
import sys
import time
from pathlib import Path

import ivideo

PROMPTS = ["a cat surfing", "a dog running", "a cow"]
SETTINGS = {
    "model": "emoji-world",
    "device": "cpu",  # runs are forked, which a GPU does not take; and only a CPU promises the same bits
    "num_frames": 4,
    "num_inference_steps": 2,
    "generation_num_inference_steps": 2,
    "num_grad_steps": 1,
    "max_steps": 8,
    "batch_size": 2,
    "strength": 0.5,
    "learning_rate": 0.01,
    "num_warmup_steps": 2,
    "lr_schedule": "cosine",
    "num_eval_prompts": 2,
    "eval_every": 4,
    "patience": 0,
    "min_motion": 0,
    "save_every": 1,
}
SAME = ("adapter/adapter_model.safetensors", "best/adapter_model.safetensors", "evaluations.jsonl")
WALL_CLOCK = "seconds"
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["ivideo.training.run", "ivideo.training.resume", "diffusers", "peft"])


def train(run: Path) -> None:
    """What is killed again and again, in a process of its own."""
    ivideo.finetune(PROMPTS, run, resume="auto", **SETTINGS)


def read_results(run: Path) -> dict[str, object]:
    """Everything of a finished run that must not depend on how often it was broken off."""
    metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    summary = json.loads((run / "summary.json").read_text())
    return {
        **{name: (run / name).read_bytes() for name in SAME},
        "metrics": [{**line, WALL_CLOCK: None} for line in metrics],
        "heldout": summary["heldout"],
        "chosen_step": summary["chosen_step"],
        "leftovers": [path.name for path in run.rglob(".ivideo-*")],
    }


def train_and_kill(run: Path, seconds: float | None) -> bool:
    """Train for so many seconds at most; gives whether it was killed."""
    process = PROCESSES.Process(target=train, args=(run,))
    process.start()
    process.join(seconds)
    process.kill()
    process.join()
    if process.exitcode not in (0, -signal.SIGKILL):
        sys.exit(f"{run} failed by itself, not by a kill")
    return process.exitcode != 0


def kill_until_finished(run: Path, moments: random.Random, duration: float, most: int) -> int:
    """Train a run to its end with at most so many kills; gives their number."""
    kills = 0
    while train_and_kill(run, moments.uniform(0.1, 1.1) * duration if kills < most else None):
        kills += 1
        print(f"{run.name}: killed with {len(list(run.glob('checkpoints/step_*')))} checkpoints", flush=True)
    return kills


def main() -> None:
    """Do it as often as asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="new folder for the runs")
    parser.add_argument("--times", type=int, default=100, help="kills")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True)
    train_and_kill(arguments.folder / "first", None)
    started = time.monotonic()
    train_and_kill(arguments.folder / "whole", None)
    duration = time.monotonic() - started
    print(f"without a break: {duration:.1f} s", flush=True)
    wanted, moments = read_results(arguments.folder / "whole"), random.Random(arguments.seed)
    kills = differing = number = 0
    while kills < arguments.times:
        run, number = arguments.folder / f"run_{number:03d}", number + 1
        kills += kill_until_finished(run, moments, duration, arguments.times - kills)
        wrong = [name for name, value in read_results(run).items() if value != wanted[name]]
        differing += bool(wrong)
        print(f"{run.name}: {'differs in ' + ', '.join(wrong) if wrong else 'the same'}; {kills} kills", flush=True)
    print(f"{kills} kills of {number} runs: {differing} differ")
    sys.exit(1 if differing else 0)


if __name__ == "__main__":
    main()
