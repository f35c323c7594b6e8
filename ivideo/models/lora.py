"""Low-rank adapters in every attention of the U-Net, in PEFT's own format."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from ivideo.errors import IvideoError
from ivideo.models.loading import explain_damage
from ivideo.models.unet3d.authors_weights import read_authors_lora

TARGET_MODULES = ["to_q", "to_k", "to_v", "to_out.0"]


PEFT_PREFIX = "base_model.model."  # where PeftModel keeps the network that it wraps


CONFIG_FILE, WEIGHTS_FILE = "adapter_config.json", "adapter_model.safetensors"


BASE_FILE = "base_unet.json"  # not PEFT's: names the file of the base's U-Net, if that is not in the base's folder


def add_lora(unet: nn.Module, rank: int, alpha: float, seed: int) -> None:
    """Inject a fresh adapter: down normal with deviation 1 / rank, up zero, both float32; the rest stays frozen.

    Args:
        unet: changed in place.
        rank: inner width of the adapter (paper: 4).
        alpha: the adapter is scaled by alpha / rank (paper: 1).
        seed: fixes the initial weights.

    Source: InstructVideo, section 4.1; the authors adapt the projections of spatial and temporal attention alike.
    """
    from peft import LoraConfig

    config = LoraConfig(r=rank, lora_alpha=alpha, target_modules=TARGET_MODULES, init_lora_weights="gaussian")
    _inject(unet, config)
    generator = torch.Generator().manual_seed(seed)
    for layer in _lora_layers(unet):
        for down in layer.lora_A.values():
            weight = torch.randn(down.weight.shape, generator=generator, device=generator.device) / rank
            down.weight.data.copy_(weight)


def _inject(unet: nn.Module, config: Any) -> None:
    from peft import inject_adapter_in_model

    inject_adapter_in_model(config, unet)
    for parameter in lora_parameters(unet):
        parameter.data = parameter.data.float()


def _lora_layers(unet: nn.Module) -> Iterator[Any]:
    from peft.tuners.lora import LoraLayer

    return (module for module in unet.modules() if isinstance(module, LoraLayer))


def named_lora_parameters(unet: nn.Module) -> dict[str, nn.Parameter]:
    """The adapter's weights by name, in a fixed order; empty without an adapter."""
    return {name: parameter for name, parameter in unet.named_parameters() if ".lora_" in name}


def lora_parameters(unet: nn.Module) -> list[nn.Parameter]:
    """The adapter's weights, in a fixed order; empty without an adapter."""
    return list(named_lora_parameters(unet).values())


@contextmanager
def adapter_off(unet: nn.Module) -> Iterator[None]:
    """Show the base: inside the block the U-Net computes exactly what it does without an adapter (no gradients)."""
    layers = list(_lora_layers(unet)) if lora_parameters(unet) else []
    for layer in layers:
        layer.enable_adapters(False)
    try:
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)


def save_lora(unet: nn.Module, folder: Path, base_model: str, unet_file: str | None = None) -> None:
    """Write the adapter as PEFT does (`PeftModel.from_pretrained(unet, folder)` loads it).

    Args:
        unet: has the adapter.
        folder: where to.
        base_model: the model that the adapter is for.
        unet_file: the file that the model's U-Net came from, if not from its own folder; see `read_unet_file`.
    """
    from peft import get_peft_model_state_dict
    from safetensors.torch import save

    folder.mkdir(parents=True, exist_ok=True)
    # Without being told that there are no embedding layers, PEFT asks the hub about the base model.
    state = get_peft_model_state_dict(unet, save_embedding_layers=False)
    weights = {PEFT_PREFIX + name: weight.detach().cpu().contiguous() for name, weight in state.items()}
    (folder / WEIGHTS_FILE).write_bytes(save(weights, metadata={"format": "pt"}))
    if unet_file:
        (folder / BASE_FILE).write_text(json.dumps({"unet": unet_file}) + "\n", encoding="utf-8")
    config = cast(Any, unet).peft_config["default"]
    config.target_modules = sorted(config.target_modules)  # PEFT makes it a set, whose order changes from run to run
    config.base_model_name_or_path = base_model
    config.inference_mode = True
    config.save_pretrained(str(folder))


def read_unet_file(folder: Path) -> str | None:
    """The U-Net file that `save_lora` noted; None if there is none.

    Raises:
        IvideoError: the note is damaged.
    """
    if not (folder / BASE_FILE).is_file():
        return None
    with explain_damage(f"adapter {folder} is damaged: {BASE_FILE} names no U-Net", tell_reason=False):
        return str(json.loads((folder / BASE_FILE).read_text(encoding="utf-8"))["unet"])


def load_lora(unet: nn.Module, path: Path, scale: float = 1.0) -> None:
    """Load an adapter that `save_lora` (or PEFT) wrote, or that a file of the authors brings, into the U-Net.

    Args:
        unet: changed in place.
        path: holds adapter_config.json and adapter_model.safetensors; or the authors' file.
        scale: multiplies the adapter's effect; 0 is the base model.

    Raises:
        IvideoError: no adapter there, a damaged one, or one whose weights do not fit this model (then parts of it may
            be left in the U-Net).
    """
    from peft import LoraConfig

    if path.is_file():
        rank, weights = read_authors_lora(unet, path)
        config = LoraConfig(r=rank, lora_alpha=rank, target_modules=TARGET_MODULES)
    else:
        config, weights = _read_lora(path)
    misfit = f"adapter {path} was trained on another model: its weights do not fit this one"
    with explain_damage(misfit, tell_reason=False):
        _inject(unet, config)
        _set_weights(unet, weights)
    for layer in _lora_layers(unet):
        layer.scale_layer(scale)


def restore_lora(unet: nn.Module, folder: Path) -> None:
    """Give the adapter that the U-Net has the weights that `save_lora` wrote, bit for bit.

    Raises:
        IvideoError: no adapter there, a damaged one, or one of another shape.
    """
    weights = _read_lora(folder)[1]
    with explain_damage(f"adapter {folder} has other weights than the adapter of this run", tell_reason=False):
        _set_weights(unet, weights)


def _set_weights(unet: nn.Module, weights: dict[str, Tensor]) -> None:
    from peft import set_peft_model_state_dict

    unexpected = set_peft_model_state_dict(unet, weights).unexpected_keys
    if unexpected or len(weights) != len(lora_parameters(unet)):
        raise ValueError("weights of other places")


def merge_lora(unet: nn.Module) -> None:
    """Add the adapter, at the scale that it was loaded with, to the weights that it adapts, and take it out.

    Do it in float32: half precision would round the adapter's effect away.
    """
    adapted = {id(layer) for layer in _lora_layers(unet)}
    for parent in list(unet.modules()):
        for name, child in list(parent.named_children()):
            if id(child) in adapted:
                layer = cast(Any, child)
                layer.merge()
                setattr(parent, name, layer.get_base_layer())
    del cast(Any, unet).peft_config


def _read_lora(folder: Path) -> tuple[Any, dict[str, Tensor]]:
    from peft import LoraConfig
    from safetensors.torch import load_file

    for name in (CONFIG_FILE, WEIGHTS_FILE):
        if not (folder / name).is_file():
            raise IvideoError(f"no adapter in {folder}: {name} is missing")
    with explain_damage(f"adapter {folder} is damaged"):
        fields = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        if not isinstance(fields, dict) or fields.get("peft_type") != "LORA":
            raise IvideoError(f"no LoRA adapter in {folder}: {CONFIG_FILE} does not describe one")
        config = LoraConfig.from_pretrained(str(folder))
        weights = load_file(folder / WEIGHTS_FILE)
    config.inference_mode = False
    return config, {key.removeprefix(PEFT_PREFIX): value for key, value in weights.items()}
