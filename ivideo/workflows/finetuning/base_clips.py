"""The clips that a run edits: real ones, the base model's, or none where its chains start from noise."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ivideo.config.settings import FinetuneSettings
from ivideo.errors import UsageError
from ivideo.io.clip_lists import ListedClip
from ivideo.io.run_folder import RunFolder
from ivideo.models.lora import adapter_off
from ivideo.workflows.finetuning.clips import ClipCache
from ivideo.workflows.finetuning.processes import is_true_anywhere, own_share
from ivideo.workflows.finetuning.real_clips import RealClips
from ivideo.workflows.finetuning.samples import samples_of_step
from ivideo.workflows.finetuning.stop_signals import StopRequested, StopSignals
from ivideo.workflows.finetuning.trainer import ClipOf
from ivideo.workflows.finetuning.workshop import Workshop
from ivideo.workflows.parallel import map_on_cores


def check_start(settings: FinetuneSettings, listed: Sequence[ListedClip], clips: Path | None) -> None:
    """Hold where clips are to come from against what the chains start from.

    Args:
        settings: of the run.
        listed: real clips; empty if there are none.
        clips: an earlier run whose clips are to be taken over.

    Raises:
        UsageError: clips from two places, or clips for chains that start from noise.
    """
    if settings.start == "noise" and listed:
        raise UsageError("--start noise edits no clips, and the list to train on names videos: give prompts alone")
    if settings.start == "noise" and clips:
        raise UsageError("--start noise edits no clips: leave out --clips")
    if clips and listed:
        raise UsageError("--clips takes over generated clips, and the list to train on names videos")


def prepare_clips(run: RunFolder, shop: Workshop, real: RealClips | None, signals: StopSignals) -> ClipOf | None:
    """Make what base clips are missing; gives what loads a clip, or None where chains start from noise.

    Raises:
        StopRequested: a signal came; the clips so far are kept.
    """
    if shop.settings.start == "noise":
        return None
    if real:
        return real.load
    cache = ClipCache(run.clips, shop.model, shop.training, shop.settings)
    with adapter_off(shop.model.unet):
        generate_clips(cache, shop, signals)
    return cache.load


def generate_clips(cache: ClipCache, shop: Workshop, signals: StopSignals) -> None:
    """Generate the base model's clip of every prompt that the run will reach, each process its share.

    Raises:
        StopRequested: a signal came; the clips so far are kept.
    """
    settings, prompts = shop.settings, cache.prompts
    needed = {
        sample.item
        for step in range(min(settings.max_steps, -(-len(prompts) // settings.batch_size)))
        for sample in samples_of_step(step, settings.batch_size, len(prompts), settings.seed)
    }
    missing = own_share([item for item in sorted(needed) if not cache.path_of(item).is_file()], shop.processes)
    shop.progress.start("base clips", len(missing))
    for _ in map_on_cores(cache.generate, missing, cache.model.num_workers):
        shop.progress.advance()
        if signals.received is not None:
            break
    if is_true_anywhere(signals.received is not None, shop.processes):
        raise StopRequested
