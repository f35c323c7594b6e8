"""Low-rank adapters in every attention of a network, in PEFT's own format."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from ivideo.errors import IvideoError
from ivideo.files.reading import parse_json, read_text
from ivideo.models.loading import check_finite, explain_damage
from ivideo.models.lora_config import check_lora_config
from ivideo.models.lora_names import show_names

TARGET_MODULES = ("to_q", "to_k", "to_v", "to_out.0")
PEFT_PREFIX = "base_model.model."  # where PeftModel keeps the network that it wraps
TINY = 1e-6  # rows of a DoRA are never scaled by less
CONFIG_FILE, WEIGHTS_FILE = "adapter_config.json", "adapter_model.safetensors"


def add_lora(
    network: nn.Module, rank: int, alpha: float, seed: int, targets: Sequence[str] | str = TARGET_MODULES
) -> None:
    """Inject a fresh adapter: down normal with deviation 1 / rank, up zero, both float32; the rest stays frozen.

    Args:
        network: changed in place.
        rank: inner width of the adapter (paper: 4).
        alpha: the adapter is scaled by alpha / rank (paper: 1).
        seed: fixes the initial weights.
        targets: ends of the adapted layers' names, or an expression that the whole name fits.

    Source: InstructVideo, section 4.1; the authors adapt the projections of spatial and temporal attention alike.
    """
    _inject(network, full_lora_config(rank, alpha, targets, init_lora_weights="gaussian"))
    generator = torch.Generator().manual_seed(seed)
    for layer in _lora_layers(network):
        for down in layer.lora_A.values():
            weight = torch.randn(down.weight.shape, generator=generator, device=generator.device) / rank
            down.weight.data.copy_(weight)


def _inject(network: nn.Module, config: Any) -> None:
    from peft import inject_adapter_in_model

    inject_adapter_in_model(config, network)
    for parameter in lora_parameters(network):
        parameter.data = parameter.data.float()


def _lora_layers(network: nn.Module) -> Iterator[Any]:
    from peft.tuners.lora import LoraLayer

    return (module for module in network.modules() if isinstance(module, LoraLayer))


def named_lora_parameters(network: nn.Module) -> dict[str, nn.Parameter]:
    """The adapter's weights by name, in a fixed order; empty without an adapter."""
    return {name: parameter for name, parameter in network.named_parameters() if ".lora_" in name}


def lora_parameters(network: nn.Module) -> list[nn.Parameter]:
    """The adapter's weights, in a fixed order; empty without an adapter."""
    return list(named_lora_parameters(network).values())


@contextmanager
def adapter_off(network: nn.Module) -> Iterator[None]:
    """Show the base: inside the block the network computes exactly what it does without an adapter (no gradients)."""
    layers = list(_lora_layers(network)) if lora_parameters(network) else []
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)


@contextmanager
def adapter_merged(network: nn.Module) -> Iterator[None]:
    """Show the network with its adapter merged into a copy of the weights that it adapts: fewer, larger operations.

    W' = W + scale * B A, where the adapter adds scale * B (A x) to W x: results differ by the order of rounding only.
    The adapter's own weights are untouched, and W is put back as it was, bit for bit. Nothing is merged where that
    would lose the adapter (in half precision small changes of a weight are rounded away) or a compiled network would
    be compiled anew. No gradients reach the adapter inside the block.

    Args:
        network: the same again after the block; without an adapter nothing happens.
    """
    is_compiled = getattr(network, "_compiled_call_impl", None) is not None
    layers = [] if is_compiled or not lora_parameters(network) else list(_lora_layers(network))
    bases = [layer.get_base_layer() for layer in layers]
    if any(base.weight.dtype != torch.float32 for base in bases):
        layers, bases = [], []
    own = [(base, name, weight) for base in bases for name, weight in base.named_parameters(recurse=False)]
    for base, name, weight in own:
        setattr(base, name, nn.Parameter(weight.detach().clone(), requires_grad=False))
    for layer in layers:
        layer.merge()
        layer.merged_adapters.clear()  # nobody need take it out again: the own weights are kept
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for base, name, weight in own:
            setattr(base, name, weight)
        for layer in layers:
            layer.enable_adapters(True)


def save_lora(network: nn.Module, folder: Path, base_model: str) -> None:
    """Write the adapter as PEFT does (`PeftModel.from_pretrained(network, folder)` loads it).

    Args:
        network: has the adapter.
        folder: where to.
        base_model: the model that the adapter is for.
    """
    from peft import get_peft_model_state_dict
    from safetensors.torch import save

    folder.mkdir(parents=True, exist_ok=True)
    # Without being told that there are no embedding layers, PEFT asks the hub about the base model.
    state = get_peft_model_state_dict(network, save_embedding_layers=False)
    weights = {PEFT_PREFIX + name: weight.detach().cpu().contiguous() for name, weight in state.items()}
    (folder / WEIGHTS_FILE).write_bytes(save(weights, metadata={"format": "pt"}))
    config = cast(Any, network).peft_config["default"]
    if not isinstance(config.target_modules, str):  # PEFT makes it a set, whose order changes from run to run
        config.target_modules = sorted(config.target_modules)
    config.base_model_name_or_path = base_model
    config.inference_mode = True
    config.save_pretrained(str(folder))


def put_lora(network: nn.Module, config: Any, weights: dict[str, Tensor], path: Path, scale: float = 1.0) -> None:
    """Inject an adapter with given weights.

    Args:
        network: changed in place.
        config: PEFT's `LoraConfig`; see `full_lora_config`.
        weights: in PEFT's names, without its prefix.
        path: where they come from, for errors.
        scale: multiplies the adapter's effect.

    Raises:
        IvideoError: the weights do not fit the network.
    """
    misfit = f"adapter {path} was trained on another model: its weights do not fit this one"
    with explain_damage(misfit):
        _inject(network, config)
        _set_weights(network, weights)
    scale_lora(network, scale)


def scale_lora(network: nn.Module, scale: float) -> None:
    """Multiply the effect of a network's adapter, the difference of outputs that it makes; 0 is the base model."""
    for layer in _lora_layers(network):
        if scale != 1 and layer.lora_magnitude_vector:
            _scale_dora(layer, scale)
        else:
            layer.scale_layer(scale)


@torch.no_grad()
def _scale_dora(layer: Any, scale: float) -> None:
    """Scale the effect of a DoRA, whose weight m (W + V) / |W + V| with V = B A does not scale by V alone.

    Row by row, with c = m / |W + V|: W + scale * (c (W + V) - W) = a (W + V') with a = 1 - scale + scale * c and
    V' = scale * c / a * V, which is the DoRA of V' whose magnitude is a |W + V'|.
    """
    (name,) = layer.active_adapters
    dora, down, up = layer.lora_magnitude_vector[name], layer.lora_A[name], layer.lora_B[name]
    base = layer.get_base_layer().weight.float()

    def measure() -> Tensor:
        change = (up.weight.flatten(1) @ down.weight.flatten(1)).reshape(base.shape)
        norm: Tensor = dora.get_weight_norm(base, change, scaling=layer.scaling[name])
        return norm.reshape(dora.weight.shape)

    ratio = dora.weight / measure()
    rows = 1 - scale + scale * ratio
    rows = torch.where(rows.abs() < TINY, TINY, rows)
    up.weight *= (scale * ratio / rows).reshape(-1, *[1] * (up.weight.ndim - 1))
    dora.weight.copy_(rows * measure())


def check_lora(network: nn.Module, path: Path) -> None:
    """Refuse an adapter that makes no numbers.

    Args:
        network: has the adapter.
        path: where it comes from, for errors.

    Raises:
        IvideoError: a weight, or what an alpha says, is no finite number.
    """
    check_finite(named_lora_parameters(network), f"adapter {path} is damaged")
    if not all(math.isfinite(factor) for layer in _lora_layers(network) for factor in layer.scaling.values()):
        raise IvideoError(f"adapter {path} is damaged: its alpha is no finite number")


def full_lora_config(rank: int, alpha: float, targets: Sequence[str] | str = TARGET_MODULES, **options: Any) -> Any:
    """PEFT's configuration of an adapter.

    Args:
        rank: inner width of the adapter.
        alpha: the adapter is scaled by alpha / rank.
        targets: see `add_lora`.
        options: further ones of `LoraConfig`.
    """
    from peft import LoraConfig

    return LoraConfig(
        r=rank, lora_alpha=alpha, target_modules=targets if isinstance(targets, str) else list(targets), **options
    )


def restore_lora(network: nn.Module, folder: Path) -> None:
    """Give the network's adapter the weights that `save_lora` wrote, bit for bit.

    Raises:
        IvideoError: no adapter there, a damaged one, or one of another shape.
    """
    weights = read_lora(folder)[1]
    with explain_damage(f"adapter {folder} has other weights than the adapter of this run", tell_reason=False):
        _set_weights(network, weights)


def _set_weights(network: nn.Module, weights: dict[str, Tensor]) -> None:
    from peft import set_peft_model_state_dict

    unexpected = set_peft_model_state_dict(network, weights).unexpected_keys
    lacking = {name.replace(".default", "") for name in named_lora_parameters(network)} - {
        f"{name}.weight" if name.endswith("lora_magnitude_vector") else name for name in weights
    }
    if unexpected or lacking:
        raise ValueError(f"weights of other places: {show_names([*unexpected, *sorted(lacking)])}")


def merge_lora(network: nn.Module) -> None:
    """Add the adapter, at the scale that it was loaded with, to the weights that it adapts, and take it out.

    Do it in float32: half precision would round the adapter's effect away.
    """
    adapted = {id(layer) for layer in _lora_layers(network)}
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if id(child) in adapted:
                layer = cast(Any, child)
                layer.merge()
                setattr(parent, name, layer.get_base_layer())
    del cast(Any, network).peft_config


def read_lora(folder: Path) -> tuple[Any, dict[str, Tensor]]:
    """The configuration of PEFT's folder, and the weights in its names without its prefix.

    Raises:
        IvideoError: no adapter there, or a damaged one.
    """
    from peft import LoraConfig
    from safetensors.torch import load_file

    for name in (CONFIG_FILE, WEIGHTS_FILE):
        if not (folder / name).is_file():
            raise IvideoError(f"no adapter in {folder}: {name} is missing")
    with explain_damage(f"adapter {folder} is damaged"):
        weights = load_file(folder / WEIGHTS_FILE)
        fields = parse_json(read_text(folder / CONFIG_FILE), CONFIG_FILE)
        if not isinstance(fields, dict) or fields.get("peft_type") != "LORA":
            raise IvideoError(f"no LoRA adapter in {folder}: {CONFIG_FILE} does not describe one")
        check_lora_config(fields, weights, CONFIG_FILE)
        config = LoraConfig.from_pretrained(str(folder))
    config.inference_mode = False
    return config, {key.removeprefix(PEFT_PREFIX): value for key, value in weights.items()}
