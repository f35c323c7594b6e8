"""Kill a training again and again and see that it comes out as if nothing had happened.

    python -m examples.kill_and_resume build/killed --times 100

A short training of the bundled model is done once without a break. The same is then started and killed (SIGKILL, which
no program can catch) at random moments, also while it generates clips, saves and evaluates, and gone on with by
`--resume auto` until it is finished, as often as asked for. Adapters and metrics must be the same to the bit, and no
half-written file may be left. Prints a line a kill and exits with 1 if anything differs.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import time
from pathlib import Path

PROMPTS = "a cat surfing\na dog running\na cow\n"
SETTINGS = {
    "model": "emoji-world",
    "num_frames": 4,
    "num_inference_steps": 2,
    "generation_num_inference_steps": 2,
    "num_grad_steps": 1,
    "max_steps": 12,
    "batch_size": 2,
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


def command(prompts: Path, run: Path) -> list[str]:
    """What is run again and again."""
    flags = [word for name, value in SETTINGS.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    return [sys.executable, "-m", "ivideo", "finetune", str(prompts), *flags, "--output", str(run), "--resume", "auto"]


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


def run_and_kill(words: list[str], seconds: float) -> int:
    """Let a command run for that long, then kill it; gives its exit code, 0 if it was done before, -9 if killed."""
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        _, errors = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return -9
    if process.returncode:
        sys.exit(f"it failed by itself: {errors.splitlines()[-1] if errors else process.returncode}")
    return 0


def main() -> None:
    """Do it as often as asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="new folder for the runs")
    parser.add_argument("--times", type=int, default=100, help="kills")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True)
    prompts = arguments.folder / "prompts.txt"
    prompts.write_text(PROMPTS)
    whole = arguments.folder / "whole"
    started = time.monotonic()
    subprocess.run(command(prompts, whole), check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    duration = time.monotonic() - started
    wanted, moments = read_results(whole), random.Random(arguments.seed)
    print(f"without a break: {duration:.0f} s", flush=True)
    kills = differing = number = 0
    while kills < arguments.times:
        run, own_kills = arguments.folder / f"run_{number:03d}", 0
        while run_and_kill(
            command(prompts, run), moments.uniform(0.3, 1) * duration if kills < arguments.times else 1e9
        ):
            kills, own_kills = kills + 1, own_kills + 1
            print(f"kill {kills}: {run.name}, {len(list(run.glob('checkpoints/step_*')))} checkpoints", flush=True)
        found, number = read_results(run), number + 1
        wrong = [name for name, value in found.items() if value != wanted[name]]
        differing += bool(wrong)
        print(f"{run.name}: {own_kills} kills, {'differs in ' + ', '.join(wrong) if wrong else 'the same'}", flush=True)
    print(f"{kills} kills of {number} runs: {differing} differ")
    sys.exit(1 if differing else 0)


if __name__ == "__main__":
    main()
