"""A LoRA of whichever program, put into a network: a folder of PEFT or of diffusers, or a bare safetensors file."""

from __future__ import annotations

import json
import math
import re
import statistics
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors import safe_open
from torch import Tensor, nn

from ivideo.errors import IvideoError
from ivideo.models.loading import explain_damage, read_weights
from ivideo.models.lora import CONFIG_FILE, TARGET_MODULES, WEIGHTS_FILE, full_lora_config, put_lora, read_lora
from ivideo.models.lora_names import (
    PART,
    PREFIX,
    Names,
    Pair,
    find_layers,
    find_misfits,
    find_original_layers,
    show_names,
    sort_weights,
)

DIFFUSERS_FILE = "pytorch_lora_weights.safetensors"
DIFFUSERS_CONFIG = "lora_adapter_metadata"  # where diffusers' files say what adapter_config.json says of PEFT's
OTHER_KINDS = re.compile(r"hada_w\d|lokr_w\d|oft_|\.lora_mid|ia3|glora")


def is_lora_file(path: Path) -> bool:
    """Whether a path names a safetensors file with an adapter, in whoever's names."""
    if path.suffix.lower() != ".safetensors" or not path.is_file():
        return False
    try:
        with safe_open(path, framework="pt") as file:
            return any(PART.match(name) or OTHER_KINDS.search(name) for name in file.keys())
    except Exception:  # what is no such file is told where it is read
        return False


def find_lora(path: Path) -> Path | None:
    """Where the adapter is that a path means: PEFT's folder, or a safetensors file; None where there is none.

    Args:
        path: a folder, or a file; the weights of PEFT's folder mean the folder, whose configuration has their scale.

    Raises:
        IvideoError: several files, or one that holds no adapter.
    """
    if path.is_dir():
        if (path / CONFIG_FILE).is_file():
            return path
        files = [file for file in sorted(path.iterdir()) if is_lora_file(file)]
        named = [file for file in files if file.name == DIFFUSERS_FILE]
        if len(named or files) > 1:
            raise IvideoError(f"{path} holds several adapters: name one of {show_names(str(one) for one in files)}")
        return next(iter(named or files), None)
    if path.suffix.lower() != ".safetensors" or not path.is_file():
        return None
    if path.name == WEIGHTS_FILE and (path.parent / CONFIG_FILE).is_file():
        return path.parent
    if not is_lora_file(path):
        with explain_damage(f"{path} is damaged or no safetensors file"), safe_open(path, framework="pt") as file:
            raise IvideoError(f"{path} holds no adapter, but {show_names(file.keys())}")
    return path


def load_lora(
    network: nn.Module,
    path: Path,
    scale: float = 1.0,
    *,
    pipeline: str = "",
    name_layers: Callable[[nn.Module], Mapping[str, str]] | None = None,
) -> list[str]:
    """Put an adapter into a network.

    Args:
        network: changed in place.
        path: PEFT's folder, or a safetensors file.
        scale: multiplies the adapter's effect; 0 is the base model.
        pipeline: class of diffusers whose converter knows the original network's names; "" for none.
        name_layers: gives diffusers' names of the network's layers by the original network's; None: as the converter.

    Returns:
        What of it was left out, in words.

    Raises:
        IvideoError: no adapter there, a damaged one, or one of which any part does not fit this network.
    """
    config, weights = _read_file(path) if path.is_file() else read_lora(path)
    names = sort_weights(weights)
    _check_kind(path, names)
    with explain_damage(f"adapter {path} is damaged: its rank or alpha is no number"):
        scales = {name: pair.scale * find_scale(config, name) for name, pair in names.pairs.items()}
    pairs = {name: replace(pair, scale=scales[name]) for name, pair in names.pairs.items()}
    found, left = find_layers(pairs, network)
    if left:
        more, left = find_original_layers(left, network, pipeline, name_layers)
        found |= more
    if left:
        share = f"{len(left)} of its {len(pairs)} layers are not" if found else f"none of its {len(pairs)} layers is"
        keys = show_names(pair.key for pair in left.values())
        linear = [name for name, module in network.named_modules() if isinstance(module, nn.Linear)]
        own = show_names([name for name in linear if name.endswith(TARGET_MODULES)] or linear)
        raise _misfit(path, f"{share} in this one: {keys}; expected are layers such as {own}")
    if misfits := find_misfits(found, network):
        raise _misfit(path, f"{len(misfits)} of its {len(pairs)} layers are of another size: {show_names(misfits)}")
    if config is None or {_bare(name) for name in pairs} != found.keys():
        has_bias = any(pair.bias is not None for pair in found.values())
        found = {name: _apply_scale(pair, has_bias) for name, pair in found.items()}
        config = _make_config(found, network)
    named = {f"{name}.{part}": value for name, pair in found.items() for part, value in _name_parts(pair).items()}
    put_lora(network, config, named, path, scale)
    return [f"adapter {path}: {len(names.text)} weights of text encoders are left out"] if names.text else []


def _misfit(path: Path, why: str) -> IvideoError:
    return IvideoError(f"adapter {path} was trained on another model: {why}")


def _read_file(path: Path) -> tuple[Any, dict[str, Tensor]]:
    """The weights of a file, and PEFT's configuration if diffusers noted it there."""
    from peft import LoraConfig

    with explain_damage(f"adapter {path} is damaged"):
        weights = read_weights(path)
        with safe_open(path, framework="pt") as file:
            noted = json.loads((file.metadata() or {}).get(DIFFUSERS_CONFIG, "{}"))
        own = {PREFIX.sub("", name, count=1): value for name, value in noted.items() if PREFIX.match(name)}
        return LoraConfig(**own) if own else None, weights


def _check_kind(path: Path, names: Names) -> None:
    """Refuse what is no LoRA, and what a LoRA cannot hold."""
    if other := [name for name in names.others if OTHER_KINDS.search(name)]:
        raise IvideoError(f"adapter {path} is no LoRA but another kind of LyCORIS or PEFT: {show_names(other)}")
    if names.others:
        raise IvideoError(
            f"adapter {path} holds what is no part of a pair of matrices: {show_names(names.others)}; expected are "
            "pairs such as LAYER.lora_A.weight and LAYER.lora_B.weight, or lora_down and lora_up"
        )
    if not names.pairs:
        raise IvideoError(f"adapter {path} is for text encoders alone: {show_names(names.text)}")
    for name, pair in names.pairs.items():
        if pair.magnitude is not None and pair.magnitude.numel() != len(pair.up):
            raise IvideoError(f"adapter {path}: its DoRA ({name}) scales columns of a weight; rows are supported")
    lacking = [name for name, pair in names.pairs.items() if pair.magnitude is None]
    if 0 < len(lacking) < len(names.pairs):
        raise IvideoError(f"adapter {path}: {len(lacking)} layers of its DoRA have no magnitude: {show_names(lacking)}")


def _bare(name: str) -> str:
    while prefix := PREFIX.match(name):
        name = name[prefix.end() :]
    return name


def find_scale(config: Any, name: str) -> float:
    """What multiplies the change of a layer, as PEFT has it."""
    from peft.utils.other import get_pattern_key

    if config is None:
        return 1.0
    rank = config.rank_pattern.get(get_pattern_key(config.rank_pattern, _bare(name)), config.r)
    alpha = config.alpha_pattern.get(get_pattern_key(config.alpha_pattern, _bare(name)), config.lora_alpha)
    return float(alpha / (math.sqrt(rank) if config.use_rslora else rank))


def _apply_scale(pair: Pair, has_bias: bool) -> Pair:
    bias = pair.up.new_zeros(len(pair.up)) if pair.bias is None and has_bias else pair.bias
    scaled = None if bias is None else bias.float() * pair.scale
    return replace(pair, up=pair.up.float() * pair.scale, bias=scaled, scale=1.0)


def _make_config(pairs: Mapping[str, Pair], network: nn.Module) -> Any:
    """PEFT's configuration of pairs at a scale of 1: an alpha as large as the rank, layer by layer."""
    ranks = {name: pair.rank for name, pair in pairs.items()}
    usual = statistics.mode(ranks.values())
    pattern = {f"^{re.escape(name)}": rank for name, rank in ranks.items() if rank != usual}
    ends = tuple(f".{name}" for name in ranks)
    is_plain = all(name in ranks or not name.endswith(ends) for name, _ in network.named_modules())
    return full_lora_config(
        usual,
        usual,
        sorted(ranks) if is_plain else "|".join(map(re.escape, ranks)),
        rank_pattern=pattern,
        alpha_pattern=pattern,
        use_dora=any(pair.magnitude is not None for pair in pairs.values()),
        lora_bias=any(pair.bias is not None for pair in pairs.values()),
    )


def _name_parts(pair: Pair) -> dict[str, Tensor]:
    """The weights of a pair in PEFT's names and shapes."""
    parts = {"lora_A.weight": pair.down, "lora_B.weight": pair.up}
    if pair.bias is not None:
        parts["lora_B.bias"] = pair.bias
    if pair.magnitude is not None:
        is_linear = pair.up.ndim == 2
        shape = [-1] if is_linear else [1, -1, *[1] * (pair.up.ndim - 2)]
        parts["lora_magnitude_vector"] = pair.magnitude.reshape(shape)
    return parts
