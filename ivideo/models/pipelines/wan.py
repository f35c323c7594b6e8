"""Wan 2.1, Wan 2.2 TI2V-5B (a timestep a token) and Wan 2.2 A14B (two experts, by noise level)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ivideo.errors import UsageError
from ivideo.models.loading import explain_damage, read_index
from ivideo.models.pipelines.model import PipelineModel
from ivideo.models.pipelines.schedule import AffineStepper, flow_stepper
from ivideo.models.pipelines.texts import Embeds
from ivideo.models.pipelines.wan_decoder import decode_latents
from ivideo.models.vae import channel_statistics

HIGH, LOW = "transformer", "transformer_2"  # the experts of A14B, by the noise level that they see


class Experts(nn.Module):
    """Both experts of A14B as one module, for an adapter that goes into both."""

    def __init__(self, high: nn.Module, low: nn.Module) -> None:
        """Join them; their weights are shared."""
        super().__init__()
        self.transformer, self.transformer_2 = high, low

    @property
    def config(self) -> Any:
        """That of the high-noise expert, which the other one shares."""
        return self.transformer.config

    @property
    def dtype(self) -> Any:
        """Of the weights."""
        return self.transformer.dtype

    def enable_gradient_checkpointing(self) -> None:
        """Of both."""
        for one in (self.transformer, self.transformer_2):
            one.enable_gradient_checkpointing()  # type: ignore[operator]


class WanModel(PipelineModel):
    """A WanPipeline."""

    PIPELINE = "WanPipeline"
    CLASSES: ClassVar[Mapping[str, str]] = {HIGH: "WanTransformer3DModel", "vae": "AutoencoderKLWan"}
    TEXT_CLASSES: ClassVar[Mapping[str, str]] = {"text_encoder": "UMT5EncoderModel", "tokenizer": ""}
    PRESET = "wan2.1-1.3b"
    SIZE = (480, 832)
    VAE_DTYPE = torch.float32  # as Wan's own documentation has it
    decoder_gradient: int | None = None  # latents that the gradient reaches through the decoder; None: all

    @classmethod
    def choose_preset(cls, name: str, location: str) -> str:
        """That of the version that has a boundary, a timestep a token, or neither."""
        index = read_index(name, location)
        if index.get("boundary_ratio") is not None:
            return "wan2.2-a14b"
        return "wan2.2-5b" if index.get("expand_timesteps") else cls.PRESET

    @classmethod
    def encode_text(cls, encoders: Any, text: str, dtype: torch.dtype) -> Embeds:
        """UMT5's states, zeros behind the text."""
        embeds, _ = encoders.encode_prompt([text], None, False, max_sequence_length=512, device=encoders.device)
        return {"prompt_embeds": embeds}

    @cached_property
    def network(self) -> Any:
        """The transformer; of two experts the one that was asked for, or both."""
        if self.network_part == "both":
            return Experts(self.pipeline.transformer, self.pipeline.transformer_2)
        return getattr(self.pipeline, self.network_part)

    @property
    def size_multiple(self) -> int:
        """Height and width must be multiples of this, in pixels."""
        return self.spatial_factor * int(self.network.config.patch_size[1])

    @property
    def boundary(self) -> float | None:
        """The timestep from which the high-noise expert is asked; None with one network."""
        ratio = self.pipeline.config.boundary_ratio
        return None if ratio is None else float(ratio) * int(self.pipeline.scheduler.config.num_train_timesteps)

    def stepper(self, num_inference_steps: int, shape: Sequence[int] = ()) -> AffineStepper:
        """Euler steps over the sigmas of the model's own scheduler."""
        return flow_stepper(self.pipeline.scheduler, num_inference_steps)

    def predict(
        self, latents: Tensor, timestep: Tensor, embeds: Mapping[str, Tensor], guidance_scale: float, fps: float
    ) -> Tensor:
        """The velocity, noise - clean latents."""
        expert = self.pipeline.transformer
        if self.boundary is not None and float(timestep[0]) < self.boundary:
            expert = self.pipeline.transformer_2
        if self.pipeline.config.expand_timesteps:
            _, patch_height, patch_width = expert.config.patch_size
            _, _, num_latents, height, width = latents.shape
            num_tokens = num_latents * (height // patch_height) * (width // patch_width)
            timestep = timestep[:, None].float().expand(-1, num_tokens)
        velocity: Tensor = expert(hidden_states=latents, timestep=timestep, return_dict=False, **embeds)[0]
        return velocity

    def normalise(self, latents: Tensor) -> Tensor:
        """(z - mean) / std, by channel."""
        mean, std = channel_statistics(self.vae, latents)
        return (latents - mean) / std

    def denormalise(self, latents: Tensor) -> Tensor:
        """Z * std + mean, rounded as the pipeline rounds it."""
        mean, std = channel_statistics(self.vae, latents)
        return latents / (1.0 / std) + mean

    @property
    def max_tokens(self) -> int:
        """Of a prompt."""
        return 512

    def find_remarks(self) -> list[str]:
        """Of two experts, the one that the adapter goes into."""
        if self.boundary is None:
            return []
        limit = f"{self.boundary:g}"
        told = {
            HIGH: f"the high-noise expert, which is asked at timesteps from {limit} on",
            LOW: f"the low-noise expert, which is asked at timesteps below {limit}",
        }
        return [f"the adapter goes into {told.get(self.network_part, 'both experts')} (`expert`)"]

    def limit_decoder_gradient(self, num_latents: int) -> None:
        """See `decode_latents`."""
        self.decoder_gradient = num_latents

    def note_options(self, folder: Path) -> None:
        """Which expert an adapter is for."""
        write_notes(folder, self.options)

    def decode_some(self, latents: Tensor, indices: Sequence[int], recompute: bool) -> Tensor:
        """Decode latent after latent up to the last one needed, with a graph where a frame is drawn."""
        step = self.FRAMES_PER_LATENT
        places = [(index + step - 1) // step for index in indices]  # the latent that holds a frame
        denormalised = self.denormalise(latents[None]).to(self.vae.dtype)
        vae, reach = self.vae_for_drawn(latents), self.decoder_gradient
        parts = decode_latents(vae, denormalised, places, recompute=recompute, reach=reach)
        frames = [
            parts[place][0, :, (index - 1) % step if place else 0] for index, place in zip(indices, places, strict=True)
        ]
        return torch.stack(frames)


def check_expert(name: str, expert: str | None, has_two: bool) -> str:
    """The part of the pipeline that adapters go into.

    Args:
        name: of the model, for errors.
        expert: high, low or both; None: low, which the last steps of a chain go through.
        has_two: whether the model has two.

    Raises:
        UsageError: an expert of a model that has but one network.
    """
    if not has_two:
        if expert is not None:
            raise UsageError(f"`expert` {expert}: {name} has one network, not two experts")
        return HIGH
    return {"high": HIGH, "low": LOW, "both": "both", None: LOW}[expert]


NOTES_FILE = "expert.json"  # in an adapter's folder, not PEFT's


def write_notes(folder: Path, options: Mapping[str, Any]) -> None:
    """Note which expert an adapter is for, if that was said."""
    if expert := options.get("expert"):
        (folder / NOTES_FILE).write_text(json.dumps({"expert": expert}) + "\n", encoding="utf-8")


def read_notes(folder: Path) -> dict[str, str]:
    """The setting `expert` that `write_notes` noted; empty where there is none.

    Raises:
        IvideoError: the note is damaged.
    """
    if not (folder / NOTES_FILE).is_file():
        return {}
    with explain_damage(f"adapter {folder} is damaged: {NOTES_FILE} names no expert", tell_reason=False):
        return {"expert": str(json.loads((folder / NOTES_FILE).read_text(encoding="utf-8"))["expert"])}
