"""The clips that a run edits: real ones, the base model's, or none where its chains start from noise.

A file of a clip that is damaged or not there is an IvideoError.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from ivideo.config.fields import Resume, names_by_resume
from ivideo.config.merge import read_run_settings
from ivideo.config.settings import FinetuneSettings, generation_settings
from ivideo.core.draws import generator_for
from ivideo.errors import IvideoError, UsageError
from ivideo.files.atomic import atomic_path
from ivideo.files.reading import check_file
from ivideo.files.run_folder import RunFolder, open_run_folder
from ivideo.generating import generate_latents, latents_shape
from ivideo.inputs.clip_lists import ListedClip
from ivideo.inputs.prompts import Prompt, identify, own_of, seed_of
from ivideo.models.contract import TextToVideoModel
from ivideo.models.devices import map_on_cores
from ivideo.models.loading import explain_damage, is_finite
from ivideo.models.lora import adapter_off
from ivideo.processes import StopRequested, StopSignals, is_true_anywhere, own_share
from ivideo.training.context import RunContext
from ivideo.training.draws import samples_of_step
from ivideo.training.step import ClipOf


class ClipCache:
    """Latents of the base model's clip of each prompt, generated when first asked for.

    The model must show its base: create the clips before an adapter is injected, or with it switched off.
    """

    def __init__(self, folder: Path, model: TextToVideoModel, prompts: list[str], settings: FinetuneSettings) -> None:
        """Say where clips are kept and how they are generated.

        Args:
            folder: gets a safetensors file a prompt.
            model: what generates them.
            prompts: of the run, in its order.
            settings: of the run; size, steps and seed matter.
        """
        self.folder, self.model, self.prompts = folder, model, prompts
        self.seed = settings.seed
        steps = {"num_inference_steps": settings.num_inference_steps}
        self.generation = generation_settings(settings).model_copy(update=steps)

    def path_of(self, item: int) -> Path:
        """The file of a prompt's clip."""
        return self.folder / f"{item:05d}.safetensors"

    def generate(self, item: int) -> None:
        """Generate one prompt's clip (full chain of the edit's steps) unless it is there already."""
        if self.path_of(item).is_file():
            return
        prompt = self.prompts[item]
        seed = seed_of(prompt, generator_for(self.seed, 0, item, "clip").initial_seed())
        latents = generate_latents(self.model, self.generation, [prompt], [seed])[0]
        notes = {"prompt": str(prompt), **{name: str(value) for name, value in own_of(prompt).items()}}
        with atomic_path(self.path_of(item)) as path:
            save_file({"latents": latents.float().cpu().contiguous()}, path, notes)

    def copy_from(self, clips: Mapping[str, Path]) -> int:
        """Take over ready clips (`find_clips`) of this run's prompts; gives how many.

        Args:
            clips: by `identify` of their prompts.

        Raises:
            IvideoError: one is damaged or of another size.
        """
        keys = [identify(prompt) for prompt in self.prompts]
        taken = [(item, clips[key]) for item, key in enumerate(keys) if key in clips]
        for item, source in taken:
            check_clip(source, latents_shape(self.model, self.generation))
            with atomic_path(self.path_of(item)) as path:
                shutil.copyfile(source, path)
        return len(taken)

    def load(self, item: int) -> Tensor:
        """The latents of a prompt's clip.

        Raises:
            IvideoError: they are damaged, or another model's.
        """
        return read_latents(self.path_of(item), latents_shape(self.model, self.generation))


def find_clips(path: Path, prompts: Sequence[str], settings: FinetuneSettings) -> dict[str, Path]:
    """The clips of an earlier run, by `identify` of their prompts.

    Args:
        path: the run's folder.
        prompts: what this run trains on; a clip of at least one of them must be there.
        settings: this run's; what clips depend on must be the same in both.

    Raises:
        IvideoError: no run, other settings, no clip of these prompts, or a damaged one.
    """
    run = open_run_folder(path)
    own, theirs = settings.model_dump(), read_run_settings(run).model_dump()
    names = names_by_resume(type(settings), Resume.CLIPS)
    if other := [f"{name} {theirs[name]!r}, not {own[name]!r}" for name in names if theirs[name] != own[name]]:
        raise IvideoError(f"`clips` {path}: its clips have {'; '.join(other)}")
    found = {identify(read_prompt(clip)): clip for clip in sorted(run.clips.glob("*.safetensors"))}
    if not found.keys() & {*map(identify, prompts)}:
        raise IvideoError(f"`clips` {path} has no clip of these prompts")
    return found


def read_prompt(clip: Path) -> Prompt:
    """The prompt that a clip's file names; empty if it names none."""
    with _explain_clip(clip), safe_open(check_file(clip), framework="pt") as file:
        notes = file.metadata() or {}
        seed = int(notes["seed"]) if "seed" in notes else None
        return Prompt(notes.get("prompt", ""), notes.get("negative_prompt"), seed)


def check_clip(clip: Path, shape: tuple[int, ...]) -> None:
    """Hold the shape and type of a clip's latents against what the model makes, without reading them.

    Args:
        clip: a safetensors file.
        shape: (channels, num_frames, height, width).

    Raises:
        IvideoError: other ones, or a damaged file.
    """
    with _explain_clip(clip), safe_open(check_file(clip), framework="pt") as file:
        held = file.get_slice("latents")
        found, dtype = tuple(held.get_shape()), held.get_dtype()
    if found != shape or dtype != "F32":
        raise IvideoError(f"clip {clip} has {dtype} latents of the shape {found}, not F32 ones of {shape}{ANEW}")


def read_latents(clip: Path, shape: tuple[int, ...]) -> Tensor:
    """A clip's latents, float32, on the CPU.

    Args:
        clip: a safetensors file.
        shape: that they must have, (channels, num_frames, height, width).

    Raises:
        IvideoError: other ones, no finite numbers, or a damaged file.
    """
    check_clip(clip, shape)
    with _explain_clip(clip):
        latents = load_file(clip)["latents"]
    if not is_finite(latents):
        raise IvideoError(f"clip {clip} has latents that are no finite numbers{ANEW}")
    return latents


ANEW = "; remove it to have it made anew"


def _explain_clip(clip: Path) -> AbstractContextManager[None]:
    return explain_damage(f"clip {clip} is damaged", ANEW)


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
        raise UsageError("`start` noise edits no clips, and the list to train on names videos: give prompts alone")
    if settings.start == "noise" and clips:
        raise UsageError("`start` noise edits no clips: leave out `clips`")
    if clips and listed:
        raise UsageError("`clips` takes over generated clips, and the list to train on names videos")


def prepare_clips(run: RunFolder, context: RunContext, signals: StopSignals) -> ClipOf | None:
    """Generate the base clip of every prompt that the run will reach, each process its share, unless it is there.

    Args:
        run: keeps the clips.
        context: what the run is worked on with; its model may have an adapter.
        signals: is looked at after every clip.

    Returns:
        What loads a clip; None where chains start from noise.

    Raises:
        StopRequested: a signal came; the clips so far are kept.
    """
    settings, prompts = context.settings, context.training
    if settings.start == "noise":
        return None
    cache = ClipCache(run.clips, context.model, prompts, settings)
    needed = {
        sample.item
        for step in range(min(settings.max_steps, -(-len(prompts) // settings.batch_size)))
        for sample in samples_of_step(step, settings.batch_size, len(prompts), settings.seed)
    }
    missing = own_share([item for item in sorted(needed) if not cache.path_of(item).is_file()], context.processes)
    context.progress.start("base clips", len(missing))
    with adapter_off(context.model.network):
        for _ in map_on_cores(cache.generate, missing, context.model.num_workers):
            context.progress.advance()
            if signals.received is not None:
                break
    if is_true_anywhere(signals.received is not None, context.processes):
        raise StopRequested
    return cache.load
