"""The clips that are edited: generated once by the base model, kept as latents in the run folder."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from ivideo.config.settings import FinetuneSettings
from ivideo.core.draws import generator_for
from ivideo.errors import IvideoError
from ivideo.io.files import atomic_path
from ivideo.io.run_folder import open_run_folder
from ivideo.models.loading import explain_damage
from ivideo.models.text_to_video import TextToVideoModel
from ivideo.workflows.generation import generate_latents, latents_shape
from ivideo.workflows.resolve import generation_settings, read_run_settings

# What the base model's clip of a prompt depends on, but for its seed and its type's rounding.
CLIP_SETTINGS = (
    "model",
    "unet",
    "num_frames",
    "height",
    "width",
    "num_inference_steps",
    "generation_guidance_scale",
    "negative_prompt",
)


class ClipCache:
    """Latents of the base model's clip of each prompt, generated when first asked for.

    The model must show its base: create the clips before an adapter is injected, or with it switched off.
    """

    def __init__(self, folder: Path, model: TextToVideoModel, prompts: list[str], settings: FinetuneSettings) -> None:
        """Keep the clips in a folder, a safetensors file a prompt."""
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
        seed = generator_for(self.seed, 0, item, "clip").initial_seed()
        latents = generate_latents(self.model, self.generation, [self.prompts[item]], [seed])[0]
        with atomic_path(self.path_of(item)) as path:
            save_file({"latents": latents.float().cpu().contiguous()}, path, {"prompt": self.prompts[item]})

    def copy_from(self, clips: Mapping[str, Path]) -> int:
        """Take over ready clips (`find_clips`) of this run's prompts; gives how many.

        Raises:
            IvideoError: one is damaged or of another size.
        """
        taken = [(item, clips[prompt]) for item, prompt in enumerate(self.prompts) if prompt in clips]
        for item, source in taken:
            check_clip(source, latents_shape(self.model, self.generation))
            with atomic_path(self.path_of(item)) as path:
                shutil.copyfile(source, path)
        return len(taken)

    def load(self, item: int) -> Tensor:
        """The latents of a prompt's clip.

        Raises:
            IvideoError: see `read_latents`.
        """
        return read_latents(self.path_of(item))


def find_clips(path: Path, prompts: Sequence[str], settings: FinetuneSettings) -> dict[str, Path]:
    """The clips of an earlier run, by prompt.

    Args:
        path: the run's folder.
        prompts: what this run trains on; a clip of at least one of them must be there.
        settings: this run's; what clips depend on must be the same in both.

    Raises:
        IvideoError: no run, other settings, no clip of these prompts, or a damaged one.
    """
    run = open_run_folder(path)
    own, theirs = settings.model_dump(), read_run_settings(run).model_dump()
    if other := [f"{name} {theirs[name]!r}, not {own[name]!r}" for name in CLIP_SETTINGS if theirs[name] != own[name]]:
        raise IvideoError(f"--clips {path}: its clips have {'; '.join(other)}")
    found = {read_prompt(clip): clip for clip in sorted(run.clips.glob("*.safetensors"))}
    if not found.keys() & {*prompts}:
        raise IvideoError(f"--clips {path} has no clip of these prompts")
    return found


def read_prompt(clip: Path) -> str:
    """The prompt that a clip's file names; empty if it names none.

    Raises:
        IvideoError: it is no such file.
    """
    with _explain_clip(clip), safe_open(clip, framework="pt") as file:
        return str((file.metadata() or {}).get("prompt", ""))


def check_clip(clip: Path, shape: tuple[int, ...]) -> None:
    """Hold the shape of a clip's latents against what the model makes.

    Raises:
        IvideoError: another shape, or a damaged file.
    """
    with _explain_clip(clip), safe_open(clip, framework="pt") as file:
        found = tuple(file.get_slice("latents").get_shape())
    if found != shape:
        raise IvideoError(f"clip {clip} has latents of the shape {found}, not {shape}")


def read_latents(clip: Path) -> Tensor:
    """A clip's latents (channels, num_frames, height, width), float32, on the CPU.

    Raises:
        IvideoError: a damaged file, or none.
    """
    with _explain_clip(clip):
        return load_file(clip)["latents"]


def _explain_clip(clip: Path) -> AbstractContextManager[None]:
    return explain_damage(f"clip {clip} is damaged")
