"""The README's first command on the device, killed and resumed, and what the other commands make of its adapter."""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from examples.gpu_check.check import Check
from examples.gpu_check.runner import start_processes
from ivideo.files.run_folder import RunFolder

ROOT = Path(__file__).resolve().parents[2]
PROMPTS = ROOT / "examples" / "prompts.txt"
CLIP = "--num-frames 4 --num-inference-steps 2".split()
SMALL = [*CLIP, *"--generation-num-inference-steps 2 --num-grad-steps 1 --batch-size 2 --max-steps 2".split()]
SMALL += "--num-eval-prompts 2 --num-watched-prompts 2 --eval-every 2".split()
NUM_STEPS, KILL_AFTER = 4, 2  # of the training that is killed
POLL_SECONDS = 0.05


class CommandFailed(Exception):
    """A command that should have worked did not; carries the end of what it said."""


def measure(check: Check) -> None:
    """All of it, in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="gpu-check-") as name:
        folder = Path(name)
        prompts = write_prompts(check, folder)
        check.measure("finetune", {}, partial(train, check, prompts, folder / "run"))
        check.measure("killed and resumed", {}, partial(kill_and_resume, check, prompts, folder))
        check.measure("generate and score", {}, partial(generate_and_score, check, folder))
        check.measure("compare", {}, partial(compare, check, folder))


def write_prompts(check: Check, folder: Path) -> Path:
    """The prompts of the first command; in small the first three of them."""
    prompts = PROMPTS.read_text(encoding="utf-8").splitlines()
    path = folder / "prompts.txt"
    path.write_text("\n".join(prompts[: 3 if check.is_small else None]) + "\n", encoding="utf-8")
    return path


def run_ivideo(check: Check, words: Sequence[object], *, kill_in: RunFolder | None = None) -> tuple[str, float]:
    """Run `ivideo`; gives what it printed and its seconds.

    Args:
        check: says on which device; the command's stderr goes to the part's log.
        words: arguments; those of small clips are added.
        kill_in: a run that SIGTERM is sent to once it has logged KILL_AFTER steps.

    Raises:
        CommandFailed: it did.
    """
    print("$ ivideo", *words, file=sys.stderr, flush=True)
    started = time.monotonic()
    with tempfile.NamedTemporaryFile("w+", encoding="utf-8") as printed:
        # On a CPU off a process that has imported everything: the rehearsal's eight commands would import for a minute.
        context = start_processes(is_forked=check.device.type == "cpu")
        process = context.Process(target=be_ivideo, args=([*map(str, words)], Path(printed.name)))
        process.start()
        if kill_in is not None:
            while process.is_alive() and count_steps(kill_in) < KILL_AFTER:
                time.sleep(POLL_SECONDS)
            process.terminate()
        process.join()
        wanted = 128 + signal.SIGTERM if kill_in is not None else 0
        if process.exitcode != wanted:
            raise CommandFailed(f"ivideo {words[0]} ended with {process.exitcode}, not {wanted}")
        return printed.read(), time.monotonic() - started


def be_ivideo(words: list[str], output: Path) -> None:
    """What a command's process does; its stdout goes to a file."""
    from ivideo.cli.app import main

    with output.open("w", encoding="utf-8") as file:
        os.dup2(file.fileno(), 1)
    os.chdir(ROOT)
    sys.argv = ["ivideo", *words]
    main()


def count_steps(run: RunFolder) -> int:
    """Steps that a run has logged so far."""
    return run.metrics.read_bytes().count(b"\n") if run.metrics.is_file() else 0


def train(check: Check, prompts: Path, run: Path) -> dict[str, Any]:
    """Train with the held-out evaluation; seconds, memory and gain."""
    words = ["finetune", prompts, "--model", "emoji-world", "--device", check.device, "--profile", "--output", run]
    _, seconds = run_ivideo(check, [*words, *(SMALL if check.is_small else [])])
    summary = json.loads(RunFolder(run).summary.read_text(encoding="utf-8"))
    reward, motion = summary["heldout"]["reward"], summary["heldout"]["motion"]
    peak = summary["profile"]["peak_gpu_memory"]
    for phase, spent in summary["profile"]["seconds"].items():
        check.add("its phases", phase=phase, seconds=spent, share=summary["profile"]["shares"][phase])
    return {
        "seconds": seconds,
        "steps": summary["num_steps"],
        "prompts": reward["n"],
        "before": reward["mean_a"],
        "after": reward["mean_b"],
        "change": reward["difference"],
        "low": reward["ci_low"],
        "high": reward["ci_high"],
        "motion": motion["difference"],
        "peak_gib": peak / 2**30 if peak else None,
    }


def kill_and_resume(check: Check, prompts: Path, folder: Path) -> dict[str, Any]:
    """Trainings without a break, and one that is killed and resumed: how far apart their adapters are.

    Where two without a break differ, the device does not repeat itself, and the killed one cannot be expected to. The
    rehearsal has one only: a CPU does.
    """
    own = ["--model", "emoji-world", "--device", check.device, "--no-eval", "--clips", folder / "run"]
    own += [*(SMALL if check.is_small else []), "--max-steps", NUM_STEPS, "--save-every", 1]
    names = ("whole", "killed") if check.is_small else ("whole", "again", "killed")
    for name in names:
        run = RunFolder(folder / name)
        run_ivideo(check, ["finetune", prompts, *own, "--output", run.root], kill_in=run if name == "killed" else None)
    stopped_after = count_steps(RunFolder(folder / "killed"))
    run_ivideo(check, ["finetune", "--resume", folder / "killed"])
    adapters = {name: load_adapter(folder / name) for name in names}
    whole = adapters.pop("whole")
    return {
        "killed after": stopped_after,
        **{f"{name}: bit-equal": are_equal(whole, adapter) for name, adapter in adapters.items()},
        **{f"{name}: distance": find_distance(whole, adapter) for name, adapter in adapters.items()},
    }


def load_adapter(run: Path) -> dict[str, Any]:
    """The last step's weights."""
    return load_file(RunFolder(run).adapter / "adapter_model.safetensors")


def are_equal(a: dict[str, Any], b: dict[str, Any]) -> bool:
    """Whether two adapters are the same to the bit."""
    return a.keys() == b.keys() and all(bool((a[name] == b[name]).all()) for name in a)


def find_distance(a: dict[str, Any], b: dict[str, Any]) -> float:
    """||a - b|| / ||a|| over all weights."""
    differing = sum(float((a[name] - b[name]).double().square().sum()) for name in a)
    return float((differing / sum(float(weight.double().square().sum()) for weight in a.values())) ** 0.5)


def generate_and_score(check: Check, folder: Path) -> dict[str, Any]:
    """A video with the adapter, and its score."""
    words = ["generate", "a cat surfing on a wave", "--lora", folder / "run", "--output", folder / "videos"]
    printed, seconds = run_ivideo(check, [*words, "--device", check.device, *(CLIP if check.is_small else [])])
    video = Path(printed.strip())
    records, score_seconds = run_ivideo(check, ["score", video, "--device", check.device, "--format", "json"])
    (record,) = json.loads(records)
    return {
        "generate seconds": seconds,
        "score seconds": score_seconds,
        "kind": video.suffix,
        "reward": record["reward"],
        "motion": record["motion"],
    }


def compare(check: Check, folder: Path) -> dict[str, Any]:
    """Base against adapter on two prompts."""
    (folder / "two.txt").write_text("a cat surfing on a wave\nan owl flying at night\n", encoding="utf-8")
    words = ["compare", "base", folder / "run", "--prompts", folder / "two.txt", "--device", check.device]
    words += ["--output", folder / "compared", "--format", "json", *(CLIP if check.is_small else [])]
    _, seconds = run_ivideo(check, words)
    results = json.loads((folder / "compared" / "results.json").read_text(encoding="utf-8"))
    change = next(one["difference"] for one in results["comparisons"] if one["metric"] == "reward")
    return {"seconds": seconds, "change of the reward": change}
