"""What a gradient step of ModelScopeT2V needs of a GPU's memory, counted without a GPU and without weights.

The step of `ivideo finetune` itself (sampler, decoder, reward model, objective) runs forward and backward on torch's
meta device, where tensors have sizes but no content. Each tensor's storage is counted from its making to its end, so
that the peak is what an allocator without gaps would need. Not counted are CUDA's own context, the workspaces of
convolutions and the gaps between tensors: OTHER is set aside for them.

    python -m examples.memory_budget                    # ModelScope: 16 frames, 256 x 256
    python -m examples.memory_budget --model zeroscope  # 24 frames, 576 x 320
"""

from __future__ import annotations

import argparse
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from examples.published_sizes import PUBLISHED, Networks
from ivideo.config.presets import preset_for
from ivideo.core.objective import segmental_objective
from ivideo.core.sampler import run_chain
from ivideo.models.lora import add_lora, lora_parameters
from ivideo.models.unet3d.blocks import checkpoint_blocks
from ivideo.models.unet3d.model import FRAMES_AT_ONCE, Conditioning, UNet3DModel
from ivideo.rewards.cosine import CosineReward, Preprocessing

META = torch.device("meta")
GIB = 2**30
CARDS = (16, 24)  # GiB
OTHER = 1.5  # GiB: CUDA's context, workspaces, gaps


class LiveMemory(TorchDispatchMode):
    """Counts the bytes of the storages that operations make, from their first sight to their end."""

    def __init__(self, *networks: nn.Module) -> None:
        """Count everything but the networks' own weights."""
        super().__init__()
        self.live = self.peak = 0
        self._known = {
            weight.untyped_storage()._cdata for network in networks for weight in network.state_dict().values()
        }

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if operation is torch.ops.aten._local_scalar_dense.default and args[0].device == META:
            return 1  # a number is asked of a tensor without content: a low timestep, a truth
        result = operation(*args, **(kwargs or {}))
        for value in tree_leaves(result):
            if isinstance(value, Tensor) and value.device == META:
                self._count(value.untyped_storage())
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        if storage._cdata not in self._known:
            self._known.add(storage._cdata)
            self.live += storage.nbytes()
            self.peak = max(self.peak, self.live)
            weakref.finalize(storage, self._forget, storage._cdata, storage.nbytes())

    def _forget(self, key: int, num_bytes: int) -> None:
        self._known.discard(key)
        self.live -= num_bytes

    @contextmanager
    def phase(self, peaks: dict[str, int], name: str) -> Iterator[None]:
        """Note a phase's peak."""
        self.peak = self.live
        yield
        peaks[name] = self.peak


class FusedAttention(torch.autograd.Function):
    """What fused attention on a GPU keeps: its inputs, its result and a number a row; never the whole matrix."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        result = query.new_empty(*query.shape[:-1], value.shape[-1])
        ctx.save_for_backward(query, key, value, result, query.new_empty(query.shape[:-1], dtype=torch.float32))
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        query, key, value, _, _ = ctx.saved_tensors
        return torch.empty_like(query), torch.empty_like(key), torch.empty_like(value)


@contextmanager
def fused_attention() -> Iterator[None]:
    """Let torch's attention, which on the meta device would make the whole matrix, be the fused one."""
    kept = F.scaled_dot_product_attention
    F.scaled_dot_product_attention = lambda query, key, value, *_, **__: FusedAttention.apply(query, key, value)
    try:
        yield
    finally:
        F.scaled_dot_product_attention = kept


class EmptyUpdate:
    """The sampler's update as far as memory goes: latents in, latents out (a scheduler wants its betas' content)."""

    def step(self, noise_pred: Tensor, timestep: Tensor, latents: Tensor) -> Tensor:
        return latents - noise_pred


@dataclass(frozen=True)
class Arrangement:
    """How a gradient step is run: as `--gradient-checkpointing` and `--guidance-batching` say."""

    checkpointing: bool
    batched: bool

    def __str__(self) -> str:
        blocks = "blocks recomputed" if self.checkpointing else "all kept"
        return f"{blocks}, branches {'together' if self.batched else 'in turn'}"


@dataclass(frozen=True)
class Shape:
    """The clips of a model, and how many go through it together."""

    num_frames: int
    height: int
    width: int
    num_segments: int
    batch: int = 1


def build_model(dtype: torch.dtype, networks: Networks = PUBLISHED) -> UNet3DModel:
    """ModelScopeT2V with an adapter, without content."""
    from diffusers import AutoencoderKL, UNet3DConditionModel

    with META:
        unet, vae = UNet3DConditionModel(**networks.unet), AutoencoderKL(**networks.vae)
    for part in (unet, vae):
        nn.Module.to(part, dtype)
    others: dict[str, Any] = {"text_encoder": None, "tokenizer": None, "scheduler": None}
    model = UNet3DModel("modelscope", unet, vae, **others, device=META)
    add_lora(unet, rank=4, alpha=4.0, seed=0)
    return model


def build_text_encoder(dtype: torch.dtype, networks: Networks = PUBLISHED) -> nn.Module:
    """Its text encoder, without content."""
    from transformers import CLIPTextConfig, CLIPTextModel

    with META:
        return nn.Module.to(CLIPTextModel(CLIPTextConfig(**networks.text)), dtype)


def build_reward_model(networks: Networks = PUBLISHED) -> CosineReward:
    """HPSv2, without content; it scores in float32."""
    import open_clip

    with META:
        network = open_clip.CLIP(**networks.reward)

    def tokenize(texts: list[str]) -> Tensor:
        return torch.zeros(len(texts), 77, dtype=torch.int64)

    image_size = networks.reward["vision_cfg"]["image_size"]
    return CosineReward("hpsv2", "", network, tokenize, Preprocessing(image_size), META)


def measure_step(
    shape: Shape, dtype: torch.dtype, arrangement: Arrangement, networks: Networks = PUBLISHED
) -> dict[str, int]:
    """Bytes of one step of the last two of a chain, weights left out, by phase: the highest point of each.

    Also what the backward pass keeps: `kept by U-Net`, `kept by decoder`, `kept by reward model`.
    """
    model, reward_model = build_model(dtype, networks), build_reward_model(networks)
    decode: Callable[[Tensor, Tensor], Tensor] = model.decode_frames
    if arrangement.checkpointing:
        checkpoint_blocks(model.unet)
        decode = partial(model.decode_frames, recompute=True)
    memory = LiveMemory(model.unet, model.vae, reward_model.network)
    peaks: dict[str, int] = {}
    with fused_attention(), memory:
        one = model.latents_shape(shape.num_frames, shape.height, shape.width)
        latents = torch.empty(shape.batch, *one, device=META)
        embeds = torch.empty(shape.batch, 77, model.unet.config.cross_attention_dim, dtype=dtype, device=META)
        denoise = model.denoiser(3.0, batched=arrangement.batched)
        timesteps = torch.tensor([51, 1])
        chain = partial(run_chain, denoise, EmptyUpdate(), conditioning=Conditioning(embeds, embeds), checkpoint=False)
        with memory.phase(peaks, "no gradient"):
            latents = chain(latents=latents, timesteps=timesteps[:1])
        with torch.no_grad(), memory.phase(peaks, "ready frames"):
            model.decode_frames(latents[:1], torch.arange(FRAMES_AT_ONCE)[None])
        before = memory.live
        with memory.phase(peaks, "gradient"):
            latents = chain(latents=latents, timesteps=timesteps[1:], num_grad_steps=1)
        peaks["kept by U-Net"] = memory.live - before
        marks = {}

        def decode_and_mark(latents: Tensor, frame_indices: Tensor) -> Tensor:
            marks["before"] = memory.live
            with memory.phase(peaks, "decoder"):
                frames = decode(latents, frame_indices)
            marks["after"] = memory.live
            return frames

        with memory.phase(peaks, "reward model"):
            objective = segmental_objective(
                latents,
                torch.zeros(shape.batch, shape.num_segments, dtype=torch.int64),
                num_frames=shape.num_frames,
                decode_frames=decode_and_mark,
                score_frames=lambda frames: reward_model.score(frames, ["prompt"] * shape.batch),
                attenuation_rate=1.0,
            )
        peaks["kept by decoder"] = marks["after"] - marks["before"]
        peaks["kept by reward model"] = memory.live - marks["after"]
        with memory.phase(peaks, "backward"):
            torch.autograd.grad(objective.loss, lora_parameters(model.unet))
    return peaks


def count_bytes(network: nn.Module, only: Callable[[str], bool] = lambda name: True) -> int:
    """Bytes of a network's weights."""
    return sum(weight.nbytes for name, weight in network.named_parameters() if only(name))


def print_table(rows: list[tuple[str, ...]]) -> None:
    """Columns as wide as their content, numbers to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for name, *cells in rows:
        print("  ".join([name.ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(cells, widths[1:], strict=True))]))


def measure_weights(dtype: torch.dtype, networks: Networks = PUBLISHED) -> dict[str, int]:
    """Bytes that stay on the card for the whole training, and the text encoder's, which leave it before."""
    model = build_model(dtype, networks)
    adapter = sum(parameter.nbytes for parameter in lora_parameters(model.unet))
    return {
        "U-Net": count_bytes(model.unet, lambda name: ".lora_" not in name),
        "autoencoder": count_bytes(model.vae),
        "reward model (float32)": count_bytes(build_reward_model(networks).network),
        "adapter, its gradient, AdamW (float32)": 4 * adapter,
        "text encoder (gone once prompts are encoded)": count_bytes(build_text_encoder(dtype, networks)),
    }


def main() -> None:
    """Print the budget."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=("modelscope", "zeroscope"), default="modelscope")
    parser.add_argument("--dtype", choices=("bfloat16", "float16", "float32"), default="bfloat16")
    arguments = parser.parse_args()
    preset, dtype = preset_for(arguments.model), getattr(torch, arguments.dtype)
    shape = Shape(*(preset[name] for name in ("num_frames", "height", "width", "num_segments")))

    print(
        f"{arguments.model}, batch 1, {shape.num_frames} frames, {shape.width} x {shape.height}, {arguments.dtype}; GiB"
    )
    weights = measure_weights(dtype)
    resident = sum(weights.values()) - weights["text encoder (gone once prompts are encoded)"]
    rows = [("", "weights"), *((name, f"{count / GIB:.2f}") for name, count in weights.items())]
    print_table([*rows, ("together, without the text encoder", f"{resident / GIB:.2f}")])

    arrangements = [Arrangement(checkpointing, batched) for checkpointing in (False, True) for batched in (True, False)]
    steps = [measure_step(shape, dtype, arrangement) for arrangement in arrangements]
    print()
    names = [name for name in steps[0] if name.startswith("kept")]
    phases = [name for name in steps[0] if not name.startswith("kept")]
    print_table(
        [
            ("one gradient step", *names, "peak", "with weights", *(f"left of {card}" for card in CARDS)),
            *(
                (
                    str(arrangement),
                    *(f"{step[name] / GIB:.2f}" for name in names),
                    *describe_peak(max(step[name] for name in phases) / GIB, resident / GIB),
                )
                for arrangement, step in zip(arrangements, steps, strict=True)
            ),
        ]
    )
    print(f"left: after {OTHER} GiB for CUDA's context, workspaces and gaps, which are not counted")
    print()
    print_table(
        [
            ("peak by phase", *phases),
            *(
                (str(arrangement), *(f"{step[name] / GIB:.2f}" for name in phases))
                for arrangement, step in zip(arrangements, steps, strict=True)
            ),
        ]
    )


def describe_peak(peak: float, resident: float) -> list[str]:
    """Peak, peak with weights, and what each card has left."""
    total = peak + resident
    return [f"{peak:.2f}", f"{total:.2f}", *(f"{card - total - OTHER:.1f}" for card in CARDS)]


if __name__ == "__main__":
    main()
