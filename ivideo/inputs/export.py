"""Adapters taken out of `ivideo`: as PEFT folders, or merged into a diffusers folder that any program can load."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path

import torch
from safetensors.torch import save_file

from ivideo.config.presets import find_location
from ivideo.config.settings import GenerationSettings
from ivideo.errors import IvideoError
from ivideo.files.atomic import atomic_folder, check_folder
from ivideo.inputs.adapters import Adapter
from ivideo.models.families import find_family, read_index
from ivideo.models.loading import explain_damage
from ivideo.models.lora import merge_lora

NETWORK_FILES = ("config.json", "diffusion_pytorch_model.safetensors")


def save_adapter(adapter: Adapter, output: Path, settings: GenerationSettings) -> Path:
    """Write an adapter in PEFT's format; its weights stay in float32, its scale is not part of it.

    Args:
        adapter: from `find_adapter`.
        output: folder, new or empty.
        settings: name the model that it is for, and its foreign file of weights if there is one.

    Returns:
        The folder.

    Raises:
        IvideoError: the output is in use, or the adapter does not fit the model.
    """
    check_new_folder(output)
    location = find_location(settings.model)
    family = find_family(settings.model, location)
    network = family.load_network(settings.model, location, None)
    family.load_adapter(network.to_empty(device="cpu"), adapter.path)
    with atomic_folder(output) as folder:
        family.save_adapter(network, folder, settings.model, settings.weights_file)
    return output


def merge_adapter(adapter: Adapter, output: Path, settings: GenerationSettings, dtype: torch.dtype) -> Path:
    """Write the model with the adapter's effect in the network's own weights, as a plain diffusers folder.

    Args:
        adapter: from `find_adapter`; its scale counts, and 0 writes the base.
        output: folder, new or empty.
        settings: name the model, and its foreign file of weights if there is one.
        dtype: of the network's weights; they are merged in float32. The other parts are copied as they are.

    Returns:
        The folder.

    Raises:
        IvideoError: the output is in use, or the model or the adapter cannot be loaded.
    """
    check_new_folder(output)
    location = find_location(settings.model)
    family, index = find_family(settings.model, location), read_index(settings.model, location)
    network = family.load_network(settings.model, location, torch.float32, settings.weights_file)
    family.load_adapter(network, adapter.path, adapter.scale)
    merge_lora(network)
    network.to(dtype)
    own = family.NETWORK_PART
    parts = [name for name, value in index.items() if isinstance(value, (list, tuple)) and name != own]
    source = download_parts(settings.model, location, parts, own)
    with atomic_folder(output) as folder:
        shutil.copyfile(source / "model_index.json", folder / "model_index.json")
        for part in parts:
            if (source / part).is_dir():  # an optional part that the model does without has none
                shutil.copytree(source / part, folder / part)
        (folder / own).mkdir()
        config, weights = (folder / own / name for name in NETWORK_FILES)
        shutil.copyfile(source / own / config.name, config)
        tensors = {name: weight.contiguous() for name, weight in network.state_dict().items()}
        save_file(tensors, weights, metadata={"format": "pt"})
    return output


def download_parts(name: str, location: str, parts: Collection[str], configured: str) -> Path:
    """The local folder with whole parts of a model, downloaded first from a hub.

    Args:
        name: how the user called the model.
        location: a local folder, or a hub id.
        parts: whole folders in it.
        configured: the folder of which only the configuration is needed.

    Raises:
        IvideoError: the hub cannot be reached.
    """
    folder = Path(location)
    if folder.is_dir():
        return folder
    from huggingface_hub import snapshot_download

    wanted = ["model_index.json", f"{configured}/config.json", *(f"{part}/*" for part in parts)]
    with explain_damage(f"model {name!r}: its folder is damaged or incomplete"):
        return Path(snapshot_download(location, allow_patterns=wanted))


def check_new_folder(path: Path) -> None:
    """Refuse a folder that holds something before any work is done.

    Raises:
        IvideoError: it exists and is not empty, or cannot be written to.
    """
    check_folder(path)
    if path.is_dir() and any(path.iterdir()):
        raise IvideoError(f"{path} is not empty; name a new folder")
