"""From prompts to clips: a model opened, its chain run from pure noise, every frame decoded, and files written."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ivideo.config.parts import read_call_arguments
from ivideo.config.presets import PRESETS
from ivideo.config.settings import GenerationSettings
from ivideo.core.draws import draw_normal
from ivideo.core.sampler import run_chain
from ivideo.errors import UsageError
from ivideo.files.atomic import check_folder
from ivideo.inputs.adapters import Adapter
from ivideo.inputs.prompts import check_prompts, negative_of, seed_of
from ivideo.models.contract import ClipMaker, ClipRequest, TextToVideoModel
from ivideo.models.devices import choose_device, choose_dtype
from ivideo.models.families import find_preset, load_model
from ivideo.models.lora import adapter_merged, check_lora
from ivideo.progress import Progress, Silence
from ivideo.rewards.registry import load_rewards
from ivideo.scoring.clips import ClipScore, score_clip
from ivideo.video.writer import (
    NO_ENCODER,
    VIDEO_SUFFIXES,
    can_write_mp4,
    check_video_format,
    default_suffix,
    write_video,
)


def open_model(settings: GenerationSettings, adapter: Adapter | None = None, prompts: Sequence[str] = ()) -> ClipMaker:
    """The settings' model on its device, with an adapter if one is given.

    Args:
        settings: name it, and what it is asked for.
        adapter: what is put into it.
        prompts: all that it will be asked for; large text encoders see them before the network is loaded.

    Raises:
        UsageError: no such model or device, or a size, frames or arguments that the model cannot take.
        IvideoError: the model or the adapter cannot be loaded.
    """
    device = choose_device(settings.device)
    negatives = [negative_of(prompt, settings.negative_prompt) for prompt in prompts]
    dtype, texts = choose_dtype(settings.dtype, device), [*prompts, settings.negative_prompt, *negatives]
    model = load_model(settings.model, device, dtype, texts=texts, options=settings.family_options)
    model.check_request(request_for(settings, "", 0))
    if adapter is not None:
        model.load_adapter(adapter.path, adapter.scale)
        check_lora(model.network, adapter.path)
    return model


def latents_shape(model: TextToVideoModel, settings: GenerationSettings) -> tuple[int, ...]:
    """Shape of one clip's latents.

    Raises:
        UsageError: a size or a number of frames that the model cannot make.
    """
    return model.latents_shape(settings.num_frames, *model.fit_size(settings.height, settings.width))


def introduce(model: ClipMaker, prompts: Sequence[str], progress: Progress) -> None:
    """Tell what is to be told of a model, once, and name the prompts that it cannot read as they are."""
    for remark in model.remarks:
        progress.say(remark)
    model.remarks = ()
    if model.name not in PRESETS:
        preset = find_preset(model.name)
        whose = f"as for {preset}, but for the size" if isinstance(preset, str) else "as its pipeline has it"
        progress.say(f"{model.name} has no preset: what nobody set is {whose}")
    for prompt in prompts:
        for problem in model.find_prompt_problems(prompt):
            progress.warn(f"prompt {prompt!r}: {problem}")


def tell_of_negatives(
    model: ClipMaker, prompts: Sequence[str], settings: GenerationSettings, progress: Progress
) -> None:
    """Say where prompts have negative prompts that change nothing: the model takes none, or guidance is off."""
    several = [prompt for prompt in prompts if negative_of(prompt, settings.negative_prompt)]
    reason = "" if model.has_negative else f"{model.name} takes none"
    if settings.guidance_scale == 1:
        reason = "`guidance_scale` 1 is no guidance"
    if several and reason:
        progress.warn(f"negative prompts of {len(several)} of {len(prompts)} prompts change nothing: {reason}")


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
    shape = latents_shape(model, settings)
    stepper = model.stepper(settings.num_inference_steps, shape)
    noise = draw_initial_noise(shape, seeds).to(model.device)
    negatives = [negative_of(prompt, settings.negative_prompt) for prompt in prompts]
    conditioning = model.encode_prompts(prompts, negatives)
    denoise = model.denoiser(settings.guidance_scale, batched=settings.guidance_batching, fps=settings.fps)
    return run_chain(denoise, stepper, noise, stepper.timesteps, conditioning)


def request_for(settings: GenerationSettings, prompt: str, seed: int) -> ClipRequest:
    """The clip of a prompt and a seed that settings ask for."""
    names = ("num_frames", "height", "width", "num_inference_steps", "guidance_scale", "fps", "guidance_batching")
    values = {name: getattr(settings, name) for name in names}
    values["negative_prompt"] = negative_of(prompt, settings.negative_prompt)
    return ClipRequest(prompt, seed, extra=read_call_arguments(settings.call_arguments), **values)


def generate_clip(
    model: ClipMaker, settings: GenerationSettings, prompt: str, seed: int, progress: Progress | None = None
) -> np.ndarray:
    """One clip, uint8 (num_frames, height, width, 3); the same seed always gives the same clip.

    Args:
        model: makes it.
        settings: the model's.
        prompt: what it should show.
        seed: fixes it.
        progress: is told of every step, where the model can tell.
    """
    request = request_for(settings, prompt, seed)
    if progress is not None and model.tells_steps:
        progress.start("steps", settings.num_inference_steps)
        request = replace(request, on_step=progress.advance)
    clip: np.ndarray = model.make_clip(request).numpy()
    return clip


def describe_generation(
    settings: GenerationSettings, prompt: str, seed: int, frames: np.ndarray, adapter: Adapter | None = None
) -> dict[str, Any]:
    """What a video file says of itself: enough to make it again."""
    num_frames, height, width, _ = frames.shape
    return {
        "prompt": prompt,
        "seed": seed,
        "model": settings.model,
        **settings.told_options,
        "adapter": str(adapter.path) if adapter else None,
        "lora_scale": adapter.scale if adapter else None,
        "negative_prompt": negative_of(prompt, settings.negative_prompt),
        "num_frames": num_frames,
        "height": height,
        "width": width,
        "fps": settings.fps,
        "num_inference_steps": settings.num_inference_steps,
        "guidance_scale": settings.guidance_scale,
        "dtype": settings.dtype,
        **({"call_arguments": list(settings.call_arguments)} if settings.call_arguments else {}),
    }


@dataclass(frozen=True)
class GeneratedVideo:
    """A video that was made.

    Attributes:
        path: its file.
        prompt: what it should show.
        seed: what it was drawn from.
        score: if one was asked for.
        labels: how its rewards are to be read, by name.
    """

    path: Path
    prompt: str
    seed: int
    score: ClipScore | None = None
    labels: dict[str, str] = field(default_factory=dict)


def file_stem(prompt: str) -> str:
    """A prompt as a file name: its words joined by dashes, at most 60 characters."""
    return re.sub(r"[\W_]+", "-", prompt.lower()).strip("-")[:60].rstrip("-") or "video"


def plan_files(
    prompts: Sequence[str], seeds: Sequence[int], output: Path, adapter_name: str | None
) -> list[tuple[str, int, Path]]:
    """Which clip goes where: (prompt, seed, path) for each prompt and seed, no path twice.

    A prompt with a seed of its own has as many from there on.

    Raises:
        UsageError: an output file for several clips, or one that is no video.
    """
    if output.suffix and not output.is_dir():
        if output.suffix.lower() not in VIDEO_SUFFIXES:
            raise UsageError(f"`output` {output}: a video ends in .mp4 or .gif; a new folder has no suffix")
        count = len(prompts) * len(seeds)
        if count != 1:
            raise UsageError(f"`output` {output} is one file for {count} videos; give a folder")
        return [(prompts[0], seed_of(prompts[0], seeds[0]), output)]
    planned: list[tuple[str, int, Path]] = []
    suffix = default_suffix()
    taken: set[Path] = set()
    for prompt in prompts:
        for seed in (seed_of(prompt, seeds[0]) + place for place in range(len(seeds))):
            stem = "_".join(filter(None, (file_stem(prompt), f"seed{seed}", adapter_name)))
            path, number = output / f"{stem}{suffix}", 2
            while path in taken:
                path, number = output / f"{stem}_{number}{suffix}", number + 1
            taken.add(path)
            planned.append((prompt, seed, path))
    return planned


def generate(
    prompts: Sequence[str],
    output: Path,
    settings: GenerationSettings,
    *,
    adapter: Adapter | None = None,
    num_videos: int = 1,
    with_score: bool = False,
    progress: Progress | None = None,
) -> Iterator[GeneratedVideo]:
    """Generate videos and write each as soon as it is made: the work of `ivideo.generate`, whose arguments these are.

    The adapter is from `find_adapter`; video k of a prompt uses seed + k.

    Yields:
        Each video as soon as it is written.

    Raises:
        UsageError: an empty prompt, or an output that cannot hold the videos.
    """
    progress = progress or Silence()
    check_prompts(prompts)
    if num_videos < 1:
        raise UsageError(f"`num_videos` {num_videos}: must be at least 1")
    seeds = range(settings.seed, settings.seed + num_videos)
    planned = plan_files(prompts, seeds, output, adapter.name if adapter else None)
    for _, _, path in planned:
        check_video_format(path, settings.fps)
    check_folder(planned[0][2].parent)
    if planned[0][2] != output:
        tell_of_gifs(progress)
    rewards = load_rewards(settings.rewards, choose_device(settings.device)) if with_score else None
    model = open_model(settings, adapter, prompts)
    introduce(model, prompts, progress)
    tell_of_negatives(model, prompts, settings, progress)
    progress.start("videos", len(planned))
    with adapter_merged(model.network):
        for prompt, seed, path in planned:
            clip = generate_clip(model, settings, prompt, seed, progress)
            if len(clip) != settings.num_frames:
                progress.warn(f"{model.name} made {len(clip)} frames, not {settings.num_frames}")
            write_video(path, clip, settings.fps, describe_generation(settings, prompt, seed, clip, adapter))
            score = score_clip(rewards, clip, prompt, settings, fps=settings.fps) if rewards else None
            progress.advance(path.name + (f"  reward {score.reward:.4f}" if score else ""))
            yield GeneratedVideo(path, prompt, seed, score, rewards.labels if rewards else {})
