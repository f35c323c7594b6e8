"""LTX-Video: packed latents, a schedule that depends on the number of tokens, and a frame rate in its positions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ivideo.errors import IvideoError
from ivideo.models.contract import ClipRequest
from ivideo.models.pipelines.model import PipelineModel
from ivideo.models.pipelines.schedule import AffineStepper, flow_stepper
from ivideo.models.pipelines.texts import Embeds


class LTXModel(PipelineModel):
    """An LTXPipeline whose autoencoder takes no timestep (0.9.0)."""

    PIPELINE = "LTXPipeline"
    CLASSES: ClassVar[Mapping[str, str]] = {"transformer": "LTXVideoTransformer3DModel", "vae": "AutoencoderKLLTXVideo"}
    TEXT_CLASSES: ClassVar[Mapping[str, str]] = {"text_encoder": "T5EncoderModel", "tokenizer": ""}
    PRESET = "ltx-video"
    FRAMES_PER_LATENT = 8
    SIZE = (512, 704)

    def __init__(self, name: str, pipeline: Any, *rest: Any) -> None:
        """See `PipelineModel`.

        Raises:
            IvideoError: an autoencoder that draws noise while it decodes.
        """
        if pipeline.vae.config.timestep_conditioning:
            raise IvideoError(f"model {name!r} has an autoencoder with a timestep, which is not supported yet")
        super().__init__(name, pipeline, *rest)
        self.patches = pipeline.transformer_spatial_patch_size, pipeline.transformer_temporal_patch_size

    @classmethod
    def encode_text(cls, encoders: Any, text: str, dtype: torch.dtype) -> Embeds:
        """T5's states and mask."""
        embeds, mask, _, _ = encoders.encode_prompt([text], None, False, device=encoders.device)
        return {"prompt_embeds": embeds, "prompt_attention_mask": mask}

    @property
    def spatial_factor(self) -> int:
        """Pixels a latent cell."""
        return int(self.pipeline.vae_spatial_compression_ratio)

    @property
    def size_multiple(self) -> int:
        """Height and width must be multiples of this, in pixels."""
        return 32

    @property
    def max_tokens(self) -> int:
        """Of a prompt."""
        return 128

    def stepper(self, num_inference_steps: int, shape: Sequence[int] = ()) -> AffineStepper:
        """Euler steps; where the scheduler shifts by length, that of a clip with latents of `shape`."""
        from diffusers.pipelines.ltx.pipeline_ltx import calculate_shift

        config = self.pipeline.scheduler.config
        names = {"base_image_seq_len": 256, "max_image_seq_len": 4096, "base_shift": 0.5, "max_shift": 1.15}
        shift = calculate_shift(
            int(np.prod(shape[1:])), *(config.get(name, default) for name, default in names.items())
        )
        sigmas = np.linspace(1.0, 1 / num_inference_steps, num_inference_steps)
        return flow_stepper(self.pipeline.scheduler, sigmas=sigmas, mu=shift)

    def predict(
        self, latents: Tensor, timestep: Tensor, embeds: Mapping[str, Tensor], guidance_scale: float, fps: float
    ) -> Tensor:
        """The velocity, noise - clean latents."""
        _, _, num_latents, height, width = latents.shape
        pipeline, factor = self.pipeline, self.spatial_factor
        velocity = pipeline.transformer(
            hidden_states=pipeline._pack_latents(latents, *self.patches),
            timestep=timestep,
            num_frames=num_latents,
            height=height,
            width=width,
            rope_interpolation_scale=(pipeline.vae_temporal_compression_ratio / fps, factor, factor),
            return_dict=False,
            **embeds,
        )[0]
        unpacked: Tensor = pipeline._unpack_latents(velocity, num_latents, height, width, *self.patches)
        return unpacked

    def normalise(self, latents: Tensor) -> Tensor:
        """(z - mean) / std, by channel."""
        vae = self.vae
        result: Tensor = self.pipeline._normalize_latents(
            latents, vae.latents_mean, vae.latents_std, vae.config.scaling_factor
        )
        return result

    def denormalise(self, latents: Tensor) -> Tensor:
        """Z * std + mean, by channel."""
        vae = self.vae
        result: Tensor = self.pipeline._denormalize_latents(
            latents, vae.latents_mean, vae.latents_std, vae.config.scaling_factor
        )
        return result

    def decode(self, vae: Any, latents: Tensor) -> Tensor:
        """An autoencoder's video, without a timestep; it looks at all latents for every frame."""
        video: Tensor = vae.decode(latents, None, return_dict=False)[0]
        return video

    def call_arguments(self, request: ClipRequest) -> dict[str, Any]:
        """Guidance and frame rate."""
        return {"guidance_scale": request.guidance_scale, "frame_rate": request.fps}
