"""The authors' checkpoints (VGen, ModelScope) in diffusers' names: which weight is which, and how a file is read.

Their network is diffusers' UNet3DConditionModel under other names, so that a U-Net's own modules say what a file of its
size must hold. The released fine-tuned file holds the LoRA pairs beside the U-Net that they were trained on.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from pickle import UnpicklingError
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from ivideo.errors import IvideoError, UsageError
from ivideo.models.loading import PICKLE_SUFFIXES, explain_damage, read_weights
from ivideo.models.lora import full_lora_config, put_lora, save_lora
from ivideo.models.lora_files import load_lora

ZIP_MAGIC = b"PK\x03\x04"  # torch.save writes zip files
BASE_FILE = "base_unet.json"  # in an adapter's folder, not PEFT's: names the file of the base's U-Net

ENDS = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_in": "input_blocks.0.0",
    "transformer_in": "input_blocks.0.1",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
TEMPORAL_CONV = "temopral_conv"  # so spelled in the files
LORA = {"to_q": "to_q_lora", "to_k": "to_k_lora", "to_v": "to_v_lora", "to_out.0": "to_out_lora"}
LORA_DOWN, LORA_UP = "down_linear.weight", "up_linear.weight"
NUM_NAMED = 3  # weights that an error names of those that it counts


def name_weights(unet: Any) -> dict[str, str]:
    """The authors' name of every weight of a UNet3DConditionModel, by diffusers' name; an adapter's are left out.

    The input convolution with the first temporal transformer is their block 0; each residual layer and each change of
    size counts as a block; inside a layer, 0 is the residual part, 1 the spatial and 2 the temporal transformer.
    """
    modules = {**ENDS, **_name_mid(unet.mid_block)}
    index = 1
    for i, block in enumerate(unet.down_blocks):
        for j in range(len(block.resnets)):
            modules |= _name_layer(block, f"down_blocks.{i}", j, f"input_blocks.{index}")
            index += 1
        if block.downsamplers:
            modules[f"down_blocks.{i}.downsamplers.0.conv"] = f"input_blocks.{index}.op"
            index += 1
    index = 0
    for i, block in enumerate(unet.up_blocks):
        for j in range(len(block.resnets)):
            modules |= _name_layer(block, f"up_blocks.{i}", j, f"output_blocks.{index}")
            index += 1
        if block.upsamplers:
            place = 3 if hasattr(block, "attentions") else 1
            modules[f"up_blocks.{i}.upsamplers.0.conv"] = f"output_blocks.{index - 1}.{place}.conv"
    return {name: _rename(name, modules) for name in unet.state_dict() if ".lora_" not in name}


def _name_layer(block: Any, prefix: str, j: int, place: str) -> dict[str, str]:
    names = _name_resnet(prefix, j, f"{place}.0")
    if hasattr(block, "attentions"):
        names |= {f"{prefix}.attentions.{j}": f"{place}.1", f"{prefix}.temp_attentions.{j}": f"{place}.2"}
    return names


def _name_resnet(prefix: str, j: int, place: str) -> dict[str, str]:
    parts = {f"{prefix}.resnets.{j}.{ours}": f"{place}.{theirs}" for ours, theirs in RESNET.items()}
    return {**parts, f"{prefix}.temp_convs.{j}": f"{place}.{TEMPORAL_CONV}"}


def _name_mid(block: Any) -> dict[str, str]:
    last = len(block.resnets) - 1
    return {**_name_layer(block, "mid_block", 0, "middle_block"), **_name_resnet("mid_block", last, "middle_block.3")}


def _rename(name: str, modules: Mapping[str, str]) -> str:
    """A weight's name with its module's prefix exchanged; transformers are alike inside."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        prefix = ".".join(parts[:length])
        if prefix in modules:
            return ".".join([modules[prefix], *parts[length:]])
    raise IvideoError(f"the U-Net has {name}, for which the authors' network has no place")


def name_layers(unet: Any) -> dict[str, str]:
    """Diffusers' name of every layer of a UNet3DConditionModel that has a weight, by the authors' name."""
    names = name_weights(unet).items()
    return {theirs.removesuffix(".weight"): ours.removesuffix(".weight") for ours, theirs in names if ".weight" in ours}


def name_lora(unet: Any) -> dict[str, str]:
    """The authors' name of every weight of an adapter of all attentions, by PEFT's name."""
    names = {}
    for ours, theirs in name_weights(unet).items():
        for projection, lora in LORA.items():
            if ours.endswith(f".{projection}.weight"):
                place = theirs.removesuffix(f"{projection}.weight") + lora
                module = ours.removesuffix(".weight")
                names[f"{module}.lora_A.weight"] = f"{place}.{LORA_DOWN}"
                names[f"{module}.lora_B.weight"] = f"{place}.{LORA_UP}"
    return names


def is_checkpoint(path: Path) -> bool:
    """Whether a path names a file that looks like one of the authors'."""
    return path.suffix.lower() in PICKLE_SUFFIXES and path.is_file()


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """The weights of a file in the authors' names, mapped from the disk rather than read.

    Raises:
        UsageError: no such file.
        IvideoError: no checkpoint of torch, a damaged one, or one that holds other things than weights.
    """
    if not path.is_file():
        raise UsageError(f"`unet` {path}: {'is a folder; give a file' if path.is_dir() else 'no such file'}")
    with explain_damage(f"{path} is truncated or no checkpoint of torch"):
        with path.open("rb") as file:
            is_zip = file.read(len(ZIP_MAGIC)) == ZIP_MAGIC
        if not is_zip:
            raise IvideoError(
                f"{path} is no checkpoint of torch; wanted is a .pth file of the authors (VGen, ModelScope)"
            )
        try:
            return read_weights(path)
        except UnpicklingError:
            raise IvideoError(f"{path} holds other things than weights and is not loaded, for safety") from None
        except TypeError:
            raise IvideoError(
                f"{path} holds no table of weights; wanted is a U-Net of the authors (VGen, ModelScope)"
            ) from None


def find_lora_rank(path: Path) -> int | None:
    """The rank of the LoRA that a file of the authors brings; None if it brings none. See `read_checkpoint`."""
    downs = (tensor for name, tensor in read_checkpoint(path).items() if name.endswith(LORA_DOWN))
    return next((int(tensor.shape[0]) for tensor in downs if tensor.ndim == 2), None)


def load_authors_unet(unet: Any, path: Path, dtype: torch.dtype) -> Any:
    """Give a U-Net the weights of a file of the authors, without the LoRA that it may bring.

    Args:
        unet: a UNet3DConditionModel without an adapter, best on the meta device; its weights are replaced.
        path: checkpoint file; the weights stay mapped from it where they have the wanted type already.
        dtype: of the weights.

    Raises:
        UsageError: no such file.
        IvideoError: no such checkpoint, or one of another network; names what is missing, left over, or of another
            shape.
    """
    tensors = read_checkpoint(path)
    names = name_weights(unet)
    has_lora = any(name.endswith((LORA_DOWN, LORA_UP)) for name in tensors)
    wanted = [*names.values(), *(name_lora(unet).values() if has_lora else ())]
    _check_names(path, wanted, tensors)
    shapes = {ours: tuple(weight.shape) for ours, weight in unet.state_dict().items()}
    weights = {ours: _fit(tensors[theirs], shapes[ours]) for ours, theirs in names.items()}
    _check_shapes(path, {names[ours]: (weights[ours], shapes[ours]) for ours in names})
    unet.load_state_dict({ours: weight.to(dtype) for ours, weight in weights.items()}, strict=True, assign=True)
    return unet


def read_authors_lora(unet: Any, path: Path) -> tuple[int, dict[str, Tensor]]:
    """The LoRA that a file of the authors brings: its rank, and its weights in PEFT's names.

    The authors add up(down(x)) to each projection: a scale of 1, that is an alpha equal to the rank.

    Args:
        unet: the UNet3DConditionModel that it is for, without an adapter.
        path: checkpoint file.

    Raises:
        UsageError: no such file.
        IvideoError: no such checkpoint, none that brings a LoRA, or one of another network.
    """
    rank = find_lora_rank(path)
    if rank is None:
        raise IvideoError(f"{path} brings no LoRA, only a U-Net: name it by `unet`")
    names = name_lora(unet)
    tensors = {name: tensor for name, tensor in read_checkpoint(path).items() if name in {*names.values()}}
    _check_names(path, names.values(), tensors)
    shapes = dict(_lora_shapes(unet, rank))
    _check_shapes(path, {theirs: (tensors[theirs], shapes[ours]) for ours, theirs in names.items()})
    return rank, {ours: tensors[theirs].float() for ours, theirs in names.items()}


def _lora_shapes(unet: Any, rank: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    for name, weight in unet.state_dict().items():
        if name.endswith(tuple(f".{projection}.weight" for projection in LORA)):
            module = name.removesuffix(".weight")
            yield f"{module}.lora_A.weight", (rank, weight.shape[1])
            yield f"{module}.lora_B.weight", (weight.shape[0], rank)


def _fit(tensor: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A weight without the trailing ones by which a convolution over one place differs from a linear layer."""
    only_ones_follow = tuple(tensor.shape[: len(shape)]) == shape and {*tensor.shape[len(shape) :]} <= {1}
    return tensor.reshape(shape) if only_ones_follow else tensor


def _check_names(path: Path, wanted: Collection[str], found: Mapping[str, Tensor]) -> None:
    missing = [name for name in wanted if name not in found]
    unused = sorted(found.keys() - {*wanted})
    problems = [f"{_count(names)} {what}" for names, what in ((missing, "missing"), (unused, "left over")) if names]
    if problems:
        raise IvideoError(f"{path} does not fit the model's U-Net: {'; '.join(problems)}")


def _check_shapes(path: Path, weights: Mapping[str, tuple[Tensor, tuple[int, ...]]]) -> None:
    wrong = [
        f"{name} {tuple(weight.shape)} for {shape}"
        for name, (weight, shape) in weights.items()
        if tuple(weight.shape) != shape
    ]
    if wrong:
        raise IvideoError(f"{path} does not fit the model's U-Net: {_count(wrong)} of another size")


def _count(names: Collection[str]) -> str:
    named = [*names][:NUM_NAMED]
    more = ", ..." if len(names) > NUM_NAMED else ""
    noun = "weight" if len(names) == 1 else "weights"
    return f"{len(names)} {noun} ({', '.join(named)}{more})"


def load_adapter(unet: Any, path: Path, scale: float = 1.0) -> list[str]:
    """Load the adapter that a file of the authors brings, or one of any other program; see `load_lora`."""
    if not is_checkpoint(path):
        return load_lora(unet, path, scale, name_layers=name_layers)
    rank, weights = read_authors_lora(unet, path)
    put_lora(unet, full_lora_config(rank, rank), weights, path, scale)
    return []


def save_adapter(unet: Any, folder: Path, base_model: str, options: Mapping[str, Any] = MappingProxyType({})) -> None:
    """Write the U-Net's adapter in PEFT's format.

    Args:
        unet: has the adapter.
        folder: where to.
        base_model: the model that the adapter is for.
        options: `unet` names the file that the model's U-Net came from, if not its own folder; see `read_unet_file`.
    """
    save_lora(unet, folder, base_model)
    if unet_file := options.get("unet"):
        (folder / BASE_FILE).write_text(json.dumps({"unet": unet_file}) + "\n", encoding="utf-8")


def read_unet_file(folder: Path) -> str | None:
    """The U-Net file that `save_adapter` noted; None if there is none.

    Raises:
        IvideoError: the note is damaged.
    """
    if not (folder / BASE_FILE).is_file():
        return None
    with explain_damage(f"adapter {folder} is damaged: {BASE_FILE} names no U-Net", tell_reason=False):
        return str(json.loads((folder / BASE_FILE).read_text(encoding="utf-8"))["unet"])
