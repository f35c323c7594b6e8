"""From prompts to clips: a model opened, its chain run from pure noise, every frame decoded, and files written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
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
from ivideo.errors import IvideoError, UsageError
from ivideo.files.atomic import AlreadyThereError, check_folder
from ivideo.inputs.adapters import Adapter
from ivideo.inputs.prompts import check_prompts, negative_of, seed_of
from ivideo.inputs.provenance import Provenance, find_provenance
from ivideo.launch import ALONE, Launch, check_device
from ivideo.models.contract import ClipMaker, ClipRequest, TextToVideoModel
from ivideo.models.devices import choose_device, choose_dtype
from ivideo.models.families import find_preset, load_model
from ivideo.models.lora import adapter_merged, check_lora
from ivideo.progress import Progress, Silence
from ivideo.rewards.mixture import Rewards
from ivideo.rewards.registry import load_rewards
from ivideo.scoring.clips import ClipScore, score_clip
from ivideo.video.names import PlannedVideo, find_free_path, plan_files
from ivideo.video.reader import open_video, read_video
from ivideo.video.writer import NO_ENCODER, can_write_mp4, check_video_format, write_video


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
    settings: GenerationSettings,
    prompt: str,
    seed: int,
    frames: np.ndarray,
    adapter: Adapter | None = None,
    provenance: Provenance | None = None,
) -> dict[str, Any]:
    """What a video file says of itself: enough to make it again, and with a provenance to know it again."""
    num_frames, height, width, _ = frames.shape
    values = provenance.values if provenance else {}
    made = {name: values[name] for name in ("device", "dtype", "ivideo_version") if name in values}
    hashes = {"adapter_hash": provenance.adapter_hash, "recipe": provenance.digest} if provenance else {}
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
        **made,
        **hashes,
    }


def is_made(path: Path, prompt: str, seed: int, *, settings: GenerationSettings, provenance: Provenance) -> bool:
    """Whether a video is there, and was made as it would be now; one that does not say so was not."""
    try:
        said = open_video(path).metadata
    except IvideoError:
        return False
    negative = negative_of(prompt, settings.negative_prompt)
    wanted = {"prompt": prompt, "seed": seed, "negative_prompt": negative, "recipe": provenance.digest}
    return all(said.get(name) == value for name, value in wanted.items())


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


@dataclass(frozen=True)
class VideoMaker:
    """Makes the videos of one call and puts them where they were planned.

    Attributes:
        settings: of all.
        adapter: that the model has.
        provenance: what the clips depend on.
        rewards: what each video is scored by; None: none is.
        taken: the files of all videos that were planned.
        only: the file of the only video, where one was named.
        overwrite: whether files that are there make way.
    """

    settings: GenerationSettings
    adapter: Adapter | None
    provenance: Provenance
    rewards: Rewards | None
    taken: frozenset[Path]
    only: Path | None
    overwrite: bool

    def make(self, video: PlannedVideo, model: ClipMaker, progress: Progress) -> GeneratedVideo:
        """Make a video and write it."""
        clip = generate_clip(model, self.settings, video.prompt, video.seed, progress)
        if len(clip) != self.settings.num_frames:
            progress.warn(f"{model.name} made {len(clip)} frames, not {self.settings.num_frames}")
        return self._tell(replace(video, path=self.write(video, clip)), clip, self.settings.fps)

    def look_at(self, video: PlannedVideo) -> GeneratedVideo:
        """A video that is there already; it is read where it is to be scored."""
        if self.rewards is None:
            return GeneratedVideo(video.path, video.prompt, video.seed)
        found = read_video(video.path)
        return self._tell(video, found.frames, found.fps)

    def write(self, video: PlannedVideo, clip: np.ndarray) -> Path:
        """Write a clip to its file, or to the next one that is free if another launch came first with other videos.

        Raises:
            IvideoError: the file was named, and is there.
        """
        about = describe_generation(
            self.settings, video.prompt, video.seed, clip, self.adapter, provenance=self.provenance
        )
        fits = partial(is_made, settings=self.settings, provenance=self.provenance)
        path = video.path
        while True:
            try:
                return write_video(path, clip, self.settings.fps, about, replace=self.overwrite)
            except AlreadyThereError:
                if fits(path, video.prompt, video.seed):
                    return path
                if path == self.only:
                    raise
                path = find_free_path(video.path, video.prompt, video.seed, self.taken, fits)

    def _tell(self, video: PlannedVideo, clip: np.ndarray, fps: float) -> GeneratedVideo:
        if self.rewards is None:
            return GeneratedVideo(video.path, video.prompt, video.seed)
        score = score_clip(self.rewards, clip, video.prompt, self.settings, fps=fps)
        return GeneratedVideo(video.path, video.prompt, video.seed, score, self.rewards.labels)


NUM_LOOKED_AT = 16  # videos that are there, between two meetings of several processes


def generate(
    prompts: Sequence[str],
    output: Path,
    settings: GenerationSettings,
    *,
    adapter: Adapter | None = None,
    num_videos: int = 1,
    with_score: bool = False,
    overwrite: bool = False,
    progress: Progress | None = None,
    launch: Launch = ALONE,
) -> Iterator[GeneratedVideo]:
    """Generate videos and write each as soon as it is made: the work of `ivideo.generate`, whose arguments these are.

    The adapter is from `find_adapter`; video k of a prompt uses seed + k, its own seed if it has one. Several processes
    of a launch each make some of them, into one folder.

    Yields:
        Each video, in order, as soon as it is written; one that was there is scored as it lies there.

    Raises:
        UsageError: an empty prompt, or an output that cannot hold the videos.
        IvideoError: an output file that was made otherwise.
    """
    progress = progress or Silence()
    check_prompts(prompts)
    check_device(settings.device, launch)
    if num_videos < 1:
        raise UsageError(f"`num_videos` {num_videos}: must be at least 1")
    wanted = [(prompt, seed_of(prompt, settings.seed) + place) for prompt in prompts for place in range(num_videos)]
    provenance = launch.from_first(lambda: find_provenance(settings, adapter))
    fits = None if overwrite else partial(is_made, settings=settings, provenance=provenance)
    name = adapter.name if adapter else None
    planned = launch.from_first(lambda: plan_files(wanted, output, name, fits))
    for video in planned:
        check_video_format(video.path, settings.fps)
    check_folder(planned[0].path.parent)
    if planned[0].path != output:
        tell_of_gifs(progress)
    kept = [video for video in planned if video.is_kept]
    missing = [video for video in planned if not video.is_kept]
    if kept:
        progress.say(f"{len(kept)} of {len(planned)} videos are there already")
    rewards = load_rewards(settings.rewards, choose_device(settings.device)) if with_score else None
    taken, only = frozenset(video.path for video in planned), planned[0].path if planned[0].path == output else None
    maker = VideoMaker(settings, adapter, provenance, rewards, taken, only, overwrite)
    model = launch.after_first(lambda: open_model(settings, adapter, prompts)) if missing else None
    if model is not None:
        introduce(model, prompts, progress)
        tell_of_negatives(model, prompts, settings, progress)
    progress.start("videos", len(planned), len(kept))

    def make(videos: Sequence[PlannedVideo]) -> Iterator[GeneratedVideo]:
        if model is not None:
            with adapter_merged(model.network):
                yield from (maker.make(video, model, progress) for video in videos)

    made = launch.share(missing, make, 1)
    found = launch.share(kept, lambda videos: map(maker.look_at, videos), NUM_LOOKED_AT)
    for video in planned:
        done = next(found if video.is_kept else made)
        if not video.is_kept:
            progress.advance(done.path.name + (f"  reward {done.score.reward:.4f}" if done.score else ""))
        yield done
