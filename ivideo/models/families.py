"""Which family a diffusers folder belongs to, by the class that its model_index.json names; a new family is a row."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from ivideo.config.presets import find_location
from ivideo.errors import IvideoError
from ivideo.models.contract import Family, TextToVideoModel
from ivideo.models.loading import explain_damage
from ivideo.models.unet3d import load as unet3d

FAMILIES: dict[str, Family] = {"TextToVideoSDPipeline": unet3d, "VideoToVideoSDPipeline": unet3d}


def load_model(
    name: str, device: torch.device, dtype: torch.dtype, weights_file: str | None = None
) -> TextToVideoModel:
    """Load a model by name, from a diffusers folder, or from the hub.

    Nothing but what its family needs is read or downloaded.

    Args:
        name: a short name, a local folder, or a hub id (`owner/name`).
        device: where to put it.
        dtype: of the network that adapters go into.
        weights_file: foreign file with that network's weights; those of the model are not read then.

    Raises:
        UsageError: nothing of that name.
        IvideoError: an unknown family, a part that is missing, damaged or not supported, or a file that does not fit.
    """
    location = find_location(name)
    return find_family(name, location).load_model(name, location, device, dtype, weights_file)


def find_family(name: str, location: str) -> Family:
    """The family of a model, before any weights are touched.

    Args:
        name: how the user called it, for errors.
        location: a local folder, or a hub id.

    Raises:
        IvideoError: no index, or one of a class that is not known.
    """
    kind = read_index(name, location).get("_class_name")
    family = FAMILIES.get(kind) if isinstance(kind, str) else None
    if family is None:
        raise IvideoError(f"model {name!r} is a {kind}, which is not supported; known are {', '.join(FAMILIES)}")
    return family


def read_index(name: str, location: str) -> dict[str, Any]:
    """What a pipeline's model_index.json says: its class as `_class_name`, and (library, class) by part.

    Args:
        name: how the user called the model, for errors.
        location: a local folder, or a hub id.

    Raises:
        IvideoError: there is none, or it is damaged.
    """
    from diffusers import ConfigMixin

    class PipelineIndex(ConfigMixin):  # type: ignore[misc]
        config_name = "model_index.json"

    folder = Path(location)
    if folder.is_dir() and not (folder / "model_index.json").is_file():
        raise IvideoError(f"model {name!r} is no diffusers folder: {folder / 'model_index.json'} is missing")
    cure = "" if folder.is_dir() else " (is this machine online? a local folder can be named instead)"
    with explain_damage(f"model {name!r} cannot be loaded", cure):
        index: Any = PipelineIndex.load_config(location)
        if not isinstance(index, dict):
            raise ValueError("its model_index.json is no table of parts")
    return index


def is_weights_file(path: Path) -> bool:
    """Whether a path names a foreign file with weights that some family knows."""
    return any(family.is_weights_file(path) for family in _families())


def find_lora_rank(path: Path) -> int | None:
    """The rank of the LoRA in a foreign file of weights; None if it brings none.

    Raises:
        UsageError: no such file.
        IvideoError: a file that no family knows.
    """
    known = [family for family in _families() if family.is_weights_file(path)] or _families()
    return known[0].find_lora_rank(path)


def read_adapter_notes(path: Path) -> dict[str, str]:
    """Settings that an adapter brings beside what PEFT writes, by name.

    Args:
        path: a folder in PEFT's format, or a foreign file with weights.

    Raises:
        IvideoError: they are damaged, or the file brings no adapter.
    """
    asked = [family for family in _families() if path.is_dir() or family.is_weights_file(path)]
    return {name: value for family in asked for name, value in family.read_adapter_notes(path).items()}


def _families() -> list[Family]:
    return list({id(family): family for family in FAMILIES.values()}.values())
