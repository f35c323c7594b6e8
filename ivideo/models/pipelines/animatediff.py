"""AnimateDiff: a Stable Diffusion U-Net with motion modules; every frame is a latent of its own.

A folder of Stable Diffusion 1.5, or of a model tuned from it, gets the motion modules that were trained for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from ivideo.models.loading import import_quietly
from ivideo.models.pipelines.model import PipelineModel
from ivideo.models.pipelines.texts import Embeds
from ivideo.models.recomputing import again
from ivideo.models.unet3d.blocks import checkpoint_blocks
from ivideo.models.unet3d.schedule import DDIMStepper

FRAMES_AT_ONCE = 8  # frames of a real clip that are encoded together


class AnimateDiffModel(PipelineModel):
    """An AnimateDiffPipeline."""

    PIPELINE = "AnimateDiffPipeline"
    CLASSES: ClassVar[Mapping[str, str]] = {"unet": "", "motion_adapter": "MotionAdapter", "vae": "AutoencoderKL"}
    TEXT_CLASSES: ClassVar[Mapping[str, str]] = {"text_encoder": "CLIPTextModel", "tokenizer": ""}
    ELSEWHERE: ClassVar[Mapping[str, str]] = {"motion_adapter": "guoyww/animatediff-motion-adapter-v1-5-3"}
    PRESET = "animatediff"
    FRAMES_PER_LATENT = 1
    SIZE = (512, 512)

    @classmethod
    def adapt_scheduler(cls, scheduler: Any, index: Mapping[str, Any]) -> Any:
        """Of Stable Diffusion's folder the DDIM scheduler that the motion modules were trained with.

        Source: diffusers' documentation of AnimateDiff.
        """
        if "motion_adapter" in index:
            return scheduler
        own = {"clip_sample": False, "timestep_spacing": "linspace", "beta_schedule": "linear", "steps_offset": 1}
        return import_quietly("diffusers").DDIMScheduler.from_config(scheduler.config, **own)

    @classmethod
    def encode_text(cls, encoders: Any, text: str, dtype: torch.dtype) -> Embeds:
        """CLIP's states."""
        embeds, _ = encoders.encode_prompt([text], encoders.device, 1, False)
        return {"prompt_embeds": embeds}

    @property
    def spatial_factor(self) -> int:
        """Pixels a latent cell."""
        return int(self.pipeline.vae_scale_factor)

    @property
    def size_multiple(self) -> int:
        """Height and width must be multiples of this, in pixels, to survive the U-Net's halvings."""
        return self.spatial_factor * int(2 ** (len(self.network.config.block_out_channels) - 1))

    @property
    def max_tokens(self) -> int:
        """Of a prompt."""
        return int(self.pipeline.tokenizer.model_max_length)

    def stepper(self, num_inference_steps: int, shape: Sequence[int] = ()) -> DDIMStepper:
        """DDIM steps over the model's betas."""
        return DDIMStepper(self.pipeline.scheduler, num_inference_steps)

    def predict(
        self, latents: Tensor, timestep: Tensor, embeds: Mapping[str, Tensor], guidance_scale: float, fps: float
    ) -> Tensor:
        """The noise; every frame is told the prompt."""
        states = embeds["encoder_hidden_states"].repeat_interleave(latents.shape[2], dim=0)
        noise_pred: Tensor = self.network(latents, timestep[0], encoder_hidden_states=states, return_dict=False)[0]
        return noise_pred

    def normalise(self, latents: Tensor) -> Tensor:
        """Z * scaling factor."""
        result: Tensor = latents * self.vae.config.scaling_factor
        return result

    def denormalise(self, latents: Tensor) -> Tensor:
        """Z / scaling factor."""
        result: Tensor = 1 / self.vae.config.scaling_factor * latents
        return result

    def recompute_blocks(self) -> None:
        """Let every block recompute; diffusers' own checkpointing keeps the activations of motion modules."""
        checkpoint_blocks(self.network)

    def decode_some(self, latents: Tensor, indices: Sequence[int], recompute: bool) -> Tensor:
        """Decode those frames alone, with recomputation one after the other."""
        drawn = self.denormalise(latents[:, list(indices)].transpose(0, 1)).to(self.vae.dtype)
        decode = partial(self.vae_for_drawn(latents).decode, return_dict=False)
        if not recompute:
            return torch.cat([decode(part)[0] for part in drawn.split(FRAMES_AT_ONCE)])
        return torch.cat([again(decode, part)[0] for part in drawn.split(1)])

    def decode(self, vae: Any, latents: Tensor) -> Tensor:
        """The frames of a clip (1, 3, num_frames, height, width), denormalised latents given."""
        frames = [vae.decode(part, return_dict=False)[0] for part in latents[0].transpose(0, 1).split(FRAMES_AT_ONCE)]
        return torch.cat(frames).transpose(0, 1)[None]

    @torch.no_grad()
    def encode_frames(self, frames: Tensor) -> Tensor:
        """Clean latents of clips, frame by frame."""
        scaled = (2 * frames.flatten(0, 1) - 1).to(self.vae.dtype)
        means = [self.vae.encode(part).latent_dist.mean.float() for part in scaled.split(FRAMES_AT_ONCE)]
        return self.normalise(torch.cat(means).unflatten(0, frames.shape[:2]).transpose(1, 2).contiguous())
