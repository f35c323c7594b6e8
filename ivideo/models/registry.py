"""Which text-to-video model a name means, and how it is loaded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from ivideo.errors import IvideoError, UsageError
from ivideo.models.text_to_video import TextToVideoModel

PACKAGE_DATA = Path(__file__).parent / "emoji_world"
MODEL_SOURCES: dict[str, str] = {
    "emoji-world": str(PACKAGE_DATA / "text_to_video"),
    "modelscope": "damo-vilab/text-to-video-ms-1.7b",
}
PARTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")


def choose_model(name: str) -> str:
    """The model that `auto` means on this machine: ModelScope where CUDA is there, else the bundled emoji world."""
    if name != "auto":
        return name
    return "modelscope" if torch.cuda.is_available() else "emoji-world"


def choose_device(name: str) -> torch.device:
    """The device that a name (`auto`, `cpu`, `cuda`, `cuda:1`, `mps`) means.

    Raises:
        UsageError: no such device here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        raise UsageError(f"--device {name}: not available on this machine; try cpu") from None
    return device


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """The U-Net's type: as named, or for `auto` float32 on CPU and bfloat16 (older cards: float16) on CUDA."""
    if name != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[name]
    if device.type != "cuda":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16


def heldout_prompts_path(name: str) -> Path | None:
    """The prompts that a bundled model brings for evaluation; None for every other model."""
    return PACKAGE_DATA / "prompts" / "heldout.txt" if name == "emoji-world" else None


def load_text_to_video(name: str, device: torch.device, dtype: torch.dtype) -> TextToVideoModel:
    """Load a model by name, from a diffusers folder, or from the hub.

    Nothing but the five parts is read or downloaded. On CPU the autoencoder runs in float32 whatever the dtype.

    Args:
        name: a key of MODEL_SOURCES, a local folder, or a hub id (`owner/name`).
        device: where to put it.
        dtype: the U-Net's type.

    Raises:
        UsageError: nothing of that name.
        IvideoError: a part is missing or is of a class that is not supported.
    """
    source = MODEL_SOURCES.get(name, name)
    folder = Path(source).expanduser()
    if not folder.is_dir() and (folder.exists() or source.count("/") != 1 or source.startswith((".", "~", "/"))):
        known = ", ".join(MODEL_SOURCES)
        raise UsageError(f"unknown model {name!r}: not one of {known}, not a folder, not a hub id like owner/name")
    location = str(folder) if folder.is_dir() else source
    try:
        check_parts(location, name)
        return TextToVideoModel(name=name, device=device, **_load_parts(location, device, dtype))
    except (OSError, json.JSONDecodeError, UnicodeDecodeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise IvideoError(f"model {name!r} cannot be loaded: {reason}") from error


def check_parts(location: str, name: str) -> None:
    """Hold a pipeline's index against what is supported, before any weights are touched.

    Raises:
        IvideoError: no index, a missing part, or another family of model.
    """
    from diffusers import DiffusionPipeline

    folder = Path(location)
    if folder.is_dir() and not (folder / "model_index.json").is_file():
        raise IvideoError(f"model {name!r} is no diffusers folder: {folder / 'model_index.json'} is missing")
    index: dict[str, Any] = DiffusionPipeline.load_config(location)
    missing = [part for part in PARTS if not isinstance(index.get(part), (list, tuple))]
    if missing:
        raise IvideoError(f"model {name!r} has no {', '.join(missing)}; it is a {index.get('_class_name')}")
    found = index["unet"][1]
    if found != "UNet3DConditionModel":
        raise IvideoError(f"model {name!r} has a {found}; supported: UNet3DConditionModel")


def _load_parts(location: str, device: torch.device, dtype: torch.dtype) -> dict[str, Any]:
    import diffusers
    from diffusers import AutoencoderKL, DDIMScheduler, UNet3DConditionModel
    from transformers import CLIPTextModel, CLIPTokenizer
    from transformers.utils import logging as transformers_logging

    diffusers.logging.set_verbosity_error()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    vae_dtype = torch.float32 if device.type == "cpu" else dtype
    return {
        "unet": UNet3DConditionModel.from_pretrained(location, subfolder="unet", torch_dtype=dtype).to(device),
        "vae": AutoencoderKL.from_pretrained(location, subfolder="vae", torch_dtype=vae_dtype).to(device),
        "text_encoder": CLIPTextModel.from_pretrained(
            location, subfolder="text_encoder", dtype=torch.float32 if device.type == "cpu" else dtype
        ).to(device),
        "tokenizer": CLIPTokenizer.from_pretrained(location, subfolder="tokenizer"),
        "scheduler": DDIMScheduler.from_pretrained(location, subfolder="scheduler"),
    }
