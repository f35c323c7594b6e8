"""Adapters in the names of other programs: diffusers' own file, and the original networks' names that ComfyUI reads.

| file | read by | names | alpha |
|---|---|---|---|
| adapter_model.safetensors | PEFT, ivideo | the network's in diffusers | in adapter_config.json |
| pytorch_lora_weights.safetensors | `pipe.load_lora_weights(folder)` | the same, after the part's | in its metadata |
| comfyui_lora.safetensors | ComfyUI, and diffusers' converters | the original network's | multiplied into the weights |
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save
from torch import Tensor, nn

from ivideo.errors import IvideoError
from ivideo.models.loading import explain_damage, import_quietly
from ivideo.models.lora import PEFT_PREFIX, WEIGHTS_FILE, lora_parameters, scale_lora

DIFFUSERS_FILE, COMFYUI_FILE = "pytorch_lora_weights.safetensors", "comfyui_lora.safetensors"
PARTS = ("transformer", "transformer_2")  # of A14B, where an adapter may go into both
DOWN, UP = ".lora_A.weight", ".lora_B.weight"


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
        if rename := ORIGINAL_NAMES.get(pipeline):
            renamed = rename(own, config.lora_alpha / config.r)
            contiguous = {f"diffusion_model.{name}": one.contiguous() for name, one in renamed.items()}
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


def _name_wan(weights: Mapping[str, Tensor], scale: float) -> dict[str, Tensor]:
    names = {"attn1": "self_attn", "attn2": "cross_attn", "to_q": "q", "to_k": "k", "to_v": "v"}
    renamed = {}
    for name, one in weights.items():
        parts = [names.get(part, part) for part in name.replace("to_out.0", "o").split(".")]
        renamed[".".join(parts)] = one * scale if name.endswith(UP) else one
    return renamed


def _name_ltx(weights: Mapping[str, Tensor], scale: float) -> dict[str, Tensor]:
    return {name: one * scale if name.endswith(UP) else one for name, one in weights.items()}


def _name_hunyuan(weights: Mapping[str, Tensor], scale: float) -> dict[str, Tensor]:
    """Queries, keys and values are one matrix in the original: three pairs become one of three times the rank."""
    renamed: dict[str, Tensor] = {}
    for block in dict.fromkeys(name.rpartition(".attn.")[0] for name in weights):
        pairs = {
            layer: (weights[f"{block}.attn.{layer}{DOWN}"], scale * weights[f"{block}.attn.{layer}{UP}"])
            for layer in ("to_q", "to_k", "to_v", "to_out.0")
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
            out = f"double_blocks.{number}.img_attn_proj"
            renamed |= {f"{out}{DOWN}": pairs["to_out.0"][0], f"{out}{UP}": pairs["to_out.0"][1]}
        renamed |= {f"{place}{DOWN}": down, f"{place}{UP}": up}
    return renamed


ORIGINAL_NAMES: dict[str, Callable[[Mapping[str, Tensor], float], dict[str, Tensor]]] = {
    "WanPipeline": _name_wan,
    "LTXPipeline": _name_ltx,
    "HunyuanVideoPipeline": _name_hunyuan,
}


def is_lora_file(path: Path) -> bool:
    """Whether a path names a safetensors file with the weights of a LoRA, in whoever's names."""
    if path.suffix != ".safetensors" or not path.is_file():
        return False
    try:
        with safe_open(path, framework="pt") as file:
            return any(re.search(r"lora_(A|B|up|down)\b|lora_unet_", name) for name in file.keys())
    except Exception:  # what is no such file is told where it is read
        return False


def load_lora_file(network: nn.Module, path: Path, pipeline: str, part: str, scale: float = 1.0) -> None:
    """Put the LoRA of a file into a network, by diffusers' own converters: its names, the original's, kohya's.

    Args:
        network: changed in place.
        path: a safetensors file.
        pipeline: class of the pipeline.
        part: the pipeline's part that the network is.
        scale: multiplies the adapter's effect; 0 is the base model.

    Raises:
        IvideoError: a damaged file, or weights of another model.
    """
    kind = getattr(import_quietly("diffusers"), pipeline)
    prefix = "unet" if part == "unet" else "transformer"
    if not hasattr(kind, "lora_state_dict"):
        raise IvideoError(f"{path}: diffusers reads no LoRA files for a {pipeline}; give a folder in PEFT's format")
    misfit = f"adapter {path} was trained on another model: its weights do not fit this one"
    with explain_damage(f"adapter {path} cannot be read for a {pipeline}"):
        found = kind.lora_state_dict(str(path), return_lora_metadata=True)
    weights, metadata = found[0], found[-1]
    own = {name: one for name, one in weights.items() if name.startswith(f"{prefix}.")}
    with explain_damage(misfit, tell_reason=False):
        network.load_lora_adapter(own, prefix=prefix, adapter_name="default", metadata=metadata)  # type: ignore[operator]
    loaded = lora_parameters(network)
    if not own or len(own) != len(weights) or len(loaded) != len(own):
        raise IvideoError(misfit)
    for parameter in loaded:
        parameter.data = parameter.data.float()
    scale_lora(network, scale)
