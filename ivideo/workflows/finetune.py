"""`ivideo finetune`: base clips, training, and what it changed on prompts that it never saw."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator

from ivideo.config.merge import write_toml
from ivideo.config.settings import FinetuneSettings, GenerationSettings
from ivideo.errors import IvideoError
from ivideo.io.files import JsonLines, write_json, write_text
from ivideo.io.panels import annotate, enlarge, stack_side_by_side
from ivideo.io.plots import plot_reward_curve
from ivideo.io.prompts import read_prompts
from ivideo.io.run_folder import RunFolder, create_run_folder
from ivideo.io.video import write_video
from ivideo.metrics.statistics import paired_difference
from ivideo.models.judges import Judge, load_judge
from ivideo.models.lora import add_lora, save_lora
from ivideo.models.registry import heldout_prompts_path
from ivideo.models.text_to_video import TextToVideoModel
from ivideo.workflows.clips import ClipCache
from ivideo.workflows.generate import file_stem
from ivideo.workflows.generation import describe_generation, generate_clip, open_model
from ivideo.workflows.progress import Progress, Silence
from ivideo.workflows.resolve import generation_defaults
from ivideo.workflows.scoring import ClipScore, mean_of, score_clip
from ivideo.workflows.training import StepMetrics, Trainer, samples_of_step

SCHEMA_VERSION = 1
NUM_SHOWN = 6  # held-out prompts whose before / after videos are kept
METRICS = ("reward", "attenuated_reward", "motion", "flicker")


@dataclass(frozen=True)
class HeldoutClips:
    """Clips of the held-out prompts at one moment, and their scores."""

    clips: list[np.ndarray]
    scores: list[ClipScore]


def split_heldout(
    prompts: Sequence[str], settings: FinetuneSettings, heldout: Sequence[str] | None
) -> tuple[list[str], list[str]]:
    """Which prompts are trained on, and which are kept for the before / after.

    Held out are the given ones, else those that a bundled model brings, else every tenth prompt of the list; a prompt
    that is trained on is never evaluated on.

    Raises:
        IvideoError: nothing would be left to evaluate on.
    """
    training = list(prompts)
    if not settings.evaluate:
        return training, []
    own = heldout_prompts_path(settings.model)
    if heldout is None and own is not None:
        heldout = read_prompts(own)
    if heldout is None:
        if len(training) < 2:
            raise IvideoError("one prompt cannot be trained on and held out: add prompts, --eval-prompts or --no-eval")
        heldout = training[::10]
    if list(heldout) == training[::10]:
        training = [prompt for prompt in training if prompt not in set(heldout)]
    kept = [prompt for prompt in heldout if prompt not in set(training)]
    if not kept:
        raise IvideoError("every held-out prompt is also trained on: give others by --eval-prompts, or use --no-eval")
    return training, kept[: settings.num_eval_prompts]


def finetune(
    prompts: Sequence[str],
    output: Path,
    settings: FinetuneSettings,
    *,
    heldout: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> RunFolder:
    """Train a LoRA that raises the judge's score, from prompts alone.

    Args:
        prompts: what to train on; the base model makes the clips.
        output: folder of the run, new or empty.
        settings: see `FinetuneSettings`.
        heldout: prompts of the before / after; default: see `split_heldout`.
        progress: is told what happens.

    Returns:
        The run's folder: config, metrics, adapter, curve, videos, summary.

    Raises:
        IvideoError: bad input, or an output that cannot be used.
    """
    progress = progress or Silence()
    started = time.monotonic()
    training, kept = split_heldout(prompts, settings, heldout)
    accelerator = Accelerator(cpu=settings.device == "cpu")
    model = open_model(GenerationSettings(**generation_defaults(settings.model_dump())))
    judge = load_judge(settings.reward, model.device)
    if not judge.is_differentiable:
        raise IvideoError(f"reward {settings.reward} gives no gradients and cannot be trained on")
    warn_of_prompts(model, [*training, *kept], progress)
    run = create_run_folder(output)
    write_text(run.config, write_toml(settings))
    write_text(run.prompts, "\n".join(training) + "\n")
    write_text(run.heldout, "\n".join(kept) + "\n")

    before = evaluate_heldout(model, judge, kept, settings, progress, "before")
    cache = prepare_clips(run, model, training, settings, progress)
    add_lora(model.unet, settings.lora_rank, settings.lora_alpha, settings.seed)
    trainer = Trainer(model, judge, training, cache.load, settings, accelerator)
    history = train(trainer, run, progress)
    after = evaluate_heldout(model, judge, kept, settings, progress, "after")

    heldout_points = [(0, mean_of(before.scores, "reward")), (len(history), mean_of(after.scores, "reward"))] if kept else []
    plot_reward_curve(
        run.curve,
        [metrics.step for metrics in history],
        [metrics.reward for metrics in history],
        [metrics.attenuated_reward for metrics in history],
        title=f"{settings.model}: {len(training)} prompts",
        reward_label=judge.label,
        heldout_points=heldout_points,
    )
    videos = write_before_after(run, kept, before, after, settings, judge)
    summary = summarise(run, settings, judge, history, before, after, videos)
    write_json(run.summary, {**summary, "seconds": round(time.monotonic() - started, 1)})
    return run


def warn_of_prompts(model: TextToVideoModel, prompts: Sequence[str], progress: Progress) -> None:
    """Name the prompts that the text encoder cannot read as they are."""
    for prompt in prompts:
        for problem in model.find_prompt_problems(prompt):
            progress.warn(f"prompt {prompt!r}: {problem}")


def evaluate_heldout(
    model: TextToVideoModel,
    judge: Judge,
    prompts: Sequence[str],
    settings: FinetuneSettings,
    progress: Progress,
    moment: str,
) -> HeldoutClips:
    """Generate and score one clip a held-out prompt; prompt i uses seed + i, before and after alike."""
    generation = GenerationSettings(**generation_defaults(settings.model_dump()))
    result = HeldoutClips([], [])
    if prompts:
        progress.start(f"held-out clips, {moment}", len(prompts))
    for index, prompt in enumerate(prompts):
        clip = generate_clip(model, generation, prompt, settings.seed + index)
        score = score_clip(
            judge, clip, prompt, num_segments=settings.num_segments, attenuation_rate=settings.attenuation_rate
        )
        result.clips.append(clip)
        result.scores.append(score)
        progress.advance(f"reward {mean_of(result.scores, 'reward'):.4f}")
    return result


def prepare_clips(
    run: RunFolder, model: TextToVideoModel, prompts: list[str], settings: FinetuneSettings, progress: Progress
) -> ClipCache:
    """Generate the base model's clip of every prompt that the run will reach."""
    cache = ClipCache(run.clips, model, prompts, settings)
    needed = sorted(
        {
            sample.item
            for step in range(min(settings.max_steps, -(-len(prompts) // settings.batch_size)))
            for sample in samples_of_step(step, settings.batch_size, len(prompts), settings.seed)
        }
    )
    progress.start("base clips", len(needed))
    for item in needed:
        cache.generate(item)
        progress.advance()
    return cache


def train(trainer: Trainer, run: RunFolder, progress: Progress) -> list[StepMetrics]:
    """Run the training, a line of metrics a step; the adapter is saved even when it is interrupted."""
    history: list[StepMetrics] = []
    progress.start("training", trainer.settings.max_steps)
    try:
        with JsonLines(run.metrics) as lines:
            for metrics in trainer.run():
                history.append(metrics)
                lines.write(asdict(metrics))
                recent = history[-10:]
                progress.advance(f"reward {np.mean([m.reward for m in recent]):.4f}")
    finally:
        if history:
            save_lora(trainer.model.unet, run.adapter, trainer.settings.model)
    return history


def write_before_after(
    run: RunFolder,
    prompts: Sequence[str],
    before: HeldoutClips,
    after: HeldoutClips,
    settings: FinetuneSettings,
    judge: Judge,
) -> list[Path]:
    """Write a few held-out prompts' clips before, after and side by side; returns the joined ones."""
    generation = GenerationSettings(**generation_defaults(settings.model_dump()))
    joined_paths = []
    for index, prompt in list(enumerate(prompts))[:NUM_SHOWN]:
        seed = settings.seed + index
        stem = f"{index:02d}_{file_stem(prompt)}"
        panels = []
        for moment, side in (("before", before), ("after", after)):
            adapter = None if moment == "before" else str(run.adapter)
            metadata = describe_generation(generation, prompt, seed, adapter=adapter)
            write_video(run.videos / f"{stem}_{moment}.mp4", side.clips[index], settings.fps, metadata)
            factor = max(1, 256 // side.clips[index].shape[1])
            text = f"{moment}: {side.scores[index].reward:.3f}"
            panels.append(annotate(enlarge(side.clips[index], factor), text))
        path = run.videos / f"{stem}_before_after.mp4"
        about = {"prompt": prompt, "seed": seed, "reward": judge.label}
        joined_paths.append(write_video(path, stack_side_by_side(panels), settings.fps, about))
    return joined_paths


def summarise(
    run: RunFolder,
    settings: FinetuneSettings,
    judge: Judge,
    history: Sequence[StepMetrics],
    before: HeldoutClips,
    after: HeldoutClips,
    videos: Sequence[Path],
) -> dict[str, Any]:
    """The run in one JSON object."""
    changes = {
        metric: asdict(
            paired_difference(
                [getattr(score, metric) for score in before.scores], [getattr(score, metric) for score in after.scores]
            )
        )
        for metric in METRICS
        if before.scores
    }
    return {
        "schema_version": SCHEMA_VERSION,
        "run": str(run.root),
        "model": settings.model,
        "reward": settings.reward,
        "reward_label": judge.label,
        "num_steps": len(history),
        "heldout": changes,
        "adapter": str(run.adapter),
        "curve": str(run.curve),
        "videos": [str(path) for path in videos],
    }
