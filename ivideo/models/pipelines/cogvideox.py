"""CogVideoX 2b, 5b and 1.5: velocity of a diffusion with zero terminal signal, frames before channels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from ivideo.errors import UsageError
from ivideo.models.loading import explain_part, import_quietly
from ivideo.models.pipelines.model import PipelineModel
from ivideo.models.pipelines.schedule import AffineStepper, v_stepper
from ivideo.models.pipelines.texts import Embeds

LATENTS_AT_ONCE = 2  # that the decoder takes together; the first time 3 where their number is odd


class CogVideoXModel(PipelineModel):
    """A CogVideoXPipeline. 1.5 joins two latents in time: one more is put before those of an odd number."""

    PIPELINE = "CogVideoXPipeline"
    CLASSES: ClassVar[Mapping[str, str]] = {
        "transformer": "CogVideoXTransformer3DModel",
        "vae": "AutoencoderKLCogVideoX",
    }
    TEXT_CLASSES: ClassVar[Mapping[str, str]] = {"text_encoder": "T5EncoderModel", "tokenizer": ""}
    PRESET = "cogvideox-2b"
    SIZE = (480, 720)

    @classmethod
    def choose_preset(cls, name: str, location: str) -> str:
        """That of the version whose network joins two latents, has rotary positions, or neither."""
        kind = import_quietly("diffusers").CogVideoXTransformer3DModel
        with explain_part(name, "transformer"):
            config = kind.load_config(location, subfolder="transformer")
        if config.get("patch_size_t") is not None:
            return "cogvideox-1.5"
        return "cogvideox-5b" if config.get("use_rotary_positional_embeddings") else cls.PRESET

    @property
    def own_size(self) -> tuple[int, int]:
        """Height and width where nobody says them."""
        return (768, 1360) if self.num_padded else self.SIZE

    @classmethod
    def encode_text(cls, encoders: Any, text: str, dtype: torch.dtype) -> Embeds:
        """T5's states, padding included: the network sees no mask."""
        embeds, _ = encoders.encode_prompt([text], None, False, device=encoders.device)
        return {"prompt_embeds": embeds}

    @property
    def max_tokens(self) -> int:
        """Of a prompt."""
        return 226

    @property
    def num_padded(self) -> int:
        """Latents that stand before those of the clip."""
        return 0 if self.network.config.patch_size_t is None else 1

    def latents_shape(self, num_frames: int, height: int, width: int) -> tuple[int, ...]:
        """Shape of one clip's latents, with the one before them; of an even number the decoder makes other frames."""
        step = self.FRAMES_PER_LATENT * LATENTS_AT_ONCE
        if (num_frames - 1) % step:
            lower = (num_frames - 1) // step * step + 1
            raise UsageError(
                f"`num_frames` {num_frames}: {self.name} makes {step}k + 1 frames, such as {lower} or {lower + step}"
            )
        channels, num_latents, *size = super().latents_shape(num_frames, height, width)
        return channels, num_latents + self.num_padded, *size

    def stepper(self, num_inference_steps: int, shape: Sequence[int] = ()) -> AffineStepper:
        """DDIM steps over the model's own schedule."""
        return v_stepper(self.pipeline.scheduler, num_inference_steps)

    def predict(
        self, latents: Tensor, timestep: Tensor, embeds: Mapping[str, Tensor], guidance_scale: float, fps: float
    ) -> Tensor:
        """Alpha * noise - sigma * clean latents."""
        network, factor = self.pipeline.transformer, self.spatial_factor
        _, _, num_latents, height, width = latents.shape
        rotary = None
        if network.config.use_rotary_positional_embeddings:
            rotary = self.pipeline._prepare_rotary_positional_embeddings(
                height * factor, width * factor, num_latents, latents.device
            )
        velocity: Tensor = network(
            hidden_states=latents.transpose(1, 2),
            timestep=timestep,
            image_rotary_emb=rotary,
            return_dict=False,
            **embeds,
        )[0]
        return velocity.transpose(1, 2)

    def normalise(self, latents: Tensor) -> Tensor:
        """Z * scaling factor, with the first latent once more before it in 1.5."""
        padded = torch.cat([latents[:, :, :1]] * self.num_padded + [latents], 2)
        result: Tensor = padded * self.vae.config.scaling_factor
        return result

    def denormalise(self, latents: Tensor) -> Tensor:
        """Z / scaling factor, without the latent that stands before."""
        result: Tensor = 1 / self.pipeline.vae_scaling_factor_image * latents[:, :, self.num_padded :]
        return result

    def num_latents_for(self, frame: int, num_latents: int) -> int:
        """Up to the end of what is decoded together with the frame: 3 latents, then 2 and 2."""
        place = (frame + self.FRAMES_PER_LATENT - 1) // self.FRAMES_PER_LATENT
        num_pairs = max(1, -(-place // LATENTS_AT_ONCE))
        return min(num_latents, self.num_padded + num_pairs * LATENTS_AT_ONCE + 1)
