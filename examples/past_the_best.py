"""Train past the best on purpose: where the guard stops, and what happens without it.

    python -m examples.past_the_best build/past_the_best

Trains the emoji world's model twice, from the same seed, with a learning rate that is too high and for more steps than
are good for it: once as `ivideo finetune` does by default, once with every rule of the guard switched off. The
classifier (examples/emoji_world/classifier), which no training sees, then looks at the held-out clips of each evaluated
step of the second run; until the guard stops, the first one is the same. Prints a row a step: held-out reward, that of
the second reward model, emoji-clip (`second`), motion, the share of subjects, motions and places that the classifier
recognises, and what the guard said. Stop it at any time: the same command goes on.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import ivideo
from examples.emoji_world.evaluate import open_classifier
from examples.emoji_world.evaluation.records import Classifier, measure_clips
from examples.emoji_world.evaluation.sources import collect_clips, model_source
from ivideo.cli.output import Reporter, print_table
from ivideo.config.merge import read_run_settings
from ivideo.config.settings import generation_settings
from ivideo.files.run_folder import RunFolder
from ivideo.inputs.adapters import find_adapter
from ivideo.inputs.prompts import read_prompts
from ivideo.models.devices import choose_device
from ivideo.progress import Progress
from ivideo.rewards.registry import load_rewards
from ivideo.training.checkpoints import checkpoint_path

PROMPTS = Path(__file__).parent / "prompts.txt"
UNGUARDED = {"patience": 0, "min_motion": 0.0, "min_judge": 0.0}
SEEN = {"subject": "subject_accuracy", "motion_seen": "motion_accuracy", "place": "place_accuracy"}
SECOND_REWARD = "emoji-clip"
COLUMNS = ("step", "reward", "second", "motion", *SEEN, "guard")


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, help="folder for both runs and the classifier's clips")
    parser.add_argument("--prompts", type=Path, default=PROMPTS, help="what is trained on (%(default)s)")
    parser.add_argument("--learning-rate", type=float, default=1e-2, help="%(default)s; the preset has 0.003")
    parser.add_argument("--max-steps", type=int, default=72, help="%(default)s; the preset has 30, of 8 clips")
    parser.add_argument("--eval-every", type=int, default=9, help="steps between evaluations (%(default)s)")
    parser.add_argument("--num-eval-prompts", type=int, default=28, help="that the classifier looks at (%(default)s)")
    parser.add_argument("--config", type=Path, help="TOML file of further settings of `ivideo finetune`")
    return parser.parse_args(arguments)


def train_both(arguments: argparse.Namespace, progress: Progress) -> tuple[RunFolder, RunFolder]:
    """Train with the guard and without it; a run that is there is gone on with, or left as it is."""
    settings = {
        "model": "emoji-world",
        "learning_rate": arguments.learning_rate,
        "lr_schedule": "constant",
        "batch_size": 4,
        "gradient_accumulation": 4,
        "max_steps": arguments.max_steps,
        "eval_every": arguments.eval_every,
        "num_eval_prompts": arguments.num_eval_prompts,
    }
    kept = {"keep_checkpoints": arguments.max_steps + 1}
    runs: list[Path] = []
    for name, rules in (("guarded", {}), ("unguarded", {**UNGUARDED, **kept})):
        folder = arguments.output / name
        progress.say(f"{name}: {folder}")
        runs.append(
            ivideo.finetune(
                read_prompts(arguments.prompts),
                folder,
                resume="auto",
                clips=runs[0] if runs else None,
                config=arguments.config,
                progress=progress,
                **settings,
                **rules,
            )
        )
    return RunFolder(runs[0]), RunFolder(runs[1])


def tabulate(
    guarded: RunFolder, unguarded: RunFolder, classifier: Classifier, cache: Path, progress: Progress
) -> list[dict[str, Any]]:
    """A row an evaluated step of the run without the guard, all on the same held-out clips' seeds."""
    settings = read_run_settings(unguarded)
    generation = generation_settings(settings)
    prompts = unguarded.heldout.read_text(encoding="utf-8").splitlines()
    wanted = [(prompt, settings.seed + index) for index, prompt in enumerate(prompts)]
    rewards = load_rewards((*settings.rewards[:1], SECOND_REWARD), choose_device(settings.device))
    summary, rows = read_summary(guarded), []
    for step in (evaluation["step"] for evaluation in read_summary(unguarded)["evaluations"]):
        adapter = find_adapter(checkpoint_path(unguarded, step)) if step else None
        clips = collect_clips(model_source(f"step {step}", generation, adapter), wanted, cache, progress)
        progress.start(f"measuring step {step}", len(clips))
        records = measure_clips(clips, prompts, rewards, classifier, generation, progress)
        rows.append({"step": step, **average([record.values for record in records]), "guard": describe(step, summary)})
    return rows


def average(values: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each value over the clips that have it."""
    names = {"reward": "reward", "second": "second_judge", "motion": "motion", **SEEN}
    found = {name: [one[key] for one in values if key in one] for name, key in names.items()}
    return {name: float(np.mean(numbers)) if numbers else float("nan") for name, numbers in found.items()}


def describe(step: int, summary: Mapping[str, Any]) -> str:
    """What the guard made of a step."""
    words = ["chosen"] if step == summary["chosen_step"] else []
    if summary["stop_reason"] and step >= summary["num_steps"]:
        words.append("stops here" if step == summary["num_steps"] else "not reached")
    return ", ".join(words)


def read_summary(run: RunFolder) -> dict[str, Any]:
    """What a finished run says of itself."""
    summary: dict[str, Any] = json.loads(run.summary.read_text(encoding="utf-8"))
    return summary


def main(arguments: Sequence[str] | None = None, classifier: Classifier | None = None) -> None:
    """Run the command.

    Args:
        arguments: instead of the command line's.
        classifier: instead of the bundled one.
    """
    parsed = parse_arguments(arguments)
    with Reporter(quiet=False) as reporter:
        try:
            guarded, unguarded = train_both(parsed, reporter)
            rows = tabulate(guarded, unguarded, classifier or open_classifier(), parsed.output / "clips", reporter)
        except ivideo.IvideoError as error:
            reporter.say(f"error: {' '.join(str(error).split())}")
            sys.exit(error.exit_code)
    print_table(COLUMNS, rows)
    summary = read_summary(guarded)
    print(f"\nguard: {summary['stop_reason'] or 'no reason to stop'}; chosen: step {summary['chosen_step']}")


if __name__ == "__main__":
    main()
