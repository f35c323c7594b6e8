"""A pipeline of this family from a diffusers folder or the hub, part by part."""

from __future__ import annotations

from collections.abc import Collection
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch

from ivideo.errors import IvideoError
from ivideo.models.families import find_location
from ivideo.models.lean_imports import import_diffusers
from ivideo.models.loading import explain_damage
from ivideo.models.unet3d.authors_weights import load_authors_unet
from ivideo.models.unet3d.blocks import arrange_for_cpu
from ivideo.models.unet3d.clip_text import load_text_encoder, load_tokenizer
from ivideo.models.unet3d.model import TextToVideoModel
from ivideo.models.unet3d.schedule import build_scheduler, to_ddim

PARTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")


SUPPORTED_CLASSES = {"unet": "UNet3DConditionModel", "vae": "AutoencoderKL", "text_encoder": "CLIPTextModel"}


SUPPORTED = f"models of {', '.join(SUPPORTED_CLASSES.values())}, a CLIP tokenizer and a DDIM-like scheduler"


NUM_BYTE_TOKENS = 512  # every vocabulary of CLIP starts with the bytes, inside and at the end of a word


def load_text_to_video(
    name: str, device: torch.device, dtype: torch.dtype, unet_file: str | None = None
) -> TextToVideoModel:
    """Load a model by name, from a diffusers folder, or from the hub.

    Nothing but the five parts is read or downloaded. On CPU the autoencoder and the text encoder run in float32
    whatever the dtype.

    Args:
        name: a key of MODEL_SOURCES, a local folder, or a hub id (`owner/name`).
        device: where to put it.
        dtype: the U-Net's type.
        unet_file: file of the authors with the U-Net's weights; those of the model are not read then.

    Raises:
        UsageError: nothing of that name.
        IvideoError: a part is missing, damaged, or of a class that is not supported, or the file does not fit.
    """
    diffusers = import_diffusers()
    diffusers.logging.set_verbosity_error()
    location = find_location(name)
    index = read_index(name, location)
    other_dtype = torch.float32 if device.type == "cpu" else dtype
    unet = load_unet(name, location, dtype, unet_file)
    vae = _load_network(diffusers.AutoencoderKL, name, location, "vae", other_dtype)
    with _explain_part(name, "text_encoder"):
        text_encoder, missing = load_text_encoder(location, "text_encoder")
    _check_complete(name, "text_encoder", missing)
    with _explain_part(name, "tokenizer"):
        tokenizer = load_tokenizer(location, "tokenizer", text_encoder.context_length)
    if len(tokenizer) < NUM_BYTE_TOKENS:  # transformers makes an empty one where there are no files
        raise IvideoError(f"model {name!r}: its tokenizer is incomplete: it has no vocabulary")
    with _explain_part(name, "scheduler"):
        kind = getattr(diffusers, index["scheduler"][1])
        scheduler = to_ddim(build_scheduler(kind, kind.load_config(location, subfolder="scheduler")))
    return TextToVideoModel(
        name=name,
        unet=arrange_for_cpu(unet) if device.type == "cpu" else unet.to(device),
        vae=vae.to(device),
        text_encoder=text_encoder.to(device, other_dtype),
        tokenizer=tokenizer,
        scheduler=scheduler,
        device=device,
    )


def load_unet(name: str, location: str, dtype: torch.dtype, unet_file: str | None = None) -> Any:
    """The U-Net of a model on the CPU, with its own weights or those of a file of the authors.

    Raises:
        UsageError: no such file.
        IvideoError: it is damaged, or the file does not fit.
    """
    kind = import_diffusers().UNet3DConditionModel
    if unet_file is None:
        return _load_network(kind, name, location, "unet", dtype)
    return load_authors_unet(build_empty_unet(name, location), Path(unet_file), dtype)


def build_empty_unet(name: str, location: str) -> Any:
    """The U-Net of a model without its weights, on the meta device.

    Raises:
        IvideoError: its configuration is damaged.
    """
    kind = import_diffusers().UNet3DConditionModel
    with _explain_part(name, "unet"), torch.device("meta"):
        return kind.from_config(kind.load_config(location, subfolder="unet"))


def download_parts(name: str, location: str, parts: Collection[str]) -> Path:
    """The local folder with whole parts of a model and its U-Net's configuration, downloaded first from a hub.

    Raises:
        IvideoError: the hub cannot be reached.
    """
    folder = Path(location)
    if folder.is_dir():
        return folder
    from huggingface_hub import snapshot_download

    wanted = ["model_index.json", "unet/config.json", *(f"{part}/*" for part in parts)]
    with _explain_part(name, "folder"):
        return Path(snapshot_download(location, allow_patterns=wanted))


def read_index(name: str, location: str) -> dict[str, Any]:
    """A pipeline's index, held against what is supported before any weights are touched.

    Returns:
        (library, class) by part.

    Raises:
        IvideoError: no index, a missing part, or another family of model.
    """

    class PipelineIndex(import_diffusers().ConfigMixin):  # type: ignore[misc]
        config_name = "model_index.json"

    folder = Path(location)
    if folder.is_dir() and not (folder / "model_index.json").is_file():
        raise IvideoError(f"model {name!r} is no diffusers folder: {folder / 'model_index.json'} is missing")
    cure = "" if folder.is_dir() else " (is this machine online? a local folder can be named instead)"
    with explain_damage(f"model {name!r} cannot be loaded", cure):
        index: Any = PipelineIndex.load_config(location)
        if not isinstance(index, dict):
            raise ValueError("its model_index.json is no table of parts")
    family = f"it is a {index.get('_class_name')}"
    found = {part: names[1] for part, names in index.items() if isinstance(names, (list, tuple)) and len(names) == 2}
    missing = [part for part in PARTS if not found.get(part)]
    if missing:
        others = ", ".join(f"{part} {kind}" for part, kind in found.items() if kind and part not in PARTS)
        has = f" with {others}" if others else ""
        raise IvideoError(f"model {name!r} has no {', '.join(missing)}; {family}{has}; supported: {SUPPORTED}")
    for part, supported in SUPPORTED_CLASSES.items():
        if found[part] != supported:
            raise IvideoError(f"model {name!r} has the {part} {found[part]} ({family}); supported: {SUPPORTED}")
    return index


def _load_network(kind: Any, name: str, location: str, part: str, dtype: torch.dtype) -> Any:
    with _explain_part(name, part):
        network, report = kind.from_pretrained(location, subfolder=part, output_loading_info=True, torch_dtype=dtype)
    _check_complete(name, part, report["missing_keys"])
    return network


def _check_complete(name: str, part: str, missing: Collection[str]) -> None:
    if missing:
        lacking = sorted(missing)
        raise IvideoError(
            f"model {name!r}: its {part} is incomplete: {lacking[0]} is one of {len(lacking)} missing weights"
        )


def _explain_part(name: str, part: str) -> AbstractContextManager[None]:
    return explain_damage(f"model {name!r}: its {part} is damaged or incomplete")
