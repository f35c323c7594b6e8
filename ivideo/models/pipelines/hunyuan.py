"""HunyuanVideo, guided by an embedding, and HunyuanVideo-1.5, guided by two branches and conditioned on no picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ivideo.models.contract import ClipRequest
from ivideo.models.pipelines.model import PipelineModel
from ivideo.models.pipelines.schedule import AffineStepper, flow_stepper
from ivideo.models.pipelines.texts import Embeds


class HunyuanVideoModel(PipelineModel):
    """A HunyuanVideoPipeline: the guidance scale is told to the network, which is called once."""

    PIPELINE = "HunyuanVideoPipeline"
    CLASSES: ClassVar[Mapping[str, str]] = {
        "transformer": "HunyuanVideoTransformer3DModel",
        "vae": "AutoencoderKLHunyuanVideo",
    }
    TEXT_CLASSES: ClassVar[Mapping[str, str]] = {
        **{"text_encoder": "LlamaModel", "tokenizer": ""},
        **{"text_encoder_2": "CLIPTextModel", "tokenizer_2": ""},
    }
    NETWORK_NAMES: ClassVar[Mapping[str, str]] = {
        "prompt_embeds": "encoder_hidden_states",
        "prompt_attention_mask": "encoder_attention_mask",
        "pooled_prompt_embeds": "pooled_projections",
    }
    PRESET = "hunyuan-video"
    SIZE = (544, 960)
    has_negative = False  # guidance by an embedding
    # Not those of the token refiner, which no other program's adapters have.
    lora_targets = r".*transformer_blocks\.\d+\.attn\.(to_q|to_k|to_v|to_out\.0)"

    @classmethod
    def encode_text(cls, encoders: Any, text: str, dtype: torch.dtype) -> Embeds:
        """Llama's states and mask, and CLIP's pooled state."""
        embeds, pooled, mask = encoders.encode_prompt([text], device=encoders.device)
        return {"prompt_embeds": embeds, "pooled_prompt_embeds": pooled, "prompt_attention_mask": mask}

    def stepper(self, num_inference_steps: int, shape: Sequence[int] = ()) -> AffineStepper:
        """Euler steps over sigmas that are evenly spaced before the scheduler shifts them."""
        sigmas = np.linspace(1.0, 0.0, num_inference_steps + 1)[:-1]
        return flow_stepper(self.pipeline.scheduler, sigmas=sigmas)

    def predict(
        self, latents: Tensor, timestep: Tensor, embeds: Mapping[str, Tensor], guidance_scale: float, fps: float
    ) -> Tensor:
        """The velocity, noise - clean latents."""
        named = dict(embeds)
        named["encoder_attention_mask"] = named["encoder_attention_mask"].to(latents.dtype)
        if self.network.config.guidance_embeds:
            named["guidance"] = latents.new_full((len(latents),), guidance_scale) * 1000.0
        velocity: Tensor = self.pipeline.transformer(
            hidden_states=latents, timestep=timestep, return_dict=False, **named
        )[0]
        return velocity

    def normalise(self, latents: Tensor) -> Tensor:
        """Z * scaling factor."""
        result: Tensor = latents * self.vae.config.scaling_factor
        return result

    def denormalise(self, latents: Tensor) -> Tensor:
        """Z / scaling factor."""
        result: Tensor = latents / self.vae.config.scaling_factor
        return result

    def num_latents_for(self, frame: int, num_latents: int) -> int:
        """Up to the end of the tile in time that holds the frame; clips within one tile are decoded whole."""
        vae, factor = self.vae, self.FRAMES_PER_LATENT
        if not vae.use_framewise_decoding or num_latents <= vae.tile_sample_min_num_frames // factor:
            return num_latents
        stride, length = (one // factor for one in (vae.tile_sample_stride_num_frames, vae.tile_sample_min_num_frames))
        tile: int = max(0, frame - 1) // vae.tile_sample_stride_num_frames
        return min(num_latents, int(tile * stride + length + 1))


class HunyuanVideo15Model(HunyuanVideoModel):
    """A HunyuanVideo15Pipeline for text to video."""

    PIPELINE = "HunyuanVideo15Pipeline"
    CLASSES: ClassVar[Mapping[str, str]] = {
        "transformer": "HunyuanVideo15Transformer3DModel",
        "vae": "AutoencoderKLHunyuanVideo15",
    }
    TEXT_CLASSES: ClassVar[Mapping[str, str]] = {
        **{"text_encoder": "Qwen2_5_VLTextModel", "tokenizer": ""},
        **{"text_encoder_2": "T5EncoderModel", "tokenizer_2": ""},
    }
    NETWORK_NAMES: ClassVar[Mapping[str, str]] = {
        "prompt_embeds": "encoder_hidden_states",
        "prompt_embeds_mask": "encoder_attention_mask",
        "prompt_embeds_2": "encoder_hidden_states_2",
        "prompt_embeds_mask_2": "encoder_attention_mask_2",
    }
    PRESET = "hunyuan-video-1.5"
    ENCODERS_NEED = ("vae",)
    SIZE = (480, 848)
    has_negative = True

    @classmethod
    def encode_text(cls, encoders: Any, text: str, dtype: torch.dtype) -> Embeds:
        """Qwen's states and mask, and those of the quoted text by ByT5."""
        names = ("prompt_embeds", "prompt_embeds_mask", "prompt_embeds_2", "prompt_embeds_mask_2")
        found = encoders.encode_prompt(prompt=[text], device=encoders.device, dtype=dtype, batch_size=1)
        return dict(zip(names, found, strict=True))

    @property
    def num_channels(self) -> int:
        """Of the latents: the network also sees a picture and a mask, which are zero here."""
        return int(self.pipeline.num_channels_latents)

    def predict(
        self, latents: Tensor, timestep: Tensor, embeds: Mapping[str, Tensor], guidance_scale: float, fps: float
    ) -> Tensor:
        """The velocity, noise - clean latents."""
        pipeline = self.pipeline
        picture, mask = pipeline.prepare_cond_latents_and_mask(latents, latents.dtype, latents.device)
        features = (len(latents), pipeline.vision_num_semantic_tokens, pipeline.vision_states_dim)
        velocity: Tensor = pipeline.transformer(
            hidden_states=torch.cat([latents, picture, mask], dim=1),
            image_embeds=latents.new_zeros(features),
            timestep=timestep.to(latents.dtype),
            return_dict=False,
            **embeds,
        )[0]
        return velocity

    def num_latents_for(self, frame: int, num_latents: int) -> int:
        """Up to the one that holds the frame: the decoder looks at no later ones."""
        return (frame + self.FRAMES_PER_LATENT - 1) // self.FRAMES_PER_LATENT + 1

    def call_arguments(self, request: ClipRequest) -> dict[str, Any]:
        """Nothing: the guidance scale is that of a part of the pipeline, see `call_pipeline`."""
        return {}

    def call_pipeline(self, request: ClipRequest, output_type: str, last: dict[str, Tensor] | None = None) -> Any:
        """The pipeline's output, its guider set to the guidance scale for this call."""
        own = self.pipeline.guider
        try:
            self.pipeline.guider = own.new(guidance_scale=request.guidance_scale)
            return super().call_pipeline(request, output_type, last)
        finally:
            self.pipeline.guider = own
