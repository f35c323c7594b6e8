"""A clip from a prompt: the full chain from pure noise, then every frame decoded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ivideo.config.settings import GenerationSettings
from ivideo.core.draws import draw_normal
from ivideo.core.sampler import run_chain
from ivideo.errors import UsageError
from ivideo.io.video import NO_ENCODER, can_write_mp4
from ivideo.models.lora import load_lora
from ivideo.models.registry import choose_device, choose_dtype, load_text_to_video
from ivideo.models.text_to_video import TextToVideoModel
from ivideo.workflows.progress import Progress
from ivideo.workflows.resolve import Adapter


def open_model(settings: GenerationSettings, adapter: Adapter | None = None) -> TextToVideoModel:
    """The settings' model on its device, with an adapter if one is given.

    Raises:
        UsageError: no such model or device, or a size or number of steps that the model cannot make.
        IvideoError: the model or the adapter cannot be loaded.
    """
    device = choose_device(settings.device)
    model = load_text_to_video(settings.model, device, choose_dtype(settings.dtype, device), settings.unet)
    latents_shape(model, settings)
    model.stepper(settings.num_inference_steps)
    if adapter is not None:
        load_lora(model.unet, adapter.path, adapter.scale)
        model.unet.to(device)
    return model


def latents_shape(model: TextToVideoModel, settings: GenerationSettings) -> tuple[int, int, int, int]:
    """Shape (channels, num_frames, height, width) of one clip's latents.

    Raises:
        UsageError: height or width is no multiple of what the model needs.
    """
    height, width = settings.height or model.default_size[0], settings.width or model.default_size[1]
    for name, value in (("height", height), ("width", width)):
        if value % model.size_multiple:
            raise UsageError(f"--{name} {value}: {settings.model} needs a multiple of {model.size_multiple}")
    return model.latents_shape(settings.num_frames, height, width)


def warn_of_prompts(model: TextToVideoModel, prompts: Sequence[str], progress: Progress) -> None:
    """Name the prompts that the text encoder cannot read as they are."""
    for prompt in prompts:
        for problem in model.find_prompt_problems(prompt):
            progress.warn(f"prompt {prompt!r}: {problem}")


def tell_of_gifs(progress: Progress) -> None:
    """Say that videos without a given name become GIFs, on a machine where they do."""
    if not can_write_mp4():
        progress.say(f"{NO_ENCODER}: videos are written as GIF")


def draw_initial_noise(shape: Sequence[int], seeds: Sequence[int]) -> Tensor:
    """The noise that generations start from, one row (channels, num_frames, height, width) a seed."""
    return torch.cat([draw_normal(shape, seed=seed, step=0, sample_indices=[0], purpose="generate") for seed in seeds])


@torch.no_grad()
def generate_latents(
    model: TextToVideoModel, settings: GenerationSettings, prompts: Sequence[str], seeds: Sequence[int]
) -> Tensor:
    """Latents (len(prompts), channels, num_frames, height, width) of one clip a prompt, each from its own seed."""
    stepper = model.stepper(settings.num_inference_steps)
    noise = draw_initial_noise(latents_shape(model, settings), seeds).to(model.device)
    conditioning = model.encode_prompts(prompts, settings.negative_prompt)
    denoise = model.denoiser(settings.guidance_scale, batched=settings.guidance_batching)
    return run_chain(denoise, stepper, noise, stepper.timesteps, conditioning)


def generate_clip(model: TextToVideoModel, settings: GenerationSettings, prompt: str, seed: int) -> np.ndarray:
    """One clip, uint8 (num_frames, height, width, 3); the same seed always gives the same clip."""
    latents = generate_latents(model, settings, [prompt], [seed])
    clip: np.ndarray = model.decode_clip(latents[0]).numpy()
    return clip


def describe_generation(
    settings: GenerationSettings, prompt: str, seed: int, frames: np.ndarray, adapter: Adapter | None = None
) -> dict[str, Any]:
    """What a video file says of itself: enough to make it again."""
    _, height, width, _ = frames.shape
    return {
        "prompt": prompt,
        "seed": seed,
        "model": settings.model,
        "unet": settings.unet,
        "adapter": str(adapter.path) if adapter else None,
        "lora_scale": adapter.scale if adapter else None,
        "negative_prompt": settings.negative_prompt,
        "num_frames": settings.num_frames,
        "height": height,
        "width": width,
        "fps": settings.fps,
        "num_inference_steps": settings.num_inference_steps,
        "guidance_scale": settings.guidance_scale,
        "dtype": settings.dtype,
    }
