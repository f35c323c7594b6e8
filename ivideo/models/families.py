"""Which family a diffusers folder belongs to, by the class that its model_index.json names; a new family is a row."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ivideo.config.presets import find_location
from ivideo.errors import IvideoError
from ivideo.models.contract import ClipMaker, Family
from ivideo.models.loading import import_quietly, read_index
from ivideo.models.pipelines.animatediff import AnimateDiffModel
from ivideo.models.pipelines.any_pipeline import AnyPipelineFamily
from ivideo.models.pipelines.cogvideox import CogVideoXModel
from ivideo.models.pipelines.hunyuan import HunyuanVideo15Model, HunyuanVideoModel
from ivideo.models.pipelines.load import PipelineFamily
from ivideo.models.pipelines.ltx import LTXModel
from ivideo.models.pipelines.mochi import MochiModel
from ivideo.models.pipelines.wan import WanModel
from ivideo.models.unet3d import load as unet3d

_PIPELINES = (
    *(WanModel, LTXModel, CogVideoXModel, MochiModel),
    *(HunyuanVideoModel, HunyuanVideo15Model, AnimateDiffModel),
)
FAMILIES: dict[str, Family] = {
    **{"TextToVideoSDPipeline": unet3d, "VideoToVideoSDPipeline": unet3d},
    **{kind.PIPELINE: PipelineFamily(kind) for kind in _PIPELINES},
    "StableDiffusionPipeline": PipelineFamily(AnimateDiffModel),
}


def load_model(
    name: str,
    device: torch.device,
    dtype: torch.dtype,
    *,
    texts: Sequence[str] = (),
    options: Mapping[str, Any] | None = None,
) -> ClipMaker:
    """Load a model by name, from a diffusers folder, or from the hub.

    Nothing but what its family needs is read or downloaded.

    Args:
        name: a short name, a local folder, or a hub id (`owner/name`).
        device: where to put it.
        dtype: of the network that adapters go into.
        texts: every prompt that will be needed, negative ones included.
        options: the settings of families (`FamilyPart`), by name.

    Raises:
        UsageError: nothing of that name, or an option that the model does not have.
        IvideoError: an unknown family, a part that is missing, damaged or not supported, or a file that does not fit.
    """
    location = find_location(name)
    family = find_family(name, location)
    return family.load_model(name, location, device, dtype, texts=texts, options=options or {})


def find_family(name: str, location: str) -> Family:
    """The family of a model, before any weights are touched.

    Args:
        name: how the user called it, for errors.
        location: a local folder, or a hub id.

    Raises:
        IvideoError: no index, or one of a class that is not known.
    """
    kind = read_index(name, location).get("_class_name")
    if kind in FAMILIES:
        return FAMILIES[kind]
    if not is_pipeline(kind):
        raise IvideoError(f"model {name!r} is a {kind}, which is not supported; known are {', '.join(FAMILIES)}")
    return AnyPipelineFamily(str(kind))


def is_pipeline(kind: object) -> bool:
    """Whether diffusers has a pipeline of that class, whose call takes a prompt."""
    diffusers = import_quietly("diffusers")
    found: Any = getattr(diffusers, kind, None) if isinstance(kind, str) else None
    is_one = isinstance(found, type) and issubclass(found, diffusers.DiffusionPipeline)
    return is_one and "prompt" in inspect.signature(found.__call__).parameters


def check_trainable(name: str) -> None:
    """Refuse a pipeline that can be called, but that no family knows, before any weights are touched.

    Raises:
        IvideoError: it is one, or of an unknown class.
    """
    family = find_family(name, find_location(name))
    if isinstance(family, AnyPipelineFamily):
        known = ", ".join(FAMILIES)
        raise IvideoError(
            f"model {name!r} is a {family.kind}, which can be generated with, not trained; known are {known}"
        )


def find_preset(name: str) -> str | Mapping[str, Any]:
    """The model whose settings one without a preset takes, or its own: as its family says.

    Raises:
        UsageError: nothing of that name.
        IvideoError: an unknown family.
    """
    location = find_location(name)
    return find_family(name, location).choose_preset(name, location)


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
