"""The clips that are edited: generated once by the base model, kept as latents in the run folder."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

from ivideo.config.settings import FinetuneSettings
from ivideo.core.draws import generator_for
from ivideo.io.files import atomic_path
from ivideo.models.text_to_video import TextToVideoModel
from ivideo.workflows.generation import generate_latents
from ivideo.workflows.resolve import generation_settings


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

    def load(self, item: int) -> Tensor:
        """Latents (channels, num_frames, height, width), float32, on the CPU."""
        return load_file(self.path_of(item))["latents"]
