"""A throw-away second family: flow matching, latents that hold two frames each, one linear layer; see test_families."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ivideo.errors import UsageError
from ivideo.models.contract import TextToVideoModel
from ivideo.models.lora import save_lora
from ivideo.models.lora_files import load_lora

__all__ = [
    "choose_preset",
    "find_lora_rank",
    "is_weights_file",
    "load_adapter",
    "load_network",
    "network_folder",
    "save_adapter",
    "write_formats",
]

NETWORK_PART = "network"
CHANNELS = 3


class Network(nn.Module):
    """Velocity by one linear layer over channels, from latents and text."""

    def __init__(self) -> None:
        super().__init__()
        self.to_q = nn.Linear(CHANNELS, CHANNELS)

    @property
    def dtype(self) -> torch.dtype:
        return self.to_q.weight.dtype

    def forward(self, latents: Tensor, text: Tensor) -> Tensor:
        mixed: Tensor = self.to_q((latents + text[:, :, None, None, None]).movedim(1, -1)).movedim(-1, 1)
        return mixed


@dataclass(frozen=True)
class Text:
    embeds: Tensor

    def pick(self, items: Sequence[int]) -> Text:
        return Text(self.embeds[list(items)])


class FlowStepper:
    """x_t = (1 - sigma) x_0 + sigma noise; the network predicts noise - x_0."""

    def __init__(self, num_inference_steps: int) -> None:
        self.timesteps = torch.arange(num_inference_steps, 0, -1)
        self._count = num_inference_steps

    def corrupt(self, latents: Tensor, noise: Tensor, timestep: Tensor) -> Tensor:
        sigma = int(timestep) / self._count
        return (1 - sigma) * latents + sigma * noise

    def step(self, noise_pred: Tensor, timestep: Tensor, latents: Tensor) -> Tensor:
        return latents - noise_pred / self._count

    def predict_clean(self, noise_pred: Tensor, timestep: Tensor, latents: Tensor) -> Tensor:
        return latents - int(timestep) / self._count * noise_pred


class ToyModel(TextToVideoModel):
    """Decodes latent i as the frames 2 i and 2 i + 1, four pixels a cell."""

    def __init__(self, name: str, network: Network, device: torch.device) -> None:
        self.name, self.device = name, device
        self.network = network.requires_grad_(False).eval().to(device)

    def fit_size(self, height: int | None, width: int | None) -> tuple[int, int]:
        return height or 32, width or 32

    def latents_shape(self, num_frames: int, height: int, width: int) -> tuple[int, ...]:
        if num_frames % 2:
            raise UsageError(f"`num_frames` {num_frames}: {self.name} makes an even number")
        return CHANNELS, num_frames // 2, height // 4, width // 4

    def encode_prompts(self, prompts: Sequence[str], negative_prompt: str | Sequence[str] = "") -> Text:
        return Text(torch.tensor([[len(prompt) / 10.0] * CHANNELS for prompt in prompts], device=self.device))

    def encode_once(self, prompts: Sequence[str], negative_prompt: str | Sequence[str] = "") -> None:
        pass

    def find_prompt_problems(self, prompt: str) -> list[str]:
        return []

    def stepper(self, num_inference_steps: int, shape: Sequence[int] = ()) -> FlowStepper:
        return FlowStepper(num_inference_steps)

    def denoiser(self, guidance_scale: float, *, batched: bool = True, fps: float = 8.0) -> Any:
        def denoise(latents: Tensor, timestep: Tensor, text: Text) -> Tensor:
            return self.network(latents.to(self.dtype), text.embeds.to(self.dtype)).to(latents.dtype)

        return denoise

    def recompute_blocks(self) -> None:
        pass

    def decode_frames(self, latents: Tensor, frame_indices: Tensor, *, recompute: bool = False) -> Tensor:
        rows = torch.arange(len(latents))[:, None]
        drawn = latents[rows, :, frame_indices // 2].sigmoid()
        return F.interpolate(drawn.flatten(0, 1), scale_factor=4).unflatten(0, frame_indices.shape)

    def decode_clip(self, latents: Tensor) -> Tensor:
        frames = self.decode_frames(latents[None], torch.arange(2 * latents.shape[1])[None])[0]
        return (frames * 255).round().to(torch.uint8).permute(0, 2, 3, 1)

    def encode_frames(self, frames: Tensor) -> Tensor:
        halved = F.avg_pool2d(frames[:, ::2].flatten(0, 1), 4).unflatten(0, (len(frames), -1))
        return halved.clamp(0.01, 0.99).logit().transpose(1, 2)

    def fingerprint_encoder(self) -> str:
        return "toy"


def write_toy(folder: Path) -> Path:
    """A folder of this family, with random weights."""
    (folder / NETWORK_PART).mkdir(parents=True)
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "ToyPipeline", NETWORK_PART: ["toy", "Toy"]}))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        save_file(Network().state_dict(), folder / NETWORK_PART / "weights.safetensors")
    return folder


def load_model(
    name: str, location: str, device: torch.device, dtype: torch.dtype, *, texts: Any, options: Any
) -> ToyModel:
    return ToyModel(name, load_network(name, location, dtype), device)


def load_network(name: str, location: str, dtype: torch.dtype | None, options: Any = None) -> Network:
    network = Network()
    network.load_state_dict(load_file(Path(location, NETWORK_PART, "weights.safetensors")))
    return network.to(dtype)


def write_formats(folder: Path, options: Any) -> list[Path]:
    return []


def choose_preset(name: str, location: str) -> str:
    return "modelscope"


def network_folder(name: str, location: str, options: Any = None) -> str:
    return NETWORK_PART


load_adapter = load_lora


def save_adapter(network: nn.Module, folder: Path, base_model: str, options: Any = None) -> None:
    save_lora(network, folder, base_model)


def is_weights_file(path: Path) -> bool:
    return False


def find_lora_rank(path: Path) -> int | None:
    return None


def read_adapter_notes(path: Path) -> dict[str, str]:
    return {}
