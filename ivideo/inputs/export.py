"""Adapters taken out of `ivideo`: as PEFT folders, or merged into a diffusers folder that any program can load."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file

from ivideo.config.settings import GenerationSettings
from ivideo.errors import IvideoError
from ivideo.files.atomic import atomic_folder, check_folder
from ivideo.inputs.adapters import Adapter
from ivideo.models.families import find_location
from ivideo.models.lora import load_lora, merge_lora, save_lora
from ivideo.models.unet3d.load import build_empty_unet, download_parts, load_unet, read_index

UNET_FILES = ("config.json", "diffusion_pytorch_model.safetensors")


def save_adapter(adapter: Adapter, output: Path, settings: GenerationSettings) -> Path:
    """Write an adapter in PEFT's format; its weights stay in float32, its scale is not part of it.

    Args:
        adapter: from `find_adapter`.
        output: folder, new or empty.
        settings: name the model that it is for, and its U-Net file if there is one.

    Returns:
        The folder.

    Raises:
        IvideoError: the output is in use, or the adapter does not fit the model.
    """
    check_new_folder(output)
    location = find_location(settings.model)
    read_index(settings.model, location)
    unet = build_empty_unet(settings.model, location)
    load_lora(unet.to_empty(device="cpu"), adapter.path)
    with atomic_folder(output) as folder:
        save_lora(unet, folder, settings.model, settings.unet)
    return output


def merge_adapter(adapter: Adapter, output: Path, settings: GenerationSettings, dtype: torch.dtype) -> Path:
    """Write the model with the adapter's effect in the U-Net's own weights, as a plain diffusers folder.

    Args:
        adapter: from `find_adapter`; its scale counts, and 0 writes the base.
        output: folder, new or empty.
        settings: name the model, and its U-Net file if there is one.
        dtype: of the U-Net's weights; they are merged in float32. The other parts are copied as they are.

    Returns:
        The folder.

    Raises:
        IvideoError: the output is in use, or the model or the adapter cannot be loaded.
    """
    check_new_folder(output)
    location = find_location(settings.model)
    index = read_index(settings.model, location)
    unet = load_unet(settings.model, location, torch.float32, settings.unet)
    load_lora(unet, adapter.path, adapter.scale)
    merge_lora(unet)
    unet.to(dtype)
    parts = [name for name, value in index.items() if isinstance(value, (list, tuple)) and name != "unet"]
    source = download_parts(settings.model, location, parts)
    with atomic_folder(output) as folder:
        shutil.copyfile(source / "model_index.json", folder / "model_index.json")
        for part in parts:
            if (source / part).is_dir():  # an optional part that the model does without has none
                shutil.copytree(source / part, folder / part)
        (folder / "unet").mkdir()
        config, weights = (folder / "unet" / name for name in UNET_FILES)
        shutil.copyfile(source / "unet" / config.name, config)
        tensors = {name: weight.contiguous() for name, weight in unet.state_dict().items()}
        save_file(tensors, weights, metadata={"format": "pt"})
    return output


def check_new_folder(path: Path) -> None:
    """Refuse a folder that holds something before any work is done.

    Raises:
        IvideoError: it exists and is not empty, or cannot be written to.
    """
    check_folder(path)
    if path.is_dir() and any(path.iterdir()):
        raise IvideoError(f"{path} is not empty; name a new folder")
