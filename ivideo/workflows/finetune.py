"""`ivideo finetune`: base clips, training, and what it changed on prompts that it never saw."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from accelerate import Accelerator

from ivideo.config.merge import write_toml
from ivideo.config.settings import FinetuneSettings
from ivideo.errors import IvideoError, UsageError
from ivideo.io.files import JsonLines, atomic_folder, write_json, write_text
from ivideo.io.plots import plot_reward_curve
from ivideo.io.run_folder import RunFolder, check_new_run, create_run_folder
from ivideo.io.video import check_video_format
from ivideo.models.authors_weights import find_lora_rank
from ivideo.models.judges import Judge, labels_of, load_judges, trained_part
from ivideo.models.lora import adapter_off, add_lora, save_lora
from ivideo.models.registry import choose_device, find_location
from ivideo.workflows.clips import ClipCache, find_clips
from ivideo.workflows.generation import open_model, warn_of_prompts
from ivideo.workflows.heldout import Evaluation, evaluate_heldout, split_heldout, write_before_after
from ivideo.workflows.parallel import map_on_cores
from ivideo.workflows.progress import Progress, Silence
from ivideo.workflows.resolve import Adapter, adapter_of_unet, check_prompts, generation_settings
from ivideo.workflows.scoring import compare_rewards, compare_scores, mean_of
from ivideo.workflows.training import StepMetrics, Trainer, samples_of_step

SCHEMA_VERSION = 1


def finetune(
    prompts: Sequence[str],
    output: Path,
    settings: FinetuneSettings,
    *,
    heldout: Sequence[str] | None = None,
    clips: Path | None = None,
    progress: Progress | None = None,
) -> RunFolder:
    """Train a LoRA that raises the judge's score, from prompts alone.

    A LoRA that the settings' U-Net file brings is trained on, from where it stands; the clips are its base's as ever.

    Args:
        prompts: what to train on; the base model makes the clips.
        output: folder of the run, new or empty.
        settings: see `FinetuneSettings`.
        heldout: prompts of the before / after; default: see `split_heldout`.
        clips: an earlier run whose clips of these prompts are taken over; default: all are generated.
        progress: is told what happens.

    Returns:
        The run's folder: config, metrics, adapter, curve, videos, summary.

    Raises:
        IvideoError: bad input, an output that cannot be used, or a training that diverged.
    """
    progress = progress or Silence()
    started = time.monotonic()
    check_prompts(prompts)
    find_location(settings.model)
    start = find_start(settings)
    training, kept = split_heldout(prompts, settings, heldout)
    check_new_run(output)
    ready_clips = find_clips(clips, training, settings) if clips else {}
    check_video_format(RunFolder(output).videos / "clip.mp4", settings.fps)
    judge = load_trainable_judge(settings)
    accelerator = Accelerator(cpu=settings.device == "cpu")
    model = open_model(generation_settings(settings), start)
    warn_of_prompts(model, [*training, *kept], progress)
    model.encode_once([*training, *kept], settings.negative_prompt)
    run = start_run(output, settings, training, kept)

    before = evaluate_heldout(model, judge, kept, settings, progress, 0)
    cache = ClipCache(run.clips, model, training, settings)
    if ready_clips:
        progress.say(f"{cache.copy_from(ready_clips)} of {len(training)} base clips: from {clips}")
    with adapter_off(model.unet):
        generate_clips(cache, settings, progress)
    if start is None:
        add_lora(model.unet, settings.lora_rank, settings.lora_alpha, settings.seed)
    history = train(Trainer(model, trained_part(judge), training, cache.load, settings, accelerator), run, progress)
    after = evaluate_heldout(model, judge, kept, settings, progress, len(history))

    title = f"{settings.model}: {len(training)} prompts"
    draw_curve(run, history, title, judge.label, [before, after] if kept else [])
    videos = write_before_after(run, kept, before, after, settings, start)
    changes = compare_scores(kept, before.scores, after.scores) if kept else {}
    by_judge = compare_rewards(kept, before.scores, after.scores) if kept else {}
    summary = {**summarise(run, settings, judge, history, changes, videos), "heldout_rewards": by_judge}
    write_json(run.summary, {**summary, "seconds": round(time.monotonic() - started, 1)})
    return run


def find_start(settings: FinetuneSettings) -> Adapter | None:
    """The adapter that training goes on from; None for a fresh one.

    Raises:
        UsageError: it has another rank or scale than the settings ask for, or the U-Net file is not there.
        IvideoError: the U-Net file is no checkpoint of the authors.
    """
    start = adapter_of_unet(settings)
    if start is None:
        return None
    rank = find_lora_rank(start.path)
    if (settings.lora_rank, settings.lora_alpha) != (rank, rank):
        asked = f"lora_rank {settings.lora_rank}, lora_alpha {settings.lora_alpha:g}"
        raise UsageError(f"{asked}: training goes on from the LoRA in {start.path}; it has rank {rank}, alpha {rank}")
    return start


def load_trainable_judge(settings: FinetuneSettings) -> Judge:
    """The settings' judges; the first reward is trained on, further ones only see the before / after.

    Raises:
        IvideoError: the first gives no gradients, or one cannot be loaded.
    """
    judge = load_judges(settings.rewards, choose_device(settings.device))
    if not judge.is_differentiable:
        raise IvideoError(f"reward {judge.name} gives no gradients and cannot be trained on")
    return judge


def start_run(output: Path, settings: FinetuneSettings, training: Sequence[str], kept: Sequence[str]) -> RunFolder:
    """Create the run's folder with its configuration and prompts."""
    run = create_run_folder(output)
    write_text(run.config, write_toml(settings))
    write_text(run.prompts, "".join(f"{prompt}\n" for prompt in training))
    write_text(run.heldout, "".join(f"{prompt}\n" for prompt in kept))
    return run


def generate_clips(cache: ClipCache, settings: FinetuneSettings, progress: Progress) -> None:
    """Generate the base model's clip of every prompt that the run will reach."""
    prompts = cache.prompts
    needed = sorted(
        {
            sample.item
            for step in range(min(settings.max_steps, -(-len(prompts) // settings.batch_size)))
            for sample in samples_of_step(step, settings.batch_size, len(prompts), settings.seed)
        }
    )
    progress.start("base clips", len(needed))
    for _ in map_on_cores(cache.generate, needed, cache.model.num_workers):
        progress.advance()


def train(trainer: Trainer, run: RunFolder, progress: Progress) -> list[StepMetrics]:
    """Run the training, a line of metrics a step; the adapter is saved even when it is interrupted.

    Raises:
        IvideoError: the loss is no number any more; no adapter is saved then.
    """
    history: list[StepMetrics] = []
    progress.start("training", trainer.settings.max_steps)
    try:
        with JsonLines(run.metrics) as lines:
            for metrics in trainer.run():
                if not math.isfinite(metrics.loss):
                    raise IvideoError(f"training diverged at step {metrics.step}: lower --learning-rate")
                history.append(metrics)
                lines.write(asdict(metrics))
                progress.advance(f"reward {np.mean([recent.reward for recent in history[-10:]]):.4f}")
    except KeyboardInterrupt:
        if history:
            save_adapter(trainer, run)
            progress.warn(f"interrupted after step {len(history)}; its adapter is kept in {run.adapter}")
        raise
    save_adapter(trainer, run)
    return history


def save_adapter(trainer: Trainer, run: RunFolder) -> None:
    """Write the adapter, whole or not at all."""
    with atomic_folder(run.adapter) as folder:
        save_lora(trainer.model.unet, folder, trainer.settings.model, trainer.settings.unet)


def draw_curve(
    run: RunFolder, history: Sequence[StepMetrics], title: str, label: str, heldout: Sequence[Evaluation]
) -> None:
    """Draw the reward over the steps, with the held-out prompts' at its ends."""
    plot_reward_curve(
        run.curve,
        [metrics.step for metrics in history],
        [metrics.reward for metrics in history],
        [metrics.attenuated_reward for metrics in history],
        title=title,
        reward_label=label,
        heldout_points=[
            (step, mean_of(clips.scores, "reward")) for step, clips in zip((0, len(history)), heldout, strict=False)
        ],
    )


def summarise(
    run: RunFolder,
    settings: FinetuneSettings,
    judge: Judge,
    history: Sequence[StepMetrics],
    changes: dict[str, dict[str, float]],
    videos: Sequence[Path],
) -> dict[str, Any]:
    """The run in one JSON object."""
    return {
        "schema_version": SCHEMA_VERSION,
        "run": str(run.root),
        "model": settings.model,
        "unet": settings.unet,
        "reward": judge.name,
        "reward_label": judge.label,
        "judges": labels_of(judge),
        "num_steps": len(history),
        "heldout": changes,
        "adapter": str(run.adapter),
        "curve": str(run.curve),
        "videos": [str(path) for path in videos],
    }
