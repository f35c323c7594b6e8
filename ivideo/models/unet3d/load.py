"""The family itself: pipelines of UNet3DConditionModel from a diffusers folder or the hub, part by part.

The module is a `Family` of `ivideo.models.contract`, which says what arguments mean and what is raised.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from ivideo.errors import IvideoError, UsageError
from ivideo.models.loading import (
    check_finite,
    check_schedule,
    explain_part,
    import_quietly,
    load_part,
    load_tokenizer,
    read_index,
)
from ivideo.models.unet3d.authors_weights import (
    find_lora_rank,
    is_checkpoint,
    load_adapter,
    load_authors_unet,
    read_unet_file,
    save_adapter,
)
from ivideo.models.unet3d.blocks import arrange_for_cpu
from ivideo.models.unet3d.model import UNet3DModel
from ivideo.models.unet3d.schedule import DDIMStepper, build_scheduler, to_ddim
from ivideo.models.variants import choose_variants

__all__ = [
    "choose_preset",
    "find_lora_rank",
    "is_weights_file",
    "load_adapter",
    "load_model",
    "load_network",
    "network_folder",
    "read_adapter_notes",
    "save_adapter",
    "write_formats",
]
NETWORK_PART = "unet"
NO_OPTIONS: Mapping[str, Any] = MappingProxyType({})
CLASSES = {NETWORK_PART: "UNet3DConditionModel", "vae": "AutoencoderKL", "text_encoder": "CLIPTextModel"}
PARTS = (*CLASSES, "tokenizer", "scheduler")
SUPPORTED = f"models of {', '.join(CLASSES.values())}, a CLIP tokenizer and a DDIM-like scheduler"
is_weights_file = is_checkpoint


def read_adapter_notes(path: Path) -> dict[str, str]:
    """The U-Net file that an adapter's folder names, or a file of the authors that brings one, as the setting `unet`.

    Raises:
        IvideoError: the note is damaged, or the file brings no LoRA.
    """
    if path.is_file() and find_lora_rank(path) is None:
        raise IvideoError(f"{path} brings no LoRA, only a U-Net: name it by `unet`")
    file = str(path) if path.is_file() else read_unet_file(path)
    return {} if file is None else {"unet": file}


def load_model(
    name: str,
    location: str,
    device: torch.device,
    dtype: torch.dtype,
    *,
    texts: Sequence[str] = (),
    options: Mapping[str, Any] = NO_OPTIONS,
) -> UNet3DModel:
    """Load a model; nothing but its five parts is read or downloaded.

    On CPU the autoencoder and the text encoder run in float32 whatever the dtype. `options` may name a file of the
    authors as `unet`; the text encoder stays until `UNet3DModel.encode_once`, so that `texts` are not needed.
    """
    check_options(name, options)
    diffusers, transformers = import_quietly("diffusers"), import_quietly("transformers")
    classes = check_parts(name, location)
    other_dtype = torch.float32 if device.type == "cpu" else dtype
    own = [part for part in CLASSES if part != NETWORK_PART or options.get("unet") is None]
    variants, remarks = choose_variants(name, location, own, options.get("variant"))
    unet = load_network(name, location, dtype, options)
    vae = load_part(
        diffusers.AutoencoderKL, name, location, "vae", variant=variants.get("vae"), torch_dtype=other_dtype
    )
    text_encoder = load_part(
        *(transformers.CLIPTextModel, name, location, "text_encoder"),
        variant=variants.get("text_encoder"),
        dtype=other_dtype,
    )
    with explain_part(name, "tokenizer"):
        tokenizer = load_tokenizer(transformers.CLIPTokenizer, location, "tokenizer")
    with explain_part(name, "scheduler"):
        kind = getattr(diffusers, classes["scheduler"])
        scheduler = to_ddim(build_scheduler(kind, kind.load_config(location, subfolder="scheduler")))
        DDIMStepper(check_schedule(name, scheduler), 1)
    model = UNet3DModel(
        name=name,
        unet=arrange_for_cpu(unet) if device.type == "cpu" else unet.to(device),
        vae=vae.to(device),
        text_encoder=text_encoder.to(device),
        tokenizer=tokenizer,
        scheduler=scheduler,
        device=device,
        unet_file=options.get("unet"),
    )
    model.remarks = remarks
    return model


def choose_preset(name: str, location: str) -> str:
    """ModelScope's settings, whatever the model."""
    return "modelscope"


def write_formats(folder: Path, options: Mapping[str, Any] = NO_OPTIONS) -> list[Path]:
    """None: other programs read adapters of this family by PEFT."""
    return []


def check_options(name: str, options: Mapping[str, Any]) -> None:
    """Refuse the settings of other families.

    Raises:
        UsageError: one is given.
    """
    if options.get("expert") is not None:
        raise UsageError(f"`expert` {options['expert']}: {name} has one network, not two experts")
    if options.get("vae_tiling"):
        raise UsageError(f"`vae_tiling`: {name} decodes a frame at a time, which needs no tiles")


def network_folder(name: str, location: str, options: Mapping[str, Any] = NO_OPTIONS) -> str:
    """The folder of the U-Net."""
    return NETWORK_PART


def load_network(name: str, location: str, dtype: torch.dtype | None, options: Mapping[str, Any] = NO_OPTIONS) -> Any:
    """The U-Net of a model on the CPU, with its own weights or those of a file of the authors."""
    kind = import_quietly("diffusers").UNet3DConditionModel
    weights_file = options.get("unet")
    if dtype is not None and weights_file is None:
        variant = choose_variants(name, location, CLASSES, options.get("variant"))[0].get(NETWORK_PART)
        return load_part(kind, name, location, NETWORK_PART, variant=variant, torch_dtype=dtype)
    with explain_part(name, NETWORK_PART), torch.device("meta"):
        unet = kind.from_config(kind.load_config(location, subfolder=NETWORK_PART))
    if dtype is None or weights_file is None:
        return unet
    unet = load_authors_unet(unet, Path(weights_file), dtype)
    check_finite(unet.state_dict(), f"{weights_file} is damaged")
    return unet


def check_parts(name: str, location: str) -> dict[str, str]:
    """The class of each part that a pipeline's index names, held against what is supported before weights are touched.

    Args:
        name: how the user called the model, for errors.
        location: a local folder, or a hub id.

    Raises:
        IvideoError: a part is missing, or of another class.
    """
    index = read_index(name, location)
    found = {part: names[1] for part, names in index.items() if isinstance(names, (list, tuple)) and len(names) == 2}
    if missing := [part for part in PARTS if not found.get(part)]:
        raise IvideoError(f"model {name!r} has no {', '.join(missing)}; supported: {SUPPORTED}")
    for part, supported in CLASSES.items():
        if found[part] != supported:
            raise IvideoError(f"model {name!r} has the {part} {found[part]}; supported: {SUPPORTED}")
    return found
