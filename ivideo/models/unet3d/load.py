"""The family itself: pipelines of UNet3DConditionModel from a diffusers folder or the hub, part by part.

The module is a `Family` of `ivideo.models.contract`, which says what arguments mean and what is raised.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch

from ivideo.errors import IvideoError
from ivideo.models.loading import explain_damage, import_quietly, load_tokenizer
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
from ivideo.models.unet3d.schedule import build_scheduler, to_ddim

__all__ = [
    "NETWORK_PART",
    "find_lora_rank",
    "is_weights_file",
    "load_adapter",
    "load_model",
    "load_network",
    "read_adapter_notes",
    "save_adapter",
]
NETWORK_PART = "unet"
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
    name: str, location: str, device: torch.device, dtype: torch.dtype, weights_file: str | None = None
) -> UNet3DModel:
    """Load a model; nothing but its five parts is read or downloaded.

    On CPU the autoencoder and the text encoder run in float32 whatever the dtype. Foreign files are the authors'.
    """
    diffusers, transformers = import_quietly("diffusers"), import_quietly("transformers")
    classes = check_parts(name, location)
    other_dtype = torch.float32 if device.type == "cpu" else dtype
    unet = load_network(name, location, dtype, weights_file)
    vae = _load_part(diffusers.AutoencoderKL, name, location, "vae", torch_dtype=other_dtype)
    text_encoder = _load_part(transformers.CLIPTextModel, name, location, "text_encoder", dtype=other_dtype)
    with _explain_part(name, "tokenizer"):
        tokenizer = load_tokenizer(transformers.CLIPTokenizer, location, "tokenizer")
    with _explain_part(name, "scheduler"):
        kind = getattr(diffusers, classes["scheduler"])
        scheduler = to_ddim(build_scheduler(kind, kind.load_config(location, subfolder="scheduler")))
    return UNet3DModel(
        name=name,
        unet=arrange_for_cpu(unet) if device.type == "cpu" else unet.to(device),
        vae=vae.to(device),
        text_encoder=text_encoder.to(device),
        tokenizer=tokenizer,
        scheduler=scheduler,
        device=device,
        unet_file=weights_file,
    )


def load_network(name: str, location: str, dtype: torch.dtype | None, weights_file: str | None = None) -> Any:
    """The U-Net of a model on the CPU, with its own weights or those of a file of the authors."""
    kind = import_quietly("diffusers").UNet3DConditionModel
    if dtype is not None and weights_file is None:
        return _load_part(kind, name, location, NETWORK_PART, torch_dtype=dtype)
    with _explain_part(name, NETWORK_PART), torch.device("meta"):
        unet = kind.from_config(kind.load_config(location, subfolder=NETWORK_PART))
    if dtype is None or weights_file is None:
        return unet
    return load_authors_unet(unet, Path(weights_file), dtype)


def check_parts(name: str, location: str) -> dict[str, str]:
    """The class of each part that a pipeline's index names, held against what is supported before weights are touched.

    Args:
        name: how the user called the model, for errors.
        location: a local folder, or a hub id.

    Raises:
        IvideoError: a part is missing, or of another class.
    """
    index = import_quietly("diffusers").DiffusionPipeline.load_config(location)
    found = {part: names[1] for part, names in index.items() if isinstance(names, (list, tuple)) and len(names) == 2}
    if missing := [part for part in PARTS if not found.get(part)]:
        raise IvideoError(f"model {name!r} has no {', '.join(missing)}; supported: {SUPPORTED}")
    for part, supported in CLASSES.items():
        if found[part] != supported:
            raise IvideoError(f"model {name!r} has the {part} {found[part]}; supported: {SUPPORTED}")
    return found


def _load_part(kind: Any, name: str, location: str, part: str, **dtype: torch.dtype) -> Any:
    with _explain_part(name, part):
        network, report = kind.from_pretrained(location, subfolder=part, output_loading_info=True, **dtype)
    if lacking := sorted(report["missing_keys"]):
        raise IvideoError(
            f"model {name!r}: its {part} is incomplete: {lacking[0]} is one of {len(lacking)} missing weights"
        )
    return network


def _explain_part(name: str, part: str) -> AbstractContextManager[None]:
    return explain_damage(f"model {name!r}: its {part} is damaged or incomplete")
