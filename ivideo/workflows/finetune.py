"""`ivideo finetune`: base clips, training, and what it changed on prompts that it never saw."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

import torch
from accelerate import Accelerator

from ivideo.config.merge import write_toml
from ivideo.config.settings import FinetuneSettings
from ivideo.errors import Interrupted, IvideoError
from ivideo.io.clip_lists import Source
from ivideo.io.files import atomic_folder, write_text
from ivideo.io.lock import lock_folder
from ivideo.io.run_folder import RunFolder, check_new_run
from ivideo.models.compiling import compile_network
from ivideo.models.judges import runs_code, trained_part
from ivideo.models.lora import add_lora
from ivideo.models.registry import find_location
from ivideo.workflows.finetuning.base_clips import check_start, prepare_clips
from ivideo.workflows.finetuning.checkpoints import (
    Checkpoint,
    copy_adapter,
    list_checkpoints,
    restore_checkpoint,
    step_of,
)
from ivideo.workflows.finetuning.clips import ClipCache, find_clips
from ivideo.workflows.finetuning.heldout import add_second_judge, check_videos, split_heldout
from ivideo.workflows.finetuning.loop import TrainingLoop
from ivideo.workflows.finetuning.onlooker import open_onlooker
from ivideo.workflows.finetuning.out_of_memory import explain_out_of_memory
from ivideo.workflows.finetuning.phases import PhaseTimer
from ivideo.workflows.finetuning.processes import join_processes, resume_command, tell_all
from ivideo.workflows.finetuning.real_clips import RealClips, recall_clips, split_source, write_records
from ivideo.workflows.finetuning.resume import Resumable, cut_back, is_finished, open_checkpoint, read_run_prompts
from ivideo.workflows.finetuning.run_report import report_run
from ivideo.workflows.finetuning.samples import samples_of_step
from ivideo.workflows.finetuning.stop_signals import StopRequested, StopSignals
from ivideo.workflows.finetuning.tracking import check_tracker
from ivideo.workflows.finetuning.trainer import ClipOf, Trainer
from ivideo.workflows.finetuning.workshop import Workshop, find_start, open_workshop, prepare_real_clips
from ivideo.workflows.progress import Progress, Silence
from ivideo.workflows.resolve import check_prompts


def finetune(
    prompts: Source,
    output: Path,
    settings: FinetuneSettings,
    *,
    heldout: Sequence[str] | None = None,
    clips: Path | None = None,
    progress: Progress | None = None,
) -> RunFolder:
    """Train a LoRA that raises the judge's score, from prompts alone or on real clips.

    A LoRA that the settings' U-Net file brings is trained on, from where it stands; the clips are its base's as ever.

    Args:
        prompts: what to train on: prompts, whose clips the base model makes, or videos with captions.
        output: folder of the run, new or empty; of several processes the main one's counts.
        settings: see `FinetuneSettings`.
        heldout: prompts of the before / after; default: see `split_heldout`.
        clips: an earlier run whose clips of these prompts are taken over; default: all are generated.
        progress: is told what happens.

    Returns:
        The run's folder: config, metrics, checkpoints, adapters, curve, videos, summary.

    Raises:
        IvideoError: bad input, an output that cannot be used, or a training that diverged.
        Interrupted: a signal came; the run can be gone on with.
    """
    started = time.monotonic()
    check_tracker(settings.tracker)
    texts, listed = split_source(prompts)
    check_prompts(texts)
    find_location(settings.model)
    find_start(settings)
    training, kept = split_heldout(texts, settings, heldout)
    check_new_run(output)
    check_start(settings, listed, clips)
    ready_clips = find_clips(clips, training, settings) if clips else {}
    check_videos(RunFolder(output), kept, settings, progress or Silence())
    settings = add_second_judge(settings, progress or Silence())
    shop = open_workshop(settings, training, kept, join_processes(settings), progress)
    real = prepare_real_clips(shop, listed) if listed else None
    run = RunFolder(tell_all(output, shop.processes))
    if shop.processes.is_main_process:
        start_run(run, shop, real, clips, ready_clips)
    with lock_run(run, shop.processes):
        return work(run, shop, real, None, started)


def go_on(found: Resumable, settings: FinetuneSettings, *, progress: Progress | None = None) -> RunFolder:
    """Go on with a run, to where it would have come without a break; a finished one is left as it is.

    Args:
        found: the run, and the checkpoint to go on from if one was named, which a finished run may have, too.
        settings: the run's, as `resumed_settings` gives them.
        progress: is told what happens.

    Returns:
        The run's folder.

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
        listed = recall_clips(run) if run.clip_records.is_file() else []
        checkpoint = open_checkpoint(found, settings, [clip.prompt for clip in listed] or training)
        processes.wait_for_everyone()
        if processes.is_main_process:
            cut_back(run, settings, checkpoint.step if checkpoint else 0)
            write_text(run.config, write_toml(settings))
        shop = open_workshop(settings, training, kept, processes, progress)
        real = prepare_real_clips(shop, listed) if listed else None
        if real and len(real.records) < len(listed):
            raise IvideoError(f"a clip of {run.clip_records} cannot be used any more: the run cannot be gone on with")
        shop.progress.say(f"going on after step {checkpoint.step if checkpoint else 0} of {settings.max_steps}")
        return work(run, shop, real, checkpoint, started)


def start_run(
    run: RunFolder, shop: Workshop, real: RealClips | None, clips: Path | None, ready_clips: Mapping[str, Path]
) -> None:
    """Create the run's folder with all that it starts from, whole or not at all."""
    with atomic_folder(check_new_run(run.root)) as folder:
        new = RunFolder(folder)
        write_text(new.config, write_toml(shop.settings))
        training = dict.fromkeys(real.prompts) if real else shop.training
        write_text(new.prompts, "".join(f"{prompt}\n" for prompt in training))
        if real:
            write_records(new, real.records)
        write_text(new.heldout, "".join(f"{prompt}\n" for prompt in shop.kept))
        if ready_clips:
            taken = ClipCache(new.clips, shop.model, shop.training, shop.settings).copy_from(ready_clips)
            shop.progress.say(f"{taken} of {len(shop.training)} base clips: from {clips}")


@contextmanager
def lock_run(run: RunFolder, processes: Accelerator) -> Iterator[None]:
    """Keep other launches out of the run's folder.

    Raises:
        IvideoError: another one is at work there.
    """
    with lock_folder(run.root) if processes.is_main_process else nullcontext():
        yield


def work(
    run: RunFolder, shop: Workshop, real: RealClips | None, checkpoint: Checkpoint | None, started: float
) -> RunFolder:
    """Make what clips are missing, train to the end, and report.

    Raises:
        Interrupted: a signal came; says how to go on.
    """
    processes = shop.processes
    processes.wait_for_everyone()
    announce = "stopping as soon as where it stands is saved; a second signal stops at once"
    with (
        StopSignals(lambda: shop.progress.say(announce)) as signals,
        explain_out_of_memory(shop.settings, processes.num_processes),
        open_onlooker(run, shop) as onlooker,
    ):
        try:
            trainer = prepare_trainer(shop, real, prepare_clips(run, shop, real, signals), checkpoint)
            loop = TrainingLoop(trainer, run, shop.evaluate, onlooker, signals, shop.progress)
            num_steps = loop.train(checkpoint.step if checkpoint else 0)
            if processes.is_main_process:
                with signals.safe_points():
                    report_run(run, shop, loop, num_steps, started)
        except StopRequested:
            raise Interrupted(interrupt(run, shop), signals.received or signal.SIGTERM) from None
    processes.wait_for_everyone()
    return run


def prepare_trainer(
    shop: Workshop, real: RealClips | None, clip_of: ClipOf | None, checkpoint: Checkpoint | None
) -> Trainer:
    """The trainer at its start, or where a checkpoint left it."""
    settings, model = shop.settings, shop.model
    if shop.start is None:
        add_lora(model.unet, settings.lora_rank, settings.lora_alpha, settings.seed)
    timer = PhaseTimer(model.device, model.num_workers) if settings.profile else None
    prompts = real.prompts if real else shop.training
    trainer = Trainer(model, trained_part(shop.judge), prompts, clip_of, settings, shop.processes, timer)
    if settings.compile:
        compile_unet(trainer, shop.progress)
    if checkpoint is not None:
        restore_checkpoint(checkpoint, trainer)
    return trainer


def compile_unet(trainer: Trainer, progress: Progress) -> None:
    """Compile the U-Net in a first gradient that is thrown away; where the compiler fails it stays as it is."""
    settings, num_processes = trainer.settings, trainer.accelerator.num_processes
    part = -(-settings.batch_size // (settings.gradient_accumulation * num_processes))
    samples = samples_of_step(0, part, len(trainer.prompts), settings.seed)
    reason = compile_network(
        trainer.model.unet, lambda: torch.autograd.grad(trainer.evaluate(samples).loss, trainer.parameters)
    )
    if reason is not None:
        progress.warn(f"the U-Net is not compiled: {reason}")


def interrupt(run: RunFolder, shop: Workshop) -> str:
    """Keep the newest checkpoint's adapter for use as it is; says where training stands and how to go on."""
    checkpoints = list_checkpoints(run)
    if checkpoints and shop.processes.is_main_process:
        copy_adapter(checkpoints[-1], run.adapter)
    step = step_of(checkpoints[-1]) if checkpoints else 0
    rewards = shop.settings.rewards if runs_code(shop.settings.rewards) else ()
    command = resume_command(run.root, rewards, shop.processes)
    return f"interrupted after step {step} of {shop.settings.max_steps}; go on with: {command}"
