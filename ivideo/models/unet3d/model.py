"""A U-Net with its autoencoder and text encoder: prompts in, noise predictions, and latents to frames and back."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint as checkpoint_call

from ivideo.errors import UsageError
from ivideo.models.contract import TextToVideoModel, one_each
from ivideo.models.loading import check_finite
from ivideo.models.pixels import to_pixels
from ivideo.models.unet3d.authors_weights import load_adapter, save_adapter
from ivideo.models.unet3d.blocks import checkpoint_blocks
from ivideo.models.unet3d.schedule import DDIMStepper
from ivideo.models.vae import fingerprint_encoder

WORD = re.compile(r"[^\s!-/:-@\[-`{-~]+")  # all but spaces and ASCII punctuation: an emoji is a word, too
FRAMES_AT_ONCE = 8  # frames of a ready clip that are decoded, or of a real one that are encoded, together
SMALL_VOCABULARY = 10_000  # below this, a word that falls into pieces is a word that the model never saw


@dataclass(frozen=True)
class Conditioning:
    """What the denoiser needs to know of a batch of prompts.

    Attributes:
        prompt_embeds: (batch, num_tokens, width).
        negative_prompt_embeds: (batch, num_tokens, width).
    """

    prompt_embeds: Tensor
    negative_prompt_embeds: Tensor

    def pick(self, items: Sequence[int]) -> Conditioning:
        """Those of some prompts, by their places in the batch; a place may be named twice."""
        return Conditioning(*(torch.stack([embeds[item] for item in items]) for embeds in vars(self).values()))


@dataclass
class UNet3DModel(TextToVideoModel):
    """A U-Net with its autoencoder, text encoder and noise schedule, all frozen and in eval mode.

    Attributes:
        unet: diffusers' UNet3DConditionModel.
        vae: diffusers' AutoencoderKL; works frame by frame.
        text_encoder: token ids to hidden states; None once it is dropped (`encode_once`).
        tokenizer: prompts to token ids, of transformers.
        scheduler: a diffusers scheduler, read for its schedule only.
        unet_file: the authors' file that the U-Net came from, if it did; adapters note it.
    """

    name: str
    unet: Any
    vae: Any
    text_encoder: Any
    tokenizer: Any
    scheduler: Any
    device: torch.device
    unet_file: str | None = None
    _context_length: int = field(default=0, init=False, repr=False)
    _known_embeds: dict[str, Tensor] = field(default_factory=dict, init=False, repr=False)
    _known_timesteps: dict[int, Tensor] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        """Freeze every part and switch dropout off."""
        for part in filter(None, (self.unet, self.vae, self.text_encoder)):
            part.requires_grad_(False).eval()
        if self.text_encoder is not None:
            self._context_length = int(self.text_encoder.config.max_position_embeddings)

    @property
    def network(self) -> Any:
        """The U-Net."""
        return self.unet

    @property
    def spatial_factor(self) -> int:
        """Pixels a latent cell, along height and width."""
        return int(2 ** (len(self.vae.config.block_out_channels) - 1))

    @property
    def size_multiple(self) -> int:
        """Height and width must be multiples of this, in pixels, to survive the U-Net's halvings."""
        return self.spatial_factor * int(2 ** (len(self.unet.config.block_out_channels) - 1))

    def fit_size(self, height: int | None, width: int | None) -> tuple[int, int]:
        """Multiples of `size_multiple`; where None those that the U-Net says it was trained at, else 256."""
        cells = self.unet.config.sample_size or 256 // self.spatial_factor
        own = (cells, cells) if isinstance(cells, int) else cells
        size = tuple(given or side * self.spatial_factor for given, side in zip((height, width), own, strict=True))
        for name, value in zip(("height", "width"), size, strict=True):
            if value % self.size_multiple:
                raise UsageError(f"`{name}` {value}: {self.name} needs a multiple of {self.size_multiple}")
        return size[0], size[1]

    def latents_shape(self, num_frames: int, height: int, width: int) -> tuple[int, int, int, int]:
        """(channels, num_frames, height, width): a latent frame is one pixel frame."""
        factor = self.spatial_factor
        return int(self.unet.config.in_channels), num_frames, height // factor, width // factor

    def stepper(self, num_inference_steps: int, shape: Sequence[int] = ()) -> DDIMStepper:
        """DDIM over the model's own betas and spacing."""
        return DDIMStepper(self.scheduler, num_inference_steps)

    def encode_once(self, prompts: Sequence[str], negative_prompt: str | Sequence[str] = "") -> None:
        """Drop the text encoder, a quarter of ModelScope's weights; from then on `encode_prompts` looks prompts up."""
        for prompt, negative in dict.fromkeys(zip(prompts, one_each(negative_prompt, prompts), strict=True)):
            self._known_embeds[prompt], self._known_embeds[negative] = self._encode_text([prompt, negative])
        self.text_encoder = None

    def encode_prompts(self, prompts: Sequence[str], negative_prompt: str | Sequence[str] = "") -> Conditioning:
        """Text embeddings; a negative prompt that several share is encoded once."""
        negatives = one_each(negative_prompt, prompts)
        places = {text: len(prompts) + place for place, text in enumerate(dict.fromkeys(negatives))}
        embeds = self._encode_text([*prompts, *places])
        if len(places) == 1:
            return Conditioning(embeds[:-1], embeds[-1:].expand(len(prompts), -1, -1))
        return Conditioning(embeds[: len(prompts)], embeds[[places[text] for text in negatives]])

    @torch.no_grad()
    def _encode_text(self, texts: list[str]) -> Tensor:
        if self.text_encoder is None:
            if unknown := [text for text in texts if text not in self._known_embeds]:
                raise ValueError(f"the text encoder was dropped before it saw {unknown[0]!r}")
            return torch.stack([self._known_embeds[text] for text in texts])
        tokens = self.tokenizer(
            texts, padding="max_length", max_length=self._context_length, truncation=True, return_tensors="pt"
        )
        embeds: Tensor = self.text_encoder(tokens.input_ids.to(self.device)).last_hidden_state
        check_finite({"an embedding": embeds}, f"model {self.name!r}: its text_encoder is damaged")
        return embeds.to(self.unet.dtype)

    def find_prompt_problems(self, prompt: str) -> list[str]:
        """Unknown words (of small vocabularies only) and a cut-off end."""
        problems = []
        words = WORD.findall(prompt)
        if len(self.tokenizer) < SMALL_VOCABULARY:
            unknown = [word for word in words if len(self.tokenizer.tokenize(word)) != 1]
            if unknown:
                problems.append(f"{self.name} does not know: {', '.join(dict.fromkeys(unknown))}")
        ids, length = self.tokenizer(prompt).input_ids, self._context_length
        if len(ids) > length:
            read = self.tokenizer.decode(ids[: length - 1], skip_special_tokens=True).strip()
            problems.append(f"cut to {length - 2} tokens, read as {read!r}")
        return problems

    def denoiser(
        self, guidance_scale: float, *, batched: bool = True, fps: float = 8.0
    ) -> Callable[[Tensor, Tensor, Conditioning], Tensor]:
        """Guide by two branches; at guidance scale 1 the unconditional one is left out.

        noise_pred = noise_pred_uncond + guidance_scale * (noise_pred_text - noise_pred_uncond)

        Source: Ho and Salimans 2022; InstructVideo trains and samples through both branches.
        """

        def denoise(latents: Tensor, timestep: Tensor, conditioning: Conditioning) -> Tensor:
            if guidance_scale == 1:
                return self._predict(latents, timestep, conditioning.prompt_embeds)
            branches = (conditioning.negative_prompt_embeds, conditioning.prompt_embeds)
            if batched:
                noise_pred = self._predict(torch.cat([latents, latents]), timestep, torch.cat(branches))
                noise_pred_uncond, noise_pred_text = noise_pred.chunk(2)
            else:
                noise_pred_uncond, noise_pred_text = (self._predict(latents, timestep, embeds) for embeds in branches)
            return noise_pred_uncond + guidance_scale * (noise_pred_text - noise_pred_uncond)

        return denoise

    def _predict(self, latents: Tensor, timestep: Tensor, embeds: Tensor) -> Tensor:
        timestep = self._on_device(timestep)
        noise_pred: Tensor = self.unet(latents.to(self.unet.dtype), timestep, embeds, return_dict=False)[0]
        return noise_pred.to(latents.dtype)

    def _on_device(self, timestep: Tensor) -> Tensor:
        """A timestep (0-d), uploaded once and not for every call: a GPU would wait for each upload."""
        if timestep.device.type == self.device.type:
            return timestep
        number = int(timestep)
        if number not in self._known_timesteps:
            self._known_timesteps[number] = timestep.to(self.device)
        return self._known_timesteps[number]

    def recompute_blocks(self) -> None:
        """See `checkpoint_blocks`."""
        checkpoint_blocks(self.unet)

    def decode_frames(self, latents: Tensor, frame_indices: Tensor, *, recompute: bool = False) -> Tensor:
        """Decode all at once, activations kept, or with `recompute` one frame after the other."""
        batch, num_drawn = frame_indices.shape
        rows = torch.arange(batch, device=latents.device)[:, None]
        drawn = latents[rows, :, frame_indices.to(latents.device)]  # (batch, num_drawn, channels, height, width)
        scaled = drawn.flatten(0, 1).to(self.vae.dtype) / self.vae.config.scaling_factor
        if recompute:
            decode_again = partial(checkpoint_call, self._decode, use_reentrant=False, preserve_rng_state=False)
            images = torch.cat([decode_again(part) for part in scaled.split(1)])
        else:
            images = self._decode(scaled)
        frames: Tensor = images.unflatten(0, (batch, num_drawn))
        return frames

    def _decode(self, scaled: Tensor) -> Tensor:
        images: Tensor = self.vae.decode(scaled, return_dict=False)[0]
        return (images.float() / 2 + 0.5).clamp(0, 1)

    @torch.no_grad()
    def decode_clip(self, latents: Tensor) -> Tensor:
        """Decode FRAMES_AT_ONCE together."""
        parts = torch.arange(latents.shape[1], device=latents.device).split(FRAMES_AT_ONCE)
        frames = [self.decode_frames(latents[None], indices[None])[0] for indices in parts]
        return to_pixels(torch.cat(frames), self.name, "unet", latents)

    @torch.no_grad()
    def encode_frames(self, frames: Tensor) -> Tensor:
        """Encode frame by frame: latents = scaling_factor * mean of the autoencoder's posterior.

        Source: Rombach et al. 2022 train on draws from the posterior; its mean needs no draw and can be kept.
        """
        scaled = (2 * frames.flatten(0, 1) - 1).to(self.vae.dtype)
        means = [self.vae.encode(part).latent_dist.mean.float() for part in scaled.split(FRAMES_AT_ONCE)]
        latents: Tensor = self.vae.config.scaling_factor * torch.cat(means).unflatten(0, frames.shape[:2])
        return latents.transpose(1, 2).contiguous()

    def fingerprint_encoder(self) -> str:
        """SHA-256 of all that decides what `encode_frames` gives."""
        return fingerprint_encoder(self.vae, self.device)

    def load_adapter(self, path: Path, scale: float = 1.0) -> None:
        """Take also a file of the authors that brings an adapter."""
        self.remarks = [*self.remarks, *load_adapter(self.unet, path, scale)]
        self.unet.to(self.device)

    def save_adapter(self, folder: Path) -> None:
        """Note also which file the U-Net came from."""
        save_adapter(self.unet, folder, self.name, {"unet": self.unet_file})
