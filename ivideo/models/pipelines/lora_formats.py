"""Adapters in the names of other programs: diffusers' own file, and the original networks' names that ComfyUI reads.

| file | read by | names | alpha |
|---|---|---|---|
| adapter_model.safetensors | PEFT, ivideo | the network's in diffusers | in adapter_config.json |
| pytorch_lora_weights.safetensors | `pipe.load_lora_weights(folder)` | the same, after the part's | in its metadata |
| comfyui_lora.safetensors | ComfyUI, diffusers' converters | the original's; CogVideoX: kohya's | in the weights |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from ivideo.models.loading import import_quietly
from ivideo.models.lora import PEFT_PREFIX, WEIGHTS_FILE
from ivideo.models.lora_files import DIFFUSERS_FILE, find_scale

COMFYUI_FILE = "comfyui_lora.safetensors"
PARTS = ("transformer", "transformer_2")  # of A14B, where an adapter may go into both
DOWN, UP = ".lora_A.weight", ".lora_B.weight"
HUNYUAN_LAYERS = ("to_q", "to_k", "to_v", "to_out.0")


def write_formats(folder: Path, pipeline: str, part: str) -> list[Path]:
    """Write an adapter beside its PEFT files in the formats that the pipeline's users have programs for.

    Of an adapter in both experts of A14B each gets files of its own, the low-noise one's with "_2" in their names;
    diffusers takes that one by `load_lora_weights(folder, weight_name=..., load_into_transformer_2=True)`.

    Args:
        folder: of the adapter, in PEFT's format.
        pipeline: class of the pipeline.
        part: the pipeline's part that the adapter is for, or "both".

    Returns:
        The files.
    """
    from peft import LoraConfig

    weights = {name.removeprefix(PEFT_PREFIX): one for name, one in load_file(folder / WEIGHTS_FILE).items()}
    config = LoraConfig.from_pretrained(str(folder))
    kind = getattr(import_quietly("diffusers"), pipeline)
    written = []
    for number, own in enumerate(_split(weights) if part == "both" else [weights]):
        ending = "_2" if number else ""
        if hasattr(kind, "save_lora_weights"):
            prefix = "unet" if part == "unet" else "transformer"
            told = {f"{prefix}_lora_layers": own, f"{prefix}_lora_adapter_metadata": config.to_dict()}
            kind.save_lora_weights(folder, weight_name=_number(DIFFUSERS_FILE, ending), **told)
            written.append(folder / _number(DIFFUSERS_FILE, ending))
        rename = None if config.use_dora else ORIGINAL_NAMES.get(pipeline)  # ComfyUI reads DoRA otherwise than PEFT
        scaled = {
            name: one * find_scale(config, name.removesuffix(UP)) if name.endswith(UP) else one
            for name, one in own.items()
        }
        if rename and (renamed := rename(scaled)):
            prefix = PREFIXES.get(pipeline, "diffusion_model.")
            contiguous = {f"{prefix}{name}": one.contiguous() for name, one in renamed.items()}
            (folder / _number(COMFYUI_FILE, ending)).write_bytes(save(contiguous, metadata={"format": "pt"}))
            written.append(folder / _number(COMFYUI_FILE, ending))
    return written


def _number(file: str, ending: str) -> str:
    return file.replace(".safetensors", f"{ending}.safetensors")


def _split(weights: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
    starts = [f"{part}." for part in PARTS]
    return [
        {name.removeprefix(start): one for name, one in weights.items() if name.startswith(start)} for start in starts
    ]


def _name_wan(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    names = {"attn1": "self_attn", "attn2": "cross_attn", "to_q": "q", "to_k": "k", "to_v": "v"}
    renamed = {}
    for name, one in weights.items():
        if not name.startswith("blocks."):
            return {}
        joined = name.replace("to_out.0", "o").replace("ffn.net.0.proj", "ffn.0").replace("ffn.net.2", "ffn.2")
        renamed[".".join(names.get(part, part) for part in joined.split("."))] = one
    return renamed


def _name_ltx(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    is_alike = all(name.startswith("transformer_blocks.") for name in weights)
    return dict(weights) if is_alike else {}


def _name_hunyuan(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Queries, keys and values are one matrix in the original: three pairs become one of three times the rank."""
    for name in weights:
        block, is_there, layer = name.rpartition(".attn.")
        whole = all(f"{block}.attn.{one}{DOWN}" in weights for one in ("to_q", "to_k", "to_v"))
        if not is_there or not whole or layer.removesuffix(DOWN).removesuffix(UP) not in HUNYUAN_LAYERS:
            return {}
    renamed: dict[str, Tensor] = {}
    for block in dict.fromkeys(name.rpartition(".attn.")[0] for name in weights):
        pairs = {
            layer: (weights[f"{block}.attn.{layer}{DOWN}"], weights[f"{block}.attn.{layer}{UP}"])
            for layer in HUNYUAN_LAYERS
            if f"{block}.attn.{layer}{DOWN}" in weights
        }
        number = block.rpartition(".")[2]
        fused = [pairs[layer] for layer in ("to_q", "to_k", "to_v")]
        down, up = torch.cat([down for down, _ in fused]), torch.block_diag(*[up for _, up in fused])
        if block.startswith("single_"):  # the matrix also begins the block's perceptron, which has no adapter
            width = len(fused[0][1])
            place, up = f"single_blocks.{number}.linear1", torch.cat([up, up.new_zeros(4 * width, up.shape[1])])
        else:
            place = f"double_blocks.{number}.img_attn_qkv"
            if "to_out.0" in pairs:
                out = f"double_blocks.{number}.img_attn_proj"
                renamed |= {f"{out}{DOWN}": pairs["to_out.0"][0], f"{out}{UP}": pairs["to_out.0"][1]}
        renamed |= {f"{place}{DOWN}": down, f"{place}{UP}": up}
    return renamed


def _name_cogvideox(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Kohya's names of diffusers' layers, which is what ComfyUI's nodes for CogVideoX read.

    Source: kijai/ComfyUI-CogVideoXWrapper, lora_utils.py; without an alpha the scale is 1.
    """
    sides = {DOWN: ".lora_down.weight", UP: ".lora_up.weight"}
    layers = ((name, next(side for side in sides if name.endswith(side)), one) for name, one in weights.items())
    return {name.removesuffix(side).replace(".", "_") + sides[side]: one for name, side, one in layers}


PREFIXES = {"CogVideoXPipeline": "lora_unet_"}
# By pipeline: weights in the original network's names; none where it has no name for one of them.
ORIGINAL_NAMES: dict[str, Callable[[Mapping[str, Tensor]], dict[str, Tensor]]] = {
    "WanPipeline": _name_wan,
    "CogVideoXPipeline": _name_cogvideox,
    "LTXPipeline": _name_ltx,
    "HunyuanVideoPipeline": _name_hunyuan,
}
