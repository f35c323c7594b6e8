"""What the families of diffusers' pipelines share: prompts looked up, guidance, decoding of drawn frames, generation.

A family is one file beside this one: a subclass that says how its prompts are encoded, how its network is called, which
schedule it follows and how its latents become frames. Latents are (batch, channels, num_latent_frames, height, width)
for all of them. Text encoders have gone when a model is there (`texts`); clips for people are made by the pipeline
itself, with its own scheduler, and training goes through a stateless first-order schedule.
"""

from __future__ import annotations

import copy
import inspect
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from ivideo.core.sampler import Denoise
from ivideo.errors import UsageError
from ivideo.models.contract import ClipRequest, TextToVideoModel, one_each
from ivideo.models.loading import explain_damage
from ivideo.models.lora import lora_parameters, save_lora
from ivideo.models.lora_files import load_lora
from ivideo.models.pipelines.lora_formats import write_formats
from ivideo.models.pipelines.texts import Embeds, pad, stack
from ivideo.models.pixels import to_pixels
from ivideo.models.recomputing import Recomputed
from ivideo.models.vae import enable_tiling, fingerprint_encoder

LARGE = 300_000  # pixels of a frame from which drawn frames are decoded in tiles, where nobody says


@dataclass(frozen=True)
class PromptConditioning:
    """What the network needs to know of a batch of prompts; see `PipelineModel.encode_text` for the names.

    Attributes:
        text: by name, each with the batch first.
        negative: likewise, of the negative prompt; None where guidance needs none.
    """

    text: Embeds
    negative: Embeds | None

    def pick(self, items: Sequence[int]) -> PromptConditioning:
        """Those of some prompts, by their places in the batch; a place may be named twice."""
        places = list(items)
        sides = ({name: one[places] for name, one in side.items()} if side else None for side in vars(self).values())
        return PromptConditioning(*sides)  # type: ignore[arg-type]


class PipelineModel(TextToVideoModel):
    """A diffusers pipeline without its text encoders, all parts frozen and in eval mode; a family fills in the rest.

    Attributes:
        pipeline: of the family's class; its scheduler is never stepped, only copies of it are.
        texts: the embeddings of every prompt that is ever needed, by prompt, trimmed, on the CPU.
        network_part: which part of the pipeline adapters go into.
    """

    PIPELINE: ClassVar[str]
    CLASSES: ClassVar[Mapping[str, str]]  # of the parts that are loaded as networks: part -> class
    TEXT_CLASSES: ClassVar[Mapping[str, str]]  # of text encoders and tokenizers: part -> class; "" for any
    PRESET: ClassVar[str]  # whose settings a model of this family takes that has none of its own
    NETWORK_NAMES: ClassVar[Mapping[str, str]] = {
        "prompt_embeds": "encoder_hidden_states",
        "prompt_attention_mask": "encoder_attention_mask",
    }  # a pipeline's name of an embedding -> the network's
    FRAMES_PER_LATENT: ClassVar[int] = 4
    SIZE: ClassVar[tuple[int, int]]  # height and width where nobody says them
    ELSEWHERE: ClassVar[Mapping[str, str]] = {}  # parts that a pipeline's folder may lack -> a location that has them
    ENCODERS_NEED: ClassVar[tuple[str, ...]] = ()  # networks that the pipeline asks for even to encode text
    VAE_DTYPE: ClassVar[torch.dtype | None] = None  # None: that of the network

    def __init__(
        self,
        name: str,
        pipeline: Any,
        texts: Mapping[str, Embeds],
        device: torch.device,
        network_part: str,
        options: Mapping[str, Any],
    ) -> None:
        """Freeze every part and move it to the device.

        Args:
            name: how the user called it.
            pipeline: without text encoders.
            texts: see above.
            device: where it lives.
            network_part: of the pipeline.
            options: the settings of families, which adapters note.
        """
        self.name, self.pipeline, self.texts, self.device = name, pipeline, dict(texts), device
        self.network_part, self.options = network_part, dict(options)
        self.tells_steps = tells_steps(pipeline)
        for part in pipeline.components.values():
            if isinstance(part, torch.nn.Module):
                part.requires_grad_(False).eval().to(device)
        if options.get("vae_tiling"):
            enable_tiling(name, self.vae)
        self.tiling_vae = copy.copy(self.vae)  # the same networks, with switches of its own
        if options.get("vae_tiling") is None and hasattr(self.vae, "enable_tiling"):
            self.tiling_vae.enable_tiling()

    # What a family says

    @classmethod
    def choose_preset(cls, name: str, location: str) -> str:
        """The model whose settings one takes that has none of its own."""
        return cls.PRESET

    @classmethod
    def adapt_scheduler(cls, scheduler: Any, index: Mapping[str, Any]) -> Any:
        """The scheduler of the pipeline, of what lies in its folder."""
        return scheduler

    @classmethod
    @abstractmethod
    def encode_text(cls, encoders: Any, text: str, dtype: torch.dtype) -> Embeds:
        """A prompt's embeddings, each with a batch axis of 1, by the names that the pipeline's call has for them.

        Args:
            encoders: the family's pipeline with its text encoders and tokenizers alone.
            text: the prompt.
            dtype: of the network.
        """

    @abstractmethod
    def predict(
        self, latents: Tensor, timestep: Tensor, embeds: Mapping[str, Tensor], guidance_scale: float, fps: float
    ) -> Tensor:
        """The network's output for latents (batch, ...) at a timestep (batch,), with embeddings by the network's names.

        Latents come and go in the network's type.
        """

    @abstractmethod
    def normalise(self, latents: Tensor) -> Tensor:
        """What the autoencoder's mean becomes for the network."""

    @abstractmethod
    def denormalise(self, latents: Tensor) -> Tensor:
        """The inverse of `normalise`."""

    def num_latents_for(self, frame: int, num_latents: int) -> int:
        """How many of a clip's first latents make its pixel frames up to `frame` exactly what the whole clip's are."""
        return num_latents

    def call_arguments(self, request: ClipRequest) -> dict[str, Any]:
        """What the pipeline's call is told beside prompts, sizes and steps: guidance where it takes one."""
        return {"guidance_scale": request.guidance_scale}

    # Sizes

    @property
    def network(self) -> Any:
        """The part that adapters go into."""
        return getattr(self.pipeline, self.network_part)

    @property
    def vae(self) -> Any:
        """The autoencoder."""
        return self.pipeline.vae

    @property
    def spatial_factor(self) -> int:
        """Pixels a latent cell, along height and width."""
        return int(self.pipeline.vae_scale_factor_spatial)

    @property
    def own_size(self) -> tuple[int, int]:
        """Height and width where nobody says them."""
        return self.SIZE

    @property
    def size_multiple(self) -> int:
        """Height and width must be multiples of this, in pixels."""
        return self.spatial_factor * 2

    @property
    def num_channels(self) -> int:
        """Of the latents."""
        return int(self.network.config.in_channels)

    def fit_size(self, height: int | None, width: int | None) -> tuple[int, int]:
        """Height and width in pixels, the family's own where None."""
        size = tuple(given or own for given, own in zip((height, width), self.own_size, strict=True))
        for name, value in zip(("height", "width"), size, strict=True):
            if value % self.size_multiple:
                raise UsageError(f"`{name}` {value}: {self.name} needs a multiple of {self.size_multiple}")
        return size[0], size[1]

    def latents_shape(self, num_frames: int, height: int, width: int) -> tuple[int, ...]:
        """Shape (channels, num_latent_frames, height, width) of one clip's latents, sizes given in pixels."""
        step = self.FRAMES_PER_LATENT
        if (num_frames - 1) % step:
            lower = (num_frames - 1) // step * step + 1
            raise UsageError(
                f"`num_frames` {num_frames}: {self.name} makes {step}k + 1 frames, such as {lower} or {lower + step}"
            )
        factor = self.spatial_factor
        return self.num_channels, (num_frames - 1) // step + 1, height // factor, width // factor

    # Text

    def encode_prompts(self, prompts: Sequence[str], negative_prompt: str | Sequence[str] = "") -> PromptConditioning:
        """Their embeddings, padded to the same length, in the network's type and on its device."""
        negatives = one_each(negative_prompt, prompts) if self.has_negative else []
        if missing := [text for text in (*prompts, *negatives) if text not in self.texts]:
            raise ValueError(f"the text encoders have gone before they saw {missing[0]!r}")
        text = self.to_network(stack([pad(self.texts[prompt]) for prompt in prompts]))
        if not self.has_negative:
            return PromptConditioning(text, None)
        return PromptConditioning(text, self.to_network(stack([pad(self.texts[negative]) for negative in negatives])))

    def to_network(self, embeds: Embeds) -> Embeds:
        """Embeddings in the network's type, masks as they are, on its device."""
        dtype = self.dtype
        return {name: one.to(self.device, dtype if one.is_floating_point() else None) for name, one in embeds.items()}

    def encode_once(self, prompts: Sequence[str], negative_prompt: str | Sequence[str] = "") -> None:
        """Nothing is left to do: they were encoded before the network was loaded."""

    def find_prompt_problems(self, prompt: str) -> list[str]:
        """Where a prompt is cut, if it is longer than the text encoder reads."""
        tokenizer, limit = self.pipeline.tokenizer, self.max_tokens
        ids = tokenizer(prompt).input_ids
        if limit is None or len(ids) <= limit:
            return []
        return [f"cut to {limit} tokens, read as {tokenizer.decode(ids[:limit], skip_special_tokens=True).strip()!r}"]

    @property
    def max_tokens(self) -> int | None:
        """How many tokens of a prompt are read; None where a template makes that hard to tell."""
        return None

    # Denoising

    def denoiser(self, guidance_scale: float, *, batched: bool = True, fps: float = 16.0) -> Denoise:
        """The guided network as the sampler calls it, at guidance above 1 through both branches where it has two.

        noise_pred = noise_pred_uncond + guidance_scale * (noise_pred_text - noise_pred_uncond)

        Source: Ho and Salimans 2022; a family with an embedding of the scale (HunyuanVideo) is called once.
        """

        def denoise(latents: Tensor, timestep: Tensor, conditioning: PromptConditioning) -> Tensor:
            def predict(inputs: Tensor, embeds: Embeds) -> Tensor:
                named = {self.NETWORK_NAMES.get(name, name): one for name, one in embeds.items()}
                timesteps = timestep.to(inputs.device).expand(len(inputs))
                return self.predict(inputs.to(self.dtype), timesteps, named, guidance_scale, fps).to(latents.dtype)

            if conditioning.negative is None or guidance_scale <= 1:
                return predict(latents, conditioning.text)
            branches = (conditioning.negative, conditioning.text)
            if batched:
                both = {name: torch.cat([side[name] for side in branches]) for name in conditioning.text}
                noise_pred_uncond, noise_pred_text = predict(torch.cat([latents, latents]), both).chunk(2)
            else:
                noise_pred_uncond, noise_pred_text = (predict(latents, embeds) for embeds in branches)
            return noise_pred_uncond + guidance_scale * (noise_pred_text - noise_pred_uncond)

        return denoise

    def recompute_blocks(self) -> None:
        """Let the network's blocks recompute in the backward pass, as diffusers does it."""
        self.network.enable_gradient_checkpointing()

    # Pixels

    def decode_frames(self, latents: Tensor, frame_indices: Tensor, *, recompute: bool = False) -> Tensor:
        """Decode the named pixel frames of each clip, and no latents behind those that they need."""
        clips = []
        for clip, indices in zip(latents, frame_indices, strict=True):
            pixels = self.decode_some(clip, indices.tolist(), recompute)
            clips.append((pixels.float() / 2 + 0.5).clamp(0, 1))
        return torch.stack(clips)

    def decode_some(self, latents: Tensor, indices: Sequence[int], recompute: bool) -> Tensor:
        """Some pixel frames of one clip, (num_drawn, 3, height, width) in [-1, 1].

        Args:
            latents: (channels, num_latent_frames, height, width), as the network has them.
            indices: of the pixel frames.
            recompute: in the backward pass, block by block of the decoder.
        """
        vae = self.vae_for_drawn(latents)
        if recompute:
            self.recompute_decoder(by_tile=vae.use_tiling)
        prefix = latents[None, :, : self.num_latents_for(max(indices), latents.shape[1])]
        video = self.decode(vae, self.denormalise(prefix).to(vae.dtype))
        return video[0, :, list(indices)].transpose(0, 1)

    def vae_for_drawn(self, latents: Tensor) -> Any:
        """The autoencoder that decodes drawn frames: in tiles where that was asked for, or a clip is large.

        Args:
            latents: with height and width last.
        """
        height, width = (cells * self.spatial_factor for cells in latents.shape[-2:])
        return self.tiling_vae if height * width > LARGE else self.vae

    def recompute_decoder(self, *, by_tile: bool) -> None:
        """Let the decoder's blocks recompute in the backward pass, and each tile, of which only the latents stay."""
        if not self.vae.is_gradient_checkpointing:
            self.vae.enable_gradient_checkpointing()
        decoder = self.vae.decoder
        if by_tile and not isinstance(decoder.forward, Recomputed):
            decoder.forward = Recomputed(decoder.forward)

    def decode(self, vae: Any, latents: Tensor) -> Tensor:
        """An autoencoder's video (batch, 3, num_frames, height, width) of denormalised latents."""
        video: Tensor = vae.decode(latents, return_dict=False)[0]
        return video

    @torch.no_grad()
    def decode_clip(self, latents: Tensor) -> Tensor:
        """All frames of one clip: uint8 (num_frames, height, width, 3) on the CPU."""
        video = self.decode(self.vae, self.denormalise(latents[None]).to(self.vae.dtype))[0]
        pixels = (video.float() / 2 + 0.5).clamp(0, 1).transpose(0, 1)
        return to_pixels(pixels, self.name, self.network_part, latents)

    @torch.no_grad()
    def encode_frames(self, frames: Tensor) -> Tensor:
        """Clean latents of clips, the mean of the autoencoder's posterior; the inverse of `decode_frames`."""
        clips = (2 * frames - 1).transpose(1, 2).to(self.vae.dtype)
        means = [self.vae.encode(clip[None]).latent_dist.mode().float() for clip in clips]
        return self.normalise(torch.cat(means))

    def fingerprint_encoder(self) -> str:
        """SHA-256 of all that decides what `encode_frames` gives."""
        return fingerprint_encoder(self.vae, self.device)

    def save_adapter(self, folder: Path) -> None:
        """Write the network's adapter in PEFT's format, and what the family notes of it."""
        save_lora(self.network, folder, self.name)
        self.note_options(folder)

    def write_formats(self, folder: Path) -> list[Path]:
        """Write an adapter once more, as diffusers and ComfyUI read it."""
        return write_formats(folder, self.PIPELINE, self.network_part)

    def load_adapter(self, path: Path, scale: float = 1.0) -> None:
        """Put an adapter into the network: PEFT's folder, or a safetensors file in whoever's names."""
        self.remarks = [*self.remarks, *load_lora(self.network, path, scale, pipeline=self.PIPELINE)]
        self.network.to(self.device)

    def note_options(self, folder: Path) -> None:
        """Write what loading the adapter again needs to know beside PEFT's files; nothing for most families."""

    # Clips for people

    @property
    def num_workers(self) -> int:
        """One: pipelines and their autoencoders keep state while they work."""
        return 1

    @torch.no_grad()
    def make_clip(self, request: ClipRequest) -> Tensor:
        """What the pipeline itself makes of a prompt and a seed, with its own scheduler: bit for bit as diffusers does.

        Returns:
            uint8 (num_frames, height, width, 3) on the CPU.
        """
        last: dict[str, Tensor] = {}
        frames: Tensor = self.call_pipeline(request, "pt", last)[0]
        return to_pixels(frames, self.name, self.network_part, last.get("latents"))

    def check_request(self, request: ClipRequest) -> None:
        """Hold sizes and further arguments against what the pipeline makes."""
        self.latents_shape(request.num_frames, *self.fit_size(request.height, request.width))
        check_call_arguments(self.pipeline, request.extra)

    def call_pipeline(self, request: ClipRequest, output_type: str, last: dict[str, Tensor] | None = None) -> Any:
        """The pipeline's output, of the kind that it calls `output_type` ("latent", "pt").

        Args:
            request: which clip.
            output_type: see above.
            last: gets the latents of the last step, where the pipeline can tell.
        """
        self.check_request(request)
        height, width = self.fit_size(request.height, request.width)
        conditioning = self.encode_prompts([request.prompt], request.negative_prompt)
        embeds = dict(conditioning.text)
        if conditioning.negative is not None and request.guidance_scale > 1:
            embeds |= {f"negative_{name}": one for name, one in conditioning.negative.items()}
        pipeline = copy.copy(self.pipeline)
        pipeline.scheduler = copy.deepcopy(self.pipeline.scheduler)
        pipeline.set_progress_bar_config(disable=True)
        given = {
            **{"height": height, "width": width, "num_frames": request.num_frames},
            "num_inference_steps": request.num_inference_steps,
            "generator": torch.Generator().manual_seed(request.seed),
            "output_type": output_type,
            **embeds,
            **self.call_arguments(request),
            **request.extra,
        }
        given |= step_callback(pipeline, request, {} if last is None else last)
        with as_loaded(pipeline), explain_call(self.name) if request.extra else nullcontext():
            return pipeline(**given).frames


@contextmanager
def as_loaded(pipeline: Any) -> Iterator[None]:
    """Show networks as diffusers has them after loading: weights ask for gradients, but for networks with an adapter.

    Where no gradients are taken that decides but which kernels a CPU uses, and so the last bits.
    """
    parts = [part for part in pipeline.components.values() if isinstance(part, torch.nn.Module)]
    wanted = [(weight, not lora_parameters(part)) for part in parts for weight in part.parameters()]
    own = [(weight, weight.requires_grad) for weight, _ in wanted]
    for weight, asks in wanted:
        weight.requires_grad_(asks and weight.is_floating_point())
    try:
        yield
    finally:
        for weight, asks in own:
            weight.requires_grad_(asks)


OURS = ("prompt", "negative_prompt", "height", "width", "num_frames", "num_inference_steps", "guidance_scale")
NOT_OURS = ("generator", "latents", "output_type", "return_dict", "num_videos_per_prompt", "callback_on_step_end")


def check_call_arguments(pipeline: Any, arguments: Mapping[str, Any]) -> None:
    """Hold further arguments against the signature of a pipeline's call.

    Raises:
        UsageError: the call has none of that name, or a setting of its own says it, or the clip would not be read.
    """
    known = [name for name in inspect.signature(type(pipeline).__call__).parameters if name not in ("self", *NOT_OURS)]
    for name in arguments:
        if name in OURS:
            raise UsageError(f"`call_arguments` {name}: that is a setting, `{name}`")
        if name not in known:
            others = ", ".join(one for one in known if one not in OURS)
            raise UsageError(f"`call_arguments` {name}: {type(pipeline).__name__} has none; it has {others}")


def explain_call(name: str) -> AbstractContextManager[None]:
    """What a pipeline says of values that it cannot take, in one line."""
    return explain_damage(f"model {name!r} cannot make this clip")


def tells_steps(pipeline: Any) -> bool:
    """Whether a pipeline's call takes something to call after each step."""
    return "callback_on_step_end" in inspect.signature(pipeline.__call__).parameters


def step_callback(pipeline: Any, request: ClipRequest, last: dict[str, Tensor]) -> dict[str, Any]:
    """The arguments by which a pipeline tells of its steps; none where it cannot tell.

    Args:
        pipeline: the pipeline.
        request: whose `on_step` is called.
        last: gets what a step ends with: its latents.
    """
    if not tells_steps(pipeline):
        return {}

    def tell(_: Any, step: int, timestep: Any, arguments: dict[str, Any]) -> dict[str, Any]:
        last.update(arguments)
        if request.on_step is not None:
            request.on_step()
        return arguments

    return {"callback_on_step_end": tell}
