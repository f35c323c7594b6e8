"""One training of the study: its command, and what is measured on it when it is done."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from examples.emoji_world.evaluate import plan_clips
from examples.emoji_world.evaluation.records import Classifier, ClipRecord, measure_clips
from examples.emoji_world.evaluation.report import Values, prompt_values
from examples.emoji_world.evaluation.sources import Wanted, collect_clips, model_source
from examples.emoji_world.write_splits import path_of
from ivideo.config.merge import read_run_settings
from ivideo.config.settings import FinetuneSettings, GenerationSettings, generation_settings
from ivideo.core.gradients import count_evaluations
from ivideo.files.records import read_json_lines
from ivideo.files.run_folder import RunFolder
from ivideo.inputs.adapters import Adapter, find_adapter
from ivideo.inputs.prompts import read_prompts
from ivideo.inputs.settings import resolve_settings
from ivideo.progress import Progress
from ivideo.rewards.mixture import Rewards

from .launches import add_up, launch
from .plan import FINAL_SPLITS, MODEL, NUM_SCORED_FRAMES, NUM_SEEDS, Training
from .provenance import ROOT, describe_origin
from .rendered_clips import LIST, render_clips
from .schedules import PRESET, respace_model

PROMPTS = ROOT / "examples" / "prompts.txt"
COURSE_METRICS = ("reward", "motion", "flicker")
NUM_TIMED = 7  # steps; the first one is not counted
NUM_TIMED_CLIPS, NUM_TIMED_STEPS = 16, 20
DIGITS = 5  # of the values that are kept
TYPED_ROOT = Path("build") / "study"  # the workspace of the commands that are shown


class Workspace:
    """What the study is worked on with, and where its trainings and clips lie meanwhile.

    Attributes:
        root: a folder that may be thrown away; what was measured lies elsewhere.
        rewards: the second one is never trained on.
        classifier: gives accuracies and features.
        progress: is told what happens.
    """

    def __init__(self, root: Path, rewards: Rewards, classifier: Classifier, progress: Progress) -> None:
        """Use a folder."""
        self.root, self.rewards, self.classifier, self.progress = root, rewards, classifier, progress

    def run_of(self, name: str) -> RunFolder:
        """The run of a training."""
        return RunFolder(self.root / "runs" / name)

    def adapter_of(self, training: Training) -> Adapter:
        """What a training that is done left, its last step's or its best.

        Raises:
            IvideoError: it is not there.
        """
        run = self.run_of(training.name)
        return find_adapter(run.chosen if training.keeps_best else run.adapter)

    @property
    def cache(self) -> Path:
        """Clips of the evaluations."""
        return self.root / "clips"

    def costs_of(self, name: str) -> Path:
        """What each launch of a training cost."""
        return self.root / "costs" / f"{name}.jsonl"


def train(training: Training, workspace: Workspace) -> RunFolder:
    """Train to the end, or go on with what was broken off.

    Raises:
        IvideoError: it failed.
        Interrupted: a signal came.
    """
    run = workspace.run_of(training.name)
    if not run.summary.is_file():
        words = prepare_command(training, workspace)
        # Without a folder yet there is nothing to take clips over into; a run that goes on has them.
        if training.clips_of and not run.config.is_file():
            words += ["--clips", str(workspace.run_of(training.clips_of).root)]
        launch([*words, "--output", str(run.root), "--resume", "auto"], workspace.costs_of(training.name))
    return run


def time_steps(training: Training, workspace: Workspace) -> float:
    """Median seconds of a step of a finished training, of a few that are done again on a machine without other work.

    Raises:
        IvideoError: it failed.
    """
    run, trial = workspace.run_of(training.name), RunFolder(workspace.root / "timings" / training.name)
    if not trial.summary.is_file():
        words = prepare_command(replace(training, settings={**training.settings, "max_steps": NUM_TIMED}), workspace)
        words += [] if training.real_clips or not run.clips.is_dir() else ["--clips", str(run.root)]
        words += ["--no-eval", "--output", str(trial.root), "--resume", "auto"]
        launch(words, workspace.costs_of(f"timing_{training.name}"))
    seconds = [line["seconds"] for line in read_json_lines(trial.metrics)]
    return round(float(np.median(seconds[1:])), 3)


def time_evaluations(workspace: Workspace) -> float:
    """Seconds of the clock for each guided prediction when clips are made, loading and decoding included."""
    settings = resolve_settings(
        GenerationSettings,
        config=None,
        flags={"model": MODEL, "num_inference_steps": NUM_TIMED_STEPS},
        progress=workspace.progress,
    )
    source = model_source("timing", settings)
    plan = plan_clips(read_prompts(PROMPTS)[:NUM_TIMED_CLIPS], 1, settings.seed)
    with tempfile.TemporaryDirectory() as folder:
        started = time.monotonic()
        collect_clips(source, plan, Path(folder), workspace.progress)
    return round((time.monotonic() - started) / (len(plan) * NUM_TIMED_STEPS), 4)


def prepare_command(training: Training, workspace: Workspace) -> list[str]:
    """The words of a training's command, but for its folders, when all that it reads is there.

    Raises:
        IvideoError: a file cannot be written.
    """
    if training.real_clips:
        render_clips(read_prompts(PROMPTS), rendered_clips_of(workspace.root))
    if training.spacing:
        respace_model(MODEL, training.spacing, model_of(training.spacing, workspace.root))
    return spell_command(training, workspace.root, ROOT)


def spell_command(training: Training, root: Path = TYPED_ROOT, tree: Path = Path()) -> list[str]:
    """The words of a training's command, but for its folders.

    Args:
        training: which one.
        root: of the workspace.
        tree: folder of the repository, in which the command is typed by default.
    """
    source = rendered_clips_of(root) / LIST if training.real_clips else tree / PROMPTS.relative_to(ROOT)
    settings: dict[str, Any] = {"model": MODEL}
    if training.spacing:
        model = model_of(training.spacing, root)
        heldout = tree / path_of("heldout").relative_to(ROOT)
        settings = {"model": model, "config": model / PRESET, "eval_prompts": heldout}
    settings |= {"seed": training.seed, **training.settings}
    flags = [word for name, value in settings.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    return ["ivideo", "finetune", str(source), *flags]


def rendered_clips_of(root: Path) -> Path:
    """The folder of the rendered clips."""
    return root / "rendered"


def model_of(spacing: str, root: Path) -> Path:
    """The folder of the model with other timesteps."""
    return root / "models" / spacing


def train_and_describe(training: Training, workspace: Workspace) -> dict[str, Any]:
    """The result of a training.

    Returns:
        name, command, origin; cost (`measure_cost`), course (a record an evaluation: step, network evaluations of
        the training so far, values by prompt) and final (`measure_final`).

    Raises:
        IvideoError: it failed.
        Interrupted: a signal came.
    """
    workspace.progress.say(f"training {training.name}")
    run = train(training, workspace)
    settings = read_run_settings(run)
    adapter = workspace.adapter_of(training)
    return {
        "schema_version": 1,
        "name": training.name,
        "command": " ".join(spell_command(training)),
        "origin": describe_origin(),
        "cost": measure_cost(run, settings, workspace.costs_of(training.name)),
        "course": read_course(run, settings),
        "final": measure_final(training.name, final_settings(settings), adapter, workspace),
    }


def final_settings(settings: FinetuneSettings) -> GenerationSettings:
    """How the clips are made and scored that a training is measured on at its end."""
    return generation_settings(settings).model_copy(update={"seed": 0, "num_segments": NUM_SCORED_FRAMES})


def measure_base(name: str, workspace: Workspace, spacing: str | None = None) -> dict[str, Any]:
    """The base model's result: name, origin and final (`measure_final`), at the steps of the sweeps.

    Args:
        name: of the result.
        workspace: where its clips lie.
        spacing: of the timesteps, where it is not the model's own.
    """
    flags = {"model": MODEL, "num_segments": NUM_SCORED_FRAMES}
    settings = resolve_settings(GenerationSettings, config=None, flags=flags, progress=workspace.progress)
    if spacing:
        folder = model_of(spacing, workspace.root)
        respace_model(MODEL, spacing, folder)
        settings = settings.model_copy(update={"model": str(folder)})
    return {
        "schema_version": 1,
        "name": name,
        "origin": describe_origin(),
        "final": measure_final(name, settings, None, workspace),
    }


def measure_cost(run: RunFolder, settings: FinetuneSettings, costs: Path) -> dict[str, Any]:
    """What a training took: all in all, and by the step without start-up, base clips and evaluations.

    Its seconds are those that it had, whatever else the machine did; comparisons are made on `time_trainings`.
    """
    metrics = read_json_lines(run.metrics)
    forward, backward = evaluations_a_clip(settings)
    clips = list(run.clips.glob("*.safetensors"))
    return {
        **{name: round(value, 1) for name, value in asdict(add_up(costs)).items()},
        "training_seconds": round(sum(line["seconds"] for line in metrics), 1),
        "median_step_seconds": round(float(np.median([line["seconds"] for line in metrics])), 3),
        "num_steps": len(metrics),
        "evaluations_a_step": settings.batch_size * forward,
        "differentiated_a_step": settings.batch_size * backward,
        "evaluations_of_base_clips": len(clips) * settings.num_inference_steps,
    }


def evaluations_a_clip(settings: FinetuneSettings) -> tuple[float, int]:
    """Guided predictions of the U-Net that a clip of a step takes, and how many of them are differentiated."""
    return count_evaluations(
        start=settings.start,
        gradient=settings.gradient,
        strength=settings.strength,
        num_inference_steps=settings.num_inference_steps,
        num_grad_steps=settings.num_grad_steps,
    )


def read_course(run: RunFolder, settings: FinetuneSettings) -> list[dict[str, Any]]:
    """The evaluations along a training, and how many of the network's the training had taken until then."""
    forward, _ = evaluations_a_clip(settings)
    return [
        {
            "step": record["step"],
            "evaluations": record["step"] * settings.batch_size * forward,
            "by_prompt": {name: round_all(record["by_prompt"][name]) for name in COURSE_METRICS},
        }
        for record in read_json_lines(run.evaluations)
    ]


def measure_final(
    name: str, generation: GenerationSettings, adapter: Adapter | None, workspace: Workspace
) -> dict[str, dict[str, Any]]:
    """Every metric of the model with an adapter, by split and prompt (`keep_values`)."""
    source, values = model_source(name, generation, adapter), {}
    for split in FINAL_SPLITS:
        plan = plan_clips(read_prompts(path_of(split)), NUM_SEEDS, generation.seed)
        clips = collect_clips(source, plan, workspace.cache, workspace.progress)
        values[split] = keep_values(prompt_values(measure(name, clips, plan, generation, workspace)))
    return values


def measure(
    name: str, clips: np.ndarray, plan: Sequence[Wanted], settings: GenerationSettings, workspace: Workspace
) -> list[ClipRecord]:
    """A record of each clip (`measure_clips`)."""
    workspace.progress.start(f"measuring {name}", len(clips))
    prompts = [prompt for prompt, _ in plan]
    return measure_clips(clips, prompts, workspace.rewards, workspace.classifier, settings, workspace.progress)


def keep_values(values: Values) -> dict[str, dict[str, list[Any]]]:
    """Values to be kept: each metric's prompts and its values in their order."""
    return {metric: {"prompts": [*row], "values": round_all(row.values())} for metric, row in values.items()}


def round_all(values: Iterable[float]) -> list[float]:
    """The values to a few digits."""
    return [round(value, DIGITS) for value in values]
