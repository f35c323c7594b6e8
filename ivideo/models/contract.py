"""What a text-to-video model is to the rest of the house: a family implements this once, and everything else follows.

Latents are whatever the family's network denoises, with clips along the first axis; only the family looks inside them
(packed tokens, frames that are compressed over time). Frames are pixel frames. A family reads a diffusers folder part
by part; `ivideo.models.families` has a row for each.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, Self

import torch
from torch import Tensor, nn

from ivideo.core.draws import draw_normal
from ivideo.core.sampler import Denoise, Stepper, run_chain
from ivideo.errors import UsageError
from ivideo.models.lora import TARGET_MODULES, save_lora
from ivideo.models.lora_files import load_lora

SMALL_NETWORK = 50_000_000  # parameters; several clips at once fit into memory, and one alone leaves cores idle


class Conditioning(Protocol):
    """What the network needs to know of a batch of prompts, opaque to all but the family (one text encoder or four)."""

    def pick(self, items: Sequence[int]) -> Self:
        """That of some prompts, by their places in the batch; a place may be named twice."""


@dataclass(frozen=True)
class ClipRequest:
    """A clip that is asked for.

    Attributes:
        prompt: what it should show.
        seed: fixes it.
        num_frames: pixel frames.
        height: in pixels; None for the model's own.
        width: likewise.
        num_inference_steps: of a full chain.
        guidance_scale: weight of the text.
        negative_prompt: what it should not show.
        fps: frames a second, for models that are told.
        guidance_batching: both branches of the guidance in one forward.
        extra: further arguments of a pipeline's call, by name.
        on_step: is called after every step, where the model can tell.
    """

    prompt: str
    seed: int
    num_frames: int
    height: int | None
    width: int | None
    num_inference_steps: int
    guidance_scale: float
    negative_prompt: str = ""
    fps: float = 8.0
    guidance_batching: bool = True
    extra: Mapping[str, Any] = field(default_factory=dict)
    on_step: Callable[[], None] | None = None


class ClipMaker(ABC):
    """What makes clips of prompts: all that `generate` and `compare` need.

    Attributes:
        name: how the user called it.
        device: where everything lives.
        network: the module that adapters go into.
        remarks: what people should be told of its parts and of its adapter.
    """

    name: str
    device: torch.device
    network: Any
    remarks: Sequence[str] = ()
    tells_steps: bool = False  # whether it calls `on_step`
    has_negative: bool = True  # whether it takes a negative prompt

    @abstractmethod
    def make_clip(self, request: ClipRequest) -> Tensor:
        """The clip that people see: uint8 (num_frames, height, width, 3) on the CPU, the same for the same request.

        Raises:
            UsageError: a size or a number of frames that the model cannot make.
        """

    @abstractmethod
    def check_request(self, request: ClipRequest) -> None:
        """Refuse what cannot be made, before any clip is.

        Raises:
            UsageError: a size, a number of frames or a further argument that the model does not have.
        """

    @abstractmethod
    def find_prompt_problems(self, prompt: str) -> list[str]:
        """What the model cannot read in a prompt, in words; empty where there is nothing."""

    @property
    def dtype(self) -> torch.dtype:
        """Of the network's weights."""
        dtype: torch.dtype = self.network.dtype
        return dtype

    def load_adapter(self, path: Path, scale: float = 1.0) -> None:
        """Put an adapter into the network; what of it is left out becomes one of the remarks.

        Args:
            path: PEFT's folder, or a file; see `ivideo.models.lora_files`.
            scale: multiplies its effect; 0 is the base model.

        Raises:
            IvideoError: no adapter there, a damaged one, or one of another model.
        """
        self.remarks = [*self.remarks, *load_lora(self.network, path, scale)]
        self.network.to(self.device)


class TextToVideoModel(ClipMaker):
    """A text-to-video model that can be trained, with all its parts frozen and in eval mode.

    Attributes:
        network: the module that adapters go into; of two experts the one that the gradient reaches.
        lora_targets: the layers of it that a fresh adapter goes into, see `add_lora`.
    """

    lora_targets: Sequence[str] | str = TARGET_MODULES

    # Sizes

    @abstractmethod
    def fit_size(self, height: int | None, width: int | None) -> tuple[int, int]:
        """Height and width in pixels, the model's own where None.

        Raises:
            UsageError: a size that the model cannot make.
        """

    @abstractmethod
    def latents_shape(self, num_frames: int, height: int, width: int) -> tuple[int, ...]:
        """Shape of one clip's latents.

        Raises:
            UsageError: a number of frames that the model cannot make.
        """

    # Text

    @abstractmethod
    def encode_prompts(self, prompts: Sequence[str], negative_prompt: str | Sequence[str] = "") -> Conditioning:
        """What `denoiser` needs of the prompts, and of the negative prompt for each of them.

        Args:
            prompts: one a clip.
            negative_prompt: what none of the clips should show, or what each should not.

        Raises:
            ValueError: the text encoders were dropped before they saw one of them.
        """

    @abstractmethod
    def encode_once(self, prompts: Sequence[str], negative_prompt: str | Sequence[str] = "") -> None:
        """Encode all prompts that will ever be needed, each as for a clip of its own, and drop the text encoders.

        Arguments are those of `encode_prompts`.
        """

    # Denoising

    @abstractmethod
    def stepper(self, num_inference_steps: int, shape: Sequence[int] = ()) -> Stepper:
        """The noise schedule for a chain of that many steps, without state.

        Args:
            num_inference_steps: of the full chain.
            shape: of one clip's latents, which some schedules depend on.

        Raises:
            IvideoError: the schedule cannot make that many.
        """

    @abstractmethod
    def denoiser(self, guidance_scale: float, *, batched: bool = True, fps: float = 8.0) -> Denoise:
        """The guided network as the sampler calls it: `denoise(latents, timestep, conditioning) -> noise_pred`.

        Latents may be float32 while the network has half precision: the prediction comes back in the latents' dtype.

        Args:
            guidance_scale: weight of the text, 1 for none: by two branches, or by an embedding where the family has it.
            batched: both branches in one forward; False: one after the other, which takes less memory at a time.
            fps: frames a second, for networks that are told.
        """

    @abstractmethod
    def recompute_blocks(self) -> None:
        """Let the network's blocks recompute in the backward pass; gradients stay as they are. Twice does no harm."""

    # Pixels

    @abstractmethod
    def decode_frames(self, latents: Tensor, frame_indices: Tensor, *, recompute: bool = False) -> Tensor:
        """Decode the named pixel frames of each clip, and no latents that they do not need.

        Args:
            latents: of a batch of clips.
            frame_indices: (batch, num_drawn) pixel frames.
            recompute: decode again in the backward pass, in small parts, instead of keeping activations.

        Returns:
            frames (batch, num_drawn, 3, height, width) float32 in [0, 1]; gradients flow.
        """

    @abstractmethod
    def decode_clip(self, latents: Tensor) -> Tensor:
        """All frames of one clip's latents: uint8 (num_frames, height, width, 3) on the CPU, without gradients."""

    @abstractmethod
    def encode_frames(self, frames: Tensor) -> Tensor:
        """Clean latents of clips, float32, without a draw; the inverse of `decode_frames`.

        Args:
            frames: (batch, num_frames, 3, height, width) in [0, 1], of a size and number that the model can make.
        """

    @abstractmethod
    def fingerprint_encoder(self) -> str:
        """SHA-256, in hex, of all that decides what `encode_frames` gives, the kind of device included."""

    # What is the same for every family

    @property
    def num_workers(self) -> int:
        """Clips to work on at once: one a core for a small network on a CPU, else one."""
        is_small = sum(parameter.numel() for parameter in self.network.parameters()) <= SMALL_NETWORK
        return torch.get_num_threads() if is_small and self.device.type == "cpu" else 1

    @torch.no_grad()
    def make_clip(self, request: ClipRequest) -> Tensor:
        """Run the model's own schedule, from noise that the seed fixes; families of pipelines ask the pipeline."""
        shape = self.latents_shape(request.num_frames, *self.fit_size(request.height, request.width))
        stepper = self.stepper(request.num_inference_steps, shape)
        noise = draw_normal(shape, seed=request.seed, step=0, sample_indices=[0], purpose="generate").to(self.device)
        conditioning = self.encode_prompts([request.prompt], request.negative_prompt)
        denoise = self.denoiser(request.guidance_scale, batched=request.guidance_batching, fps=request.fps)
        return self.decode_clip(run_chain(denoise, stepper, noise, stepper.timesteps, conditioning)[0])

    def check_request(self, request: ClipRequest) -> None:
        """Hold sizes against what the model makes; only pipelines have further arguments."""
        self.latents_shape(request.num_frames, *self.fit_size(request.height, request.width))
        if request.extra:
            raise UsageError(f"`call_arguments` {', '.join(request.extra)}: {self.name} has no call to give them to")

    def find_remarks(self) -> list[str]:
        """What a training should say aloud of the model."""
        return []

    def limit_decoder_gradient(self, num_latents: int) -> None:
        """Let the gradient of a frame flow through so many of the latents that it needs, the latest; frames stay exact.

        Raises:
            UsageError: the decoder of this family cannot be cut.
        """
        raise UsageError(f"`decoder_gradient` {num_latents}: the decoder of {self.name} has no cut gradient; use exact")

    def save_adapter(self, folder: Path) -> None:
        """Write the network's adapter in PEFT's format."""
        save_lora(self.network, folder, self.name)

    def write_formats(self, folder: Path) -> list[Path]:
        """Write an adapter in PEFT's format once more, as other programs want it, into the same folder.

        Returns:
            The files; none for families that no other program reads.
        """
        return []


def one_each(negative_prompt: str | Sequence[str], prompts: Sequence[str]) -> list[str]:
    """The negative prompt of each prompt, of one for all or of one each."""
    return [negative_prompt] * len(prompts) if isinstance(negative_prompt, str) else list(negative_prompt)


class Family(Protocol):
    """What a family's module offers beside its models: how they are loaded, and which foreign files it knows."""

    def choose_preset(self, name: str, location: str) -> str | Mapping[str, Any]:
        """The model whose settings one of the family takes that has no preset, or those that it has of its own."""

    def load_model(
        self,
        name: str,
        location: str,
        device: torch.device,
        dtype: torch.dtype,
        *,
        texts: Sequence[str] = (),
        options: Mapping[str, Any] = MappingProxyType({}),
    ) -> ClipMaker:
        """Load a model from a folder or the hub; one that can be trained is a `TextToVideoModel`.

        Args:
            name: how the user called it.
            location: a local diffusers folder, or a hub id.
            device: where to put it.
            dtype: of the network; other parts may keep another one.
            texts: every prompt that will be needed, negative ones included; a family whose text encoders are large
                encodes them first and lets the encoders go.
            options: the settings of families (`FamilyPart`), by name.

        Raises:
            UsageError: an option that the model does not have.
            IvideoError: a part is missing, damaged or of a class that is not supported, or the file does not fit.
        """

    def load_network(
        self,
        name: str,
        location: str,
        dtype: torch.dtype | None,
        options: Mapping[str, Any] = MappingProxyType({}),
    ) -> nn.Module:
        """The module that adapters go into, on the CPU.

        Args:
            name: how the user called the model.
            location: a local diffusers folder, or a hub id.
            dtype: of its weights; None for the meta device, without weights.
            options: as in `load_model`.

        Raises:
            IvideoError: it is damaged, or the file does not fit.
        """

    def network_folder(self, name: str, location: str, options: Mapping[str, Any] = MappingProxyType({})) -> str:
        """The folder of that module in a diffusers folder.

        Raises:
            UsageError: an option that the model does not have.
        """

    def load_adapter(self, network: Any, path: Path, /, scale: float = 1.0) -> Sequence[str]:
        """Put an adapter into such a module, see `ClipMaker`; tells what of it is left out."""

    def save_adapter(
        self, network: Any, folder: Path, base_model: str, options: Mapping[str, Any] = MappingProxyType({}), /
    ) -> None:
        """Write the module's adapter in PEFT's format, with the names of its base model and the family's settings."""

    def write_formats(self, folder: Path, options: Mapping[str, Any], /) -> list[Path]:
        """Write an adapter once more as other programs want it; see `TextToVideoModel`."""

    def is_weights_file(self, path: Path) -> bool:
        """Whether a path names a foreign file with a network's weights, a LoRA, or both."""

    def find_lora_rank(self, path: Path) -> int | None:
        """The rank of the LoRA that such a file brings; None if it brings none.

        Raises:
            IvideoError: it is no such file.
        """

    def read_adapter_notes(self, path: Path) -> dict[str, str]:
        """Settings of the family that an adapter brings, by name: a folder in PEFT's format, or a foreign file.

        Raises:
            IvideoError: they are damaged, or the file brings no adapter.
        """
