"""The video models of today at their released sizes, as the arguments of diffusers' classes, without their weights.

What the memory page counts on torch's meta device, and what `examples.gpu_check` measures with random weights. Text
encoders are left out: they have gone when a training begins, and embeddings of the right shape stand for the prompts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from examples.published_sizes import SCHEDULE, WAN
from ivideo.config.presets import PRESETS
from ivideo.models.lora import add_lora
from ivideo.models.pipelines.animatediff import AnimateDiffModel
from ivideo.models.pipelines.cogvideox import CogVideoXModel
from ivideo.models.pipelines.hunyuan import HunyuanVideo15Model, HunyuanVideoModel
from ivideo.models.pipelines.ltx import LTXModel
from ivideo.models.pipelines.mochi import MochiModel
from ivideo.models.pipelines.model import PipelineModel
from ivideo.models.pipelines.wan import HIGH, LOW, WanModel

Sizes = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class Release:
    """A released model.

    Attributes:
        kind: its family.
        embeds: shape of each of a prompt's embeddings, by the pipeline's name for it.
        clips: frames, height and width of clips to count the memory of: the preset's, then smaller ones.
        networks: arguments of its networks' classes that are not their defaults, by part of the pipeline.
        flags: further arguments of the pipeline.
        network_part: what adapters go into.
    """

    kind: type[PipelineModel]
    embeds: Mapping[str, tuple[int, ...]]
    clips: Sequence[tuple[int, int, int]]
    networks: Sizes = field(default_factory=dict)
    flags: Mapping[str, Any] = field(default_factory=dict)
    network_part: str = HIGH


def _wan(heads: int, ffn_dim: int, num_layers: int, channels: int = 16) -> dict[str, Any]:
    sizes = {"num_attention_heads": heads, "ffn_dim": ffn_dim, "num_layers": num_layers}
    return {**WAN.transformer, **sizes, "in_channels": channels, "out_channels": channels}


WAN_14B = _wan(40, 13824, 40)
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
COGVIDEOX_5B = {"num_attention_heads": 48, "num_layers": 42, "use_rotary_positional_embeddings": True}
UMT5, T5 = {"prompt_embeds": (512, 4096)}, {"prompt_embeds": (226, 4096)}
OF_480P = [(81, 480, 832), (49, 320, 576), (33, 256, 256), (17, 256, 256)]
OF_COGVIDEOX = [(49, 480, 720), (49, 320, 480), (17, 256, 384), (9, 256, 256)]
RELEASES = {
    "wan2.1-1.3b": Release(WanModel, UMT5, OF_480P, {HIGH: WAN.transformer, "vae": WAN.vae}),
    "wan2.1-14b": Release(WanModel, UMT5, OF_480P, {HIGH: WAN_14B}),
    "wan2.2-5b": Release(
        WanModel,
        UMT5,
        [(121, 704, 1280), (81, 480, 832), (33, 320, 576), (17, 256, 256)],
        {HIGH: _wan(24, 14336, 30, channels=48), "vae": WAN_22_VAE},
        {"expand_timesteps": True},
    ),
    "wan2.2-a14b": Release(WanModel, UMT5, OF_480P, {HIGH: WAN_14B, LOW: WAN_14B}, {"boundary_ratio": 0.875}, LOW),
    "cogvideox-2b": Release(CogVideoXModel, T5, OF_COGVIDEOX),
    "cogvideox-5b": Release(CogVideoXModel, T5, OF_COGVIDEOX, {"transformer": COGVIDEOX_5B}),
    "cogvideox-1.5": Release(
        CogVideoXModel,
        T5,
        [(81, 768, 1360), (81, 480, 720), (17, 256, 384), (9, 256, 256)],
        {"transformer": {**COGVIDEOX_5B, "patch_size_t": 2, "patch_bias": False, "ofs_embed_dim": None}},
    ),
    "ltx-video": Release(
        LTXModel,
        {"prompt_embeds": (128, 4096), "prompt_attention_mask": (128,)},
        [(161, 512, 704), (97, 384, 512), (65, 256, 384)],
    ),
    "hunyuan-video": Release(
        HunyuanVideoModel,
        {"prompt_embeds": (256, 4096), "prompt_attention_mask": (256,), "pooled_prompt_embeds": (768,)},
        [(61, 320, 512), (25, 256, 256)],
    ),
    "hunyuan-video-1.5": Release(
        HunyuanVideo15Model,
        {
            "prompt_embeds": (1000, 3584),
            "prompt_embeds_mask": (1000,),
            "prompt_embeds_2": (256, 1472),
            "prompt_embeds_mask_2": (256,),
        },
        [(121, 480, 848), (61, 320, 512), (33, 256, 256), (17, 256, 256)],
        {"transformer": {"task_type": "t2v"}},
    ),
    "mochi": Release(
        MochiModel,
        {"prompt_embeds": (256, 4096), "prompt_attention_mask": (256,)},
        [(85, 480, 848), (43, 320, 512), (25, 256, 256), (13, 256, 256)],
    ),
    "animatediff": Release(
        AnimateDiffModel,
        {"prompt_embeds": (77, 768)},
        [(16, 512, 512), (16, 256, 256)],
        {
            "unet": {"sample_size": 64, "cross_attention_dim": 768},
            "vae": {
                "block_out_channels": (128, 256, 512, 512),
                "down_block_types": ("DownEncoderBlock2D",) * 4,
                "up_block_types": ("UpDecoderBlock2D",) * 4,
                "layers_per_block": 2,
            },
        },
        network_part="unet",
    ),
}
# Fewer layers, heads and channels, for a rehearsal on a CPU.
HEADS = {"num_layers": 1, "num_attention_heads": 2}
SMALL: dict[type[PipelineModel], Sizes] = {
    WanModel: {
        HIGH: {**HEADS, "ffn_dim": 64},
        LOW: {**HEADS, "ffn_dim": 64},
        "vae": {"base_dim": 8, "decoder_base_dim": 8, "dim_mult": [1, 1, 1, 1], "num_res_blocks": 1},
    },
    CogVideoXModel: {
        "transformer": HEADS,
        "vae": {"block_out_channels": (8,) * 4, "layers_per_block": 1, "norm_num_groups": 2},
    },
    LTXModel: {
        "transformer": {**HEADS, "cross_attention_dim": 128},
        "vae": {
            "block_out_channels": (8,) * 4,
            "decoder_block_out_channels": (8,) * 4,
            "layers_per_block": (1,) * 5,
            "decoder_layers_per_block": (1,) * 5,
        },
    },
    HunyuanVideoModel: {
        "transformer": {**HEADS, "num_single_layers": 1, "num_refiner_layers": 1},
        "vae": {"block_out_channels": (8,) * 4, "layers_per_block": 1, "norm_num_groups": 4},
    },
    HunyuanVideo15Model: {
        "transformer": {**HEADS, "num_refiner_layers": 1},
        "vae": {"block_out_channels": (32,) * 5, "layers_per_block": 1},
    },
    MochiModel: {
        "transformer": {**HEADS, "pooled_projection_dim": 32},
        "vae": {
            "encoder_block_out_channels": (32,) * 4,
            "decoder_block_out_channels": (32,) * 4,
            "layers_per_block": (1,) * 5,
        },
    },
    AnimateDiffModel: {
        "unet": {"block_out_channels": (32,) * 4, "layers_per_block": 1},
        "motion_adapter": {"block_out_channels": (32,) * 4, "motion_layers_per_block": 1},
        "vae": {"block_out_channels": (32,) * 4, "layers_per_block": 1},
    },
}


def build(
    name: str, device: torch.device, dtype: torch.dtype, *, is_small: bool = False, vae_tiling: bool | None = None
) -> PipelineModel:
    """A released model with random weights and an adapter of its preset.

    Args:
        name: of the release.
        device: where to make it; on the meta device it has no content.
        dtype: of the network, but for the layers that diffusers keeps in float32.
        is_small: with fewer layers, heads and channels.
        vae_tiling: as the setting.
    """
    import diffusers

    release = RELEASES[name]
    parts: dict[str, Any] = dict.fromkeys(release.kind.TEXT_CLASSES)
    for part, found in {**release.kind.CLASSES, **dict.fromkeys({LOW} & {*release.networks}, "")}.items():
        kind = getattr(diffusers, found or ("UNet2DConditionModel" if part == "unet" else release.kind.CLASSES[HIGH]))
        sizes = {**release.networks.get(part, {}), **(SMALL[release.kind].get(part, {}) if is_small else {})}
        with device:
            network = kind(**sizes)
        parts[part] = _convert(network, (release.kind.VAE_DTYPE or dtype) if part == "vae" else dtype)
    scheduler: Any = diffusers.FlowMatchEulerDiscreteScheduler(invert_sigmas=release.kind is MochiModel)
    if release.kind is CogVideoXModel:
        scheduler = diffusers.CogVideoXDDIMScheduler(prediction_type="v_prediction")
    if release.kind is AnimateDiffModel:
        scheduler = diffusers.DDIMScheduler(**SCHEDULE)
    if release.kind is HunyuanVideo15Model:
        parts["guider"] = diffusers.guiders.ClassifierFreeGuidance()
    with device:
        pipeline = getattr(diffusers, release.kind.PIPELINE)(**parts, scheduler=scheduler, **release.flags)
    model = release.kind(name, pipeline, {}, device, release.network_part, {"vae_tiling": vae_tiling})
    preset = PRESETS[name]["default"]
    add_lora(model.network, preset["lora_rank"], preset["lora_alpha"], seed=0, targets=model.lora_targets)
    return model


def _convert(network: nn.Module, dtype: torch.dtype) -> nn.Module:
    kept = getattr(network, "_keep_in_fp32_modules", None) or ()
    for path, weight in network.named_parameters():
        if not any(part in path for part in kept):
            weight.data = weight.data.to(dtype)
    return network


def make_embeds(name: str, device: torch.device) -> dict[str, Tensor]:
    """The embeddings of one prompt, random, nothing masked."""
    return {
        one: torch.ones(1, *shape, dtype=torch.long, device=device)
        if "mask" in one
        else torch.randn(1, *shape, device=device)
        for one, shape in RELEASES[name].embeds.items()
    }
