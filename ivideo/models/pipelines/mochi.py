"""Mochi: velocity towards the data, on a schedule that is linear at first and quadratic then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ivideo.models.pipelines.model import PipelineModel
from ivideo.models.pipelines.schedule import AffineStepper, flow_stepper
from ivideo.models.pipelines.texts import Embeds
from ivideo.models.vae import channel_statistics

THRESHOLD = 0.025  # noise where the schedule turns from linear to quadratic, as in the pipeline


class MochiModel(PipelineModel):
    """A MochiPipeline."""

    PIPELINE = "MochiPipeline"
    CLASSES: ClassVar[Mapping[str, str]] = {"transformer": "MochiTransformer3DModel", "vae": "AutoencoderKLMochi"}
    TEXT_CLASSES: ClassVar[Mapping[str, str]] = {"text_encoder": "T5EncoderModel", "tokenizer": ""}
    PRESET = "mochi"
    FRAMES_PER_LATENT = 6
    SIZE = (480, 848)

    @classmethod
    def encode_text(cls, encoders: Any, text: str, dtype: torch.dtype) -> Embeds:
        """T5's states and mask."""
        embeds, mask, _, _ = encoders.encode_prompt([text], None, False, device=encoders.device)
        return {"prompt_embeds": embeds, "prompt_attention_mask": mask}

    @property
    def spatial_factor(self) -> int:
        """Pixels a latent cell."""
        return int(self.pipeline.vae_spatial_scale_factor)

    @property
    def max_tokens(self) -> int:
        """Of a prompt."""
        return 256

    def stepper(self, num_inference_steps: int, shape: Sequence[int] = ()) -> AffineStepper:
        """Euler steps over the pipeline's sigmas."""
        from diffusers.pipelines.mochi.pipeline_mochi import linear_quadratic_schedule

        sigmas = np.array(linear_quadratic_schedule(num_inference_steps, THRESHOLD))
        return flow_stepper(self.pipeline.scheduler, towards_data=True, sigmas=sigmas)

    def predict(
        self, latents: Tensor, timestep: Tensor, embeds: Mapping[str, Tensor], guidance_scale: float, fps: float
    ) -> Tensor:
        """Clean latents - noise."""
        velocity: Tensor = self.pipeline.transformer(
            hidden_states=latents, timestep=timestep.to(latents.dtype), return_dict=False, **embeds
        )[0]
        return velocity

    def normalise(self, latents: Tensor) -> Tensor:
        """(z - mean) * scaling factor / std, by channel."""
        mean, std = channel_statistics(self.vae, latents)
        result: Tensor = (latents - mean) * self.vae.config.scaling_factor / std
        return result

    def denormalise(self, latents: Tensor) -> Tensor:
        """Z * std / scaling factor + mean."""
        mean, std = channel_statistics(self.vae, latents)
        result: Tensor = latents * std / self.vae.config.scaling_factor + mean
        return result

    def num_latents_for(self, frame: int, num_latents: int) -> int:
        """Up to the one that holds the frame: the decoder looks at no later ones."""
        return (frame + self.FRAMES_PER_LATENT - 1) // self.FRAMES_PER_LATENT + 1
