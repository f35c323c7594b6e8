"""`ivideo finetune`: base clips, training, and what it changed on prompts that it never saw."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from ivideo.config.merge import write_toml
from ivideo.config.presets import find_location
from ivideo.config.settings import FinetuneSettings
from ivideo.errors import Interrupted, IvideoError
from ivideo.files.atomic import atomic_folder, write_text
from ivideo.files.records import write_json
from ivideo.files.run_folder import RunFolder, check_new_run
from ivideo.inputs.clip_lists import Source, captions_of
from ivideo.inputs.prompts import check_prompts, format_prompts, unique_prompts
from ivideo.models.devices import compile_network
from ivideo.models.lora import add_lora, restore_lora
from ivideo.models.memory import explain_out_of_memory
from ivideo.processes import StopRequested, StopSignals, join_processes, resume_command, tell_all
from ivideo.progress import Progress, Silence
from ivideo.rewards.registry import runs_code
from ivideo.scoring.clips import compare_scores
from ivideo.training.checkpoints import (
    Checkpoint,
    checkpoint_path,
    copy_adapter,
    list_checkpoints,
    restore_checkpoint,
    step_of,
)
from ivideo.training.clips import ClipCache, check_start, find_clips, prepare_clips
from ivideo.training.context import RunContext, find_start, open_context
from ivideo.training.draws import samples_of_step
from ivideo.training.heldout import Evaluation, add_second_reward, check_videos, split_heldout, write_before_after
from ivideo.training.loop import TrainingLoop
from ivideo.training.profile import PhaseTimer
from ivideo.training.real_clips import RealClips, prepare_real_clips, recall_clips, split_source, write_records
from ivideo.training.record import check_tracker, open_recorder
from ivideo.training.resume import Resumable, cut_back, is_finished, open_checkpoint, pass_over_damage, read_run_prompts
from ivideo.training.step import ClipOf, Trainer


def finetune(
    prompts: Source,
    output: Path,
    settings: FinetuneSettings,
    *,
    heldout: Sequence[str] | None = None,
    clips: Path | None = None,
    progress: Progress | None = None,
) -> RunFolder:
    """Train a LoRA that raises the reward: the work of `ivideo.finetune` for a new run, whose arguments these are.

    A LoRA that a foreign file of weights brings is trained on, from where it stands; the clips are its base's. Of
    several processes the main one's output counts.

    Raises:
        IvideoError: bad input, an output that cannot be used, or a training that diverged.
        Interrupted: a signal came; the run can be gone on with.
    """
    started = time.monotonic()
    check_tracker(settings.tracker)
    texts, listed = split_source(prompts)
    check_prompts([prompt for captions in texts for prompt in captions])
    find_location(settings.model)
    find_start(settings)
    training, kept = split_heldout(texts, settings, heldout)
    check_new_run(output)
    check_start(settings, listed, clips)
    ready_clips = find_clips(clips, training, settings) if clips else {}
    check_videos(RunFolder(output), kept, settings, progress or Silence())
    settings = add_second_reward(settings, progress or Silence())
    context = open_context(settings, training, kept, join_processes(settings), progress)
    real = prepare_real_clips(context, listed) if listed else None
    run = RunFolder(tell_all(output, context.processes))
    if context.processes.is_main_process:
        start_run(run, context, real, clips, ready_clips)
    with lock_run(run, context.processes):
        return work(run, context, real, None, started)


def go_on(found: Resumable, settings: FinetuneSettings, *, progress: Progress | None = None) -> RunFolder:
    """Go on with a run, to where it would have come without a break; a finished one is left as it is.

    Args:
        found: the run, and the checkpoint to go on from if one was named, which a finished run may have, too.
        settings: the run's, as `resumed_settings` gives them.
        progress: is told what happens.

    Raises:
        IvideoError: another process works on it, or its checkpoint is missing, damaged or does not fit.
        Interrupted: a signal came; the run can be gone on with again.
    """
    started = time.monotonic()
    check_tracker(settings.tracker)
    run = found.run
    if found.checkpoint is None and is_finished(run, settings):
        (progress or Silence()).say(f"run {run.root} is finished: there is nothing to go on with")
        return run
    processes = join_processes(settings)
    with lock_run(run, processes):
        training, kept = read_run_prompts(run)
        check_videos(run, kept, settings, progress or Silence())
        listed = recall_clips(run) if os.path.lexists(run.clip_records) else []
        if found.falls_back:
            found = pass_over_damage(run, settings, processes, progress or Silence())
        checkpoint = open_checkpoint(found, settings, captions_of(listed) or training)
        processes.wait_for_everyone()
        if processes.is_main_process:
            cut_back(run, settings, checkpoint.step if checkpoint else 0)
            write_text(run.config, write_toml(settings))
        context = open_context(settings, training, kept, processes, progress)
        real = prepare_real_clips(context, listed) if listed else None
        if real and len(real.records) < len(listed):
            raise IvideoError(f"a clip of {run.clip_records} cannot be used any more: the run cannot be gone on with")
        context.progress.say(f"going on after step {checkpoint.step if checkpoint else 0} of {settings.max_steps}")
        return work(run, context, real, checkpoint, started)


def start_run(
    run: RunFolder, context: RunContext, real: RealClips | None, clips: Path | None, ready_clips: Mapping[str, Path]
) -> None:
    """Create the run's folder with all that it starts from, whole or not at all.

    Args:
        run: its folder, new or empty.
        context: what it is worked on with.
        real: real clips to train on; None where the base model makes them.
        clips: the earlier run that base clips come from, as it was named.
        ready_clips: those clips, by `identify` of their prompts.
    """
    with atomic_folder(check_new_run(run.root).resolve()) as folder:  # where a link leads that the user named
        new = RunFolder(folder)
        write_text(new.config, write_toml(context.settings))
        training = unique_prompts(real.prompts) if real else context.training
        write_text(new.prompts, format_prompts(training))
        if real:
            write_records(new, real.records)
        write_text(new.heldout, format_prompts(context.kept))
        if ready_clips:
            taken = ClipCache(new.clips, context.model, context.training, context.settings).copy_from(ready_clips)
            context.progress.say(f"{taken} of {len(context.training)} base clips: from {clips}")


def lock_run(run: RunFolder, processes: Accelerator) -> AbstractContextManager[None]:
    """Keep other launches out of the run's folder inside the block; see `RunFolder.lock`."""
    return run.lock() if processes.is_main_process else nullcontext()


def work(
    run: RunFolder, context: RunContext, real: RealClips | None, checkpoint: Checkpoint | None, started: float
) -> RunFolder:
    """Make what clips are missing, train to the end, and report.

    Args:
        run: its folder.
        context: what it is worked on with.
        real: real clips to train on; None where the base model makes them.
        checkpoint: where training goes on from; None for its start.
        started: `time.monotonic()` at the beginning.

    Raises:
        Interrupted: a signal came; says how to go on.
    """
    processes = context.processes
    processes.wait_for_everyone()
    announce = "stopping as soon as where it stands is saved; a second signal stops at once"
    with (
        StopSignals(lambda: context.progress.say(announce)) as signals,
        explain_out_of_memory(context.settings, processes.num_processes),
        open_recorder(run, context) as recorder,
    ):
        try:
            clip_of = real.load if real else prepare_clips(run, context, signals)
            trainer = prepare_trainer(context, real, clip_of, checkpoint)
            loop = TrainingLoop(trainer, run, context.evaluate, recorder, signals, context.progress)
            num_steps = loop.train(checkpoint.step if checkpoint else 0)
            if processes.is_main_process:
                with signals.safe_points():
                    report_run(run, context, loop, num_steps, started)
        except StopRequested:
            raise Interrupted(interrupt(run, context), signals.received or signal.SIGTERM) from None
    processes.wait_for_everyone()
    return run


def prepare_trainer(
    context: RunContext, real: RealClips | None, clip_of: ClipOf | None, checkpoint: Checkpoint | None
) -> Trainer:
    """The trainer at its start, or where a checkpoint left it.

    Args:
        context: what the run is worked on with; its model gets an adapter if it has none.
        real: real clips to train on, whose captions are the prompts.
        clip_of: loads a clip; None where chains start from noise.
        checkpoint: where training goes on from.
    """
    settings, model = context.settings, context.model
    if context.start is None:
        add_lora(model.network, settings.lora_rank, settings.lora_alpha, settings.seed, model.lora_targets)
    timer = PhaseTimer(model.device, model.num_workers) if settings.profile else None
    prompts = real.captions if real else context.training
    trainer = Trainer(model, context.rewards.trained, prompts, clip_of, settings, context.processes, timer)
    if settings.compile:
        compile_network_of(trainer, context.progress)
    if checkpoint is not None:
        restore_checkpoint(checkpoint, trainer)
    return trainer


def compile_network_of(trainer: Trainer, progress: Progress) -> None:
    """Compile the network in a first gradient that is thrown away; where the compiler fails it stays as it is."""
    settings, num_processes = trainer.settings, trainer.accelerator.num_processes
    part = -(-settings.batch_size // (settings.gradient_accumulation * num_processes))
    samples = samples_of_step(0, part, len(trainer.captions), settings.seed)
    reason = compile_network(
        trainer.model.network, lambda: torch.autograd.grad(trainer.evaluate(samples).loss, trainer.parameters)
    )
    if reason is not None:
        progress.warn(f"the network is not compiled: {reason}")


def interrupt(run: RunFolder, context: RunContext) -> str:
    """Keep the newest checkpoint's adapter for use as it is; the main process says where it stands and how to go on."""
    if not context.processes.is_main_process:
        return ""
    checkpoints = list_checkpoints(run)
    if checkpoints:
        copy_adapter(checkpoints[-1], run.adapter, context.model)
    step = step_of(checkpoints[-1]) if checkpoints else 0
    rewards = context.settings.rewards if runs_code(context.settings.rewards) else ()
    command = resume_command(run.root, rewards, context.processes)
    return f"interrupted after step {step} of {context.settings.max_steps}; go on with: {command}"


SUMMARY_VERSION = 2


def report_run(run: RunFolder, context: RunContext, loop: TrainingLoop, num_steps: int, started: float) -> None:
    """Write the last adapter, curve, videos and, last of all, the summary, which says that the run is finished.

    Before is the base, after is the chosen adapter: the best by held-out reward, else the last step's.

    Args:
        run: its folder.
        context: what it was worked on with; its model is left with the chosen adapter.
        loop: the training that is done.
        num_steps: optimiser steps that were done.
        started: `time.monotonic()` at the beginning.
    """
    copy_adapter(checkpoint_path(run, num_steps), run.adapter, context.model)
    chosen = loop.decision.best_step if loop.evaluations else num_steps
    changes: dict[str, Any] = {"heldout": {}, "heldout_rewards": {}, "videos": []}
    if context.kept:
        before, after = (evaluate_fully(run, context, loop, step) for step in (0, chosen))
        videos = write_before_after(run, context.kept, before, after, context.settings, context.start)
        changes = {
            "heldout": compare_scores(context.kept, before.scores, after.scores),
            "heldout_rewards": compare_scores(context.kept, before.scores, after.scores, before.scores[0].rewards),
            "videos": [str(path) for path in videos],
        }
    loop.recorder.draw_curve(loop.evaluations, chosen)
    summary = summarise(run, context, loop, num_steps, chosen)
    write_json(run.summary, {**summary, **changes, "seconds": round(time.monotonic() - started, 1)})


def evaluate_fully(run: RunFolder, context: RunContext, loop: TrainingLoop, step: int) -> Evaluation:
    """All held-out prompts with a checkpoint's adapter; clips that training saw already are not made again."""
    restore_lora(context.model.network, checkpoint_path(run, step))
    return context.evaluate(step, watched_only=False, known=loop.seen.get(step))


def summarise(run: RunFolder, context: RunContext, loop: TrainingLoop, num_steps: int, chosen: int) -> dict[str, Any]:
    """The run in one JSON object, but for its changes.

    Args:
        run: its folder.
        context: what it was worked on with.
        loop: the training that is done.
        num_steps: optimiser steps that were done.
        chosen: the step whose adapter is kept for use; 0 is the base.
    """
    return {
        "schema_version": SUMMARY_VERSION,
        "run": str(run.root),
        "model": context.settings.model,
        **context.settings.told_options,
        "reward": context.rewards.name,
        "reward_label": context.rewards.label,
        "judges": context.rewards.labels,
        "num_steps": num_steps,
        "num_skipped": loop.trainer.num_skipped,
        "chosen_step": chosen,
        "stop_reason": loop.decision.stop_reason,
        "evaluations": [{"step": record["step"], **record["values"]} for record in loop.evaluations],
        "profile": loop.profile,
        "adapter": str(run.chosen),
        "curve": str(run.curve),
    }
