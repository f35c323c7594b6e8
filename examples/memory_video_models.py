"""What a gradient step of the video models of today needs of a GPU's memory, counted without a GPU and without weights.

As `examples.memory_budget`, on torch's meta device: one step with a graph, its four frames decoded (the last one among
them, the most that a draw can need), scored by HPSv2 in float32, and both halves of the backward pass. Networks have
the released sizes, in bfloat16 but for what diffusers keeps in float32.

    python -m examples.memory_video_models                       # presets and smaller clips that fit other cards
    python -m examples.memory_video_models wan2.1-1.3b --clip 33 480 832 --decoder-gradient 1
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from examples.memory_budget import GIB, META, OTHER, EmptyUpdate, LiveMemory, build_reward_model, fused_attention
from ivideo.config.presets import PRESETS
from ivideo.core.sampler import run_chain
from ivideo.models.lora import add_lora, lora_parameters
from ivideo.models.pipelines.cogvideox import CogVideoXModel
from ivideo.models.pipelines.hunyuan import HunyuanVideoModel
from ivideo.models.pipelines.ltx import LTXModel
from ivideo.models.pipelines.model import PipelineModel, PromptConditioning
from ivideo.models.pipelines.wan import WanModel
from ivideo.training.step import CutGraph

NUM_DRAWN = 4
CARDS = (16, 24, 80)
WAN = {"patch_size": (1, 2, 2), "freq_dim": 256, "cross_attn_norm": True, "qk_norm": "rms_norm_across_heads"}


@dataclass(frozen=True)
class Release:
    """A released model: its family, the arguments of its networks' classes, and the shape of its embeddings."""

    kind: type[PipelineModel]
    transformer: Mapping[str, Any]
    vae: Mapping[str, Any]
    embeds: Mapping[str, tuple[int, ...]]
    flags: Mapping[str, Any]


def _wan(num_heads: int, ffn_dim: int, num_layers: int, vae: Mapping[str, Any], channels: int = 16) -> Release:
    sizes = {"num_attention_heads": num_heads, "attention_head_dim": 128, "ffn_dim": ffn_dim, "num_layers": num_layers}
    transformer = {**WAN, **sizes, "in_channels": channels, "out_channels": channels, "text_dim": 4096}
    flags = {"expand_timesteps": channels == 48}
    return Release(WanModel, transformer, vae, {"prompt_embeds": (512, 4096)}, flags)


WAN_22_VAE = {
    "base_dim": 160,
    "decoder_base_dim": 256,
    "z_dim": 48,
    "in_channels": 12,
    "out_channels": 12,
    "is_residual": True,
    "patch_size": 2,
    "latents_mean": [0.0] * 48,
    "latents_std": [1.0] * 48,
    "scale_factor_spatial": 16,
}
RELEASES = {
    "wan2.1-1.3b": _wan(12, 8960, 30, {}),
    "wan2.1-14b": _wan(40, 13824, 40, {}),
    "wan2.2-5b": _wan(24, 14336, 30, WAN_22_VAE, channels=48),
    "cogvideox-2b": Release(CogVideoXModel, {}, {}, {"prompt_embeds": (226, 4096)}, {}),
    "cogvideox-5b": Release(
        CogVideoXModel,
        {"num_attention_heads": 48, "num_layers": 42, "use_rotary_positional_embeddings": True},
        {},
        {"prompt_embeds": (226, 4096)},
        {},
    ),
    "ltx-video": Release(LTXModel, {}, {}, {"prompt_embeds": (128, 4096), "prompt_attention_mask": (128,)}, {}),
    "hunyuan-video": Release(
        HunyuanVideoModel,
        {},
        {},
        {"prompt_embeds": (256, 4096), "prompt_attention_mask": (256,), "pooled_prompt_embeds": (768,)},
        {},
    ),
}


def build(name: str, dtype: torch.dtype) -> PipelineModel:
    """A released model with an adapter of its preset, without content."""
    import diffusers

    release = RELEASES[name]
    classes = {part: getattr(diffusers, kind) for part, kind in release.kind.CLASSES.items()}
    with META:
        network, vae = classes["transformer"](**release.transformer), classes["vae"](**release.vae)
    nn.Module.to(network, dtype)
    for path, weight in network.named_parameters():
        if any(kept in path for kept in network._keep_in_fp32_modules or ()):
            weight.data = weight.data.float()
    nn.Module.to(vae, release.kind.VAE_DTYPE or dtype)
    texts = dict.fromkeys(release.kind.TEXT_CLASSES)
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler()
    if release.kind is CogVideoXModel:
        scheduler = diffusers.CogVideoXDDIMScheduler()
    pipeline = getattr(diffusers, release.kind.PIPELINE)(
        **texts, transformer=network, vae=vae, scheduler=scheduler, **release.flags
    )
    model = release.kind(name, pipeline, {}, META, "transformer", {})
    preset = PRESETS[name]["default"]
    add_lora(model.network, preset["lora_rank"], preset["lora_alpha"], seed=0, targets=model.lora_targets)
    return model


def measure(
    name: str, num_frames: int, height: int, width: int, decoder_gradient: int | None = None
) -> dict[str, float]:
    """GiB of weights, of the highest point of a step above them, and of what each part holds, by name."""
    model, reward_model = build(name, torch.bfloat16), build_reward_model()
    if decoder_gradient is not None:
        model.limit_decoder_gradient(decoder_gradient)
    model.recompute_blocks()
    memory = LiveMemory(model.network, model.vae, reward_model.network)
    peaks: dict[str, int] = {}
    with fused_attention(), memory:
        latents = torch.empty(1, *model.latents_shape(num_frames, height, width), device=META)
        embeds = {
            one: torch.empty(1, *shape, dtype=torch.bfloat16, device=META)
            for one, shape in RELEASES[name].embeds.items()
        }
        denoise = model.denoiser(PRESETS[name]["default"]["guidance_scale"], batched=False, fps=16.0)
        run: Callable[..., Tensor] = partial(run_chain, denoise, EmptyUpdate(), checkpoint=False)
        cut = CutGraph()
        with memory.phase(peaks, "network, forward"):
            clean = run(latents, torch.tensor([1]), PromptConditioning(embeds, embeds), num_grad_steps=1)
        drawn = torch.linspace(0, num_frames - 1, NUM_DRAWN).round().long()[None]
        leaf = cut.before_decoding(clean)
        with memory.phase(peaks, "decoder, forward"):
            frames = model.decode_frames(leaf, drawn, recompute=True)
        with memory.phase(peaks, "reward model"):
            loss = reward_model.score(frames, ["prompt"], torch.zeros(1, NUM_DRAWN)).sum()
        del frames
        with memory.phase(peaks, "decoder, backward"):
            (gradient,) = torch.autograd.grad(loss, leaf)
        del loss
        with memory.phase(peaks, "network, backward"):
            torch.autograd.grad(clean, lora_parameters(model.network), gradient)
    adapter = sum(parameter.nbytes for parameter in lora_parameters(model.network))
    weights = sum(
        weight.nbytes
        for part in (model.network, model.vae, reward_model.network)
        for path, weight in part.named_parameters()
        if ".lora_" not in path
    )
    return {
        "weights": (weights + 4 * adapter) / GIB,
        **{phase: peak / GIB for phase, peak in peaks.items()},
        "peak": max(peaks.values()) / GIB,
    }


def describe(name: str, clip: tuple[int, int, int], decoder_gradient: int | None) -> list[str]:
    """A row of the table."""
    found = measure(name, *clip, decoder_gradient)
    total = found["weights"] + found["peak"] + OTHER
    fits = next((f"{card} GB" for card in CARDS if total <= card), "none of these")
    num_frames, height, width = clip
    reach = "exact" if decoder_gradient is None else str(decoder_gradient)
    numbers = [f"{found[one]:.1f}" for one in ("weights", "network, backward", "decoder, backward", "peak")]
    return [f"`{name}`", f"{num_frames} x {width} x {height}", reach, *numbers, f"{total:.1f}", fits]


CLIPS: dict[str, list[tuple[int, int, int]]] = {  # of the preset, then smaller ones
    "wan2.1-1.3b": [(81, 480, 832), (49, 320, 576), (33, 256, 256), (17, 256, 256)],
    "wan2.1-14b": [(81, 480, 832), (49, 320, 576), (33, 256, 256)],
    "wan2.2-5b": [(121, 704, 1280), (81, 480, 832), (33, 320, 576), (17, 256, 256)],
    "cogvideox-2b": [(49, 480, 720), (49, 320, 480), (17, 256, 384), (9, 256, 256)],
    "cogvideox-5b": [(49, 480, 720), (49, 320, 480), (17, 256, 384), (9, 256, 256)],
    "ltx-video": [(161, 512, 704), (97, 384, 512), (65, 256, 384)],
    "hunyuan-video": [(61, 320, 512), (25, 256, 256)],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", choices=list(RELEASES))
    parser.add_argument("--clip", nargs=3, type=int, metavar=("FRAMES", "HEIGHT", "WIDTH"))
    parser.add_argument("--decoder-gradient", type=int, metavar="N")
    arguments = parser.parse_args()
    head = ["model", "clip", "decoder gradient", "weights", "network", "decoder", "peak", "together", "card"]
    print(f"| {' | '.join(head)} |\n|{' --- |' * len(head)}")
    for name in [arguments.model] if arguments.model else RELEASES:
        for clip in [tuple(arguments.clip)] if arguments.clip else CLIPS[name]:
            print(f"| {' | '.join(describe(name, clip, arguments.decoder_gradient))} |", flush=True)


if __name__ == "__main__":
    main()
