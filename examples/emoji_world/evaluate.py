"""Measures the bundled model and fine-tuning runs of it: reward, what a classifier sees in clips, motion, diversity.

    python -m examples.emoji_world.evaluate runs/mine --format table

Each RUN is the folder of an `ivideo finetune` or of a PEFT adapter. Base and runs make the same prompts from the same
noise; several runs are also pooled (`pooled`: per-prompt means over the runs). The report goes to stdout, progress to
stderr. Clips are kept under --cache: stop it at any time, and a later call makes only what is new.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from ivideo.cli.output import Reporter, format_seconds, print_json
from ivideo.config.settings import GenerationSettings, Settings
from ivideo.errors import IvideoError, UsageError
from ivideo.inputs.adapters import Adapter, find_adapter
from ivideo.inputs.prompts import read_prompts
from ivideo.inputs.settings import resolve_settings
from ivideo.models.devices import choose_device, choose_dtype
from ivideo.progress import Progress, Silence
from ivideo.rewards.mixture import Rewards
from ivideo.rewards.registry import load_rewards

from .captions import all_scenes
from .evaluation.records import Classifier, ClipRecord, measure_clips
from .evaluation.report import describe_split
from .evaluation.sources import Source, Wanted, clean_source, collect_clips, model_source, round_trip_source
from .evaluation.table import print_report
from .write_splits import ROOT, path_of

SCHEMA_VERSION = 1
MODEL = "emoji-world"
SPLITS = ("heldout", "new_animals", "things")
WORLD, NUM_WORLD_PROMPTS = "world", 300  # a split that is drawn, not kept: captions of all scenes
CACHE = ROOT / "build" / "emoji_world" / "evaluation"
SEEDS_A_PROMPT = 1000  # room between the seeds of one prompt and those of the next


def plan_clips(prompts: Sequence[str], num_seeds: int, seed: int) -> list[Wanted]:
    """Prompts and seeds of a split's clips: no seed twice, and more seeds or prompts leave the others alone.

    Raises:
        UsageError: a number of seeds that cannot be.
    """
    if not 1 <= num_seeds <= SEEDS_A_PROMPT:
        raise UsageError(f"--num-seeds {num_seeds}: from 1 to {SEEDS_A_PROMPT}")
    return [(prompt, seed + SEEDS_A_PROMPT * i + j) for i, prompt in enumerate(prompts) for j in range(num_seeds)]


def read_splits(names: Sequence[str], max_prompts: int | None) -> dict[str, list[str]]:
    """The prompts of each split, or the first of them; those of "world" are drawn evenly over all scenes.

    Raises:
        UsageError: fewer than one prompt.
    """
    if max_prompts is not None and max_prompts < 1:
        raise UsageError(f"--max-prompts {max_prompts}: at least 1")
    return {name: (draw_captions() if name == WORLD else read_prompts(path_of(name)))[:max_prompts] for name in names}


def draw_captions(count: int = NUM_WORLD_PROMPTS) -> list[str]:
    """Captions of different scenes, the same ones at each call."""
    scenes = all_scenes()
    return [scenes[i].caption() for i in np.random.default_rng(0).permutation(len(scenes))[:count]]


def find_runs(names: Sequence[str]) -> dict[str, Adapter]:
    """The adapter of each run, by the name that it was asked for.

    Raises:
        IvideoError: no run, or one of another model.
    """
    runs = {name: find_adapter(Path(name)) for name in names}
    for name, adapter in runs.items():
        model = adapter.defaults.get("model", MODEL)
        if model != MODEL:
            raise IvideoError(f"run {name} was trained on {model}; this evaluates runs of {MODEL}")
    return runs


@dataclass(frozen=True)
class Sources:
    """Everything that is measured; `runs` in the order in which they were asked for."""

    clean: Source
    round_trip: Source
    base: Source
    runs: Sequence[Source] = ()


def evaluate(
    plans: Mapping[str, Sequence[Wanted]],
    sources: Sources,
    settings: Settings,
    *,
    rewards: Rewards,
    classifier: Classifier,
    cache: Path,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Measure every source on each split.

    Args:
        plans: prompts and seeds of each split's clips.
        sources: make the clips.
        settings: of the reward.
        rewards: the first one counts.
        classifier: gives accuracies and features.
        cache: where clips are kept.
        progress: is told what happens.

    Returns:
        The numbers of each split (`describe_split`).

    Raises:
        IvideoError: a clip cannot be made, kept or read.
    """
    progress = progress or Silence()
    wanted = [clip for plan in plans.values() for clip in plan]

    def measure(source: Source) -> dict[str, list[ClipRecord]]:
        """The records of each split."""
        clips = collect_clips(source, wanted, cache, progress)
        progress.start(f"measuring {source.name}", len(clips))
        records = iter(measure_clips(clips, [prompt for prompt, _ in wanted], rewards, classifier, settings, progress))
        return {name: list(islice(records, len(plan))) for name, plan in plans.items()}

    clean, round_trip = measure(sources.clean), measure(sources.round_trip)
    runs = {run.name: measure(run) for run in sources.runs}  # before the base: a run that does not fit shows at once
    base = measure(sources.base)
    return {
        name: describe_split(
            clean[name], round_trip[name], base[name], {run: records[name] for run, records in runs.items()}
        )
        for name in plans
    }


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", metavar="RUN", help="run or adapter folder; none: the base only")
    parser.add_argument("--format", choices=("json", "table"), default="table")
    parser.add_argument(
        "--splits",
        nargs="+",
        choices=(*SPLITS, WORLD),
        default=SPLITS,
        help=f"default: {' '.join(SPLITS)}; {WORLD}: {NUM_WORLD_PROMPTS} captions drawn from all of them",
    )
    parser.add_argument("--max-prompts", type=int, metavar="N", help="only the first prompts of each split")
    parser.add_argument("--num-seeds", type=int, default=2, help="clips a prompt")
    parser.add_argument("--num-inference-steps", type=int, help="default: the model's own")
    parser.add_argument("--seed", type=int, default=0, help="of the noise and of the renders")
    parser.add_argument("--cache", type=Path, default=CACHE, help="where clips are kept (%(default)s)")
    return parser.parse_args(arguments)


def run_command(arguments: argparse.Namespace, classifier: Classifier | None, progress: Progress) -> dict[str, Any]:
    """The whole report.

    Raises:
        IvideoError: bad input.
    """
    flags = {"model": MODEL, "num_inference_steps": arguments.num_inference_steps, "seed": arguments.seed}
    settings = resolve_settings(GenerationSettings, config=None, flags=flags, progress=progress)
    splits = read_splits(arguments.splits, arguments.max_prompts)
    plans = {name: plan_clips(prompts, arguments.num_seeds, settings.seed) for name, prompts in splits.items()}
    runs = find_runs(arguments.runs)
    device = choose_device(settings.device)
    rewards = load_rewards(settings.rewards, device)
    sources = Sources(
        clean=clean_source(),
        round_trip=round_trip_source(settings.model),
        base=model_source("base", settings),
        runs=[model_source(name, settings, adapter) for name, adapter in runs.items()],
    )
    shown = settings.model_dump(include={"model", "num_inference_steps", "guidance_scale", "seed"})
    return {
        "schema_version": SCHEMA_VERSION,
        "settings": {
            **shown,
            "model_key": sources.base.key,
            "reward": rewards.label,
            "dtype": str(choose_dtype(settings.dtype, device)).removeprefix("torch."),
            "num_seeds": arguments.num_seeds,
            "max_prompts": arguments.max_prompts,
            "runs": [*runs],
        },
        "splits": evaluate(
            plans,
            sources,
            settings,
            rewards=rewards,
            classifier=classifier or open_classifier(),
            cache=arguments.cache,
            progress=progress,
        ),
    }


def open_classifier() -> Classifier:
    """The bundled classifier.

    Raises:
        IvideoError: it has no weights.
    """
    from .classifier import load_classifier

    try:
        return load_classifier()
    except FileNotFoundError as error:
        raise IvideoError(str(error)) from None


def main(arguments: Sequence[str] | None = None, classifier: Classifier | None = None) -> None:
    """Run the command.

    Args:
        arguments: instead of the command line's.
        classifier: instead of the bundled one.
    """
    parsed = parse_arguments(arguments)
    started = time.monotonic()
    with Reporter(quiet=False) as reporter:
        try:
            result = run_command(parsed, classifier, reporter)
        except IvideoError as error:
            reporter.say(f"error: {' '.join(str(error).split())}")
            sys.exit(error.exit_code)
        reporter.say(f"evaluated in {format_seconds(time.monotonic() - started)}")
    if parsed.format == "json":
        print_json(result, indent=2)
    else:
        print_report(result)


if __name__ == "__main__":
    main()
