"""Plain CLIP by open_clip: how well a frame fits its prompt, by a network that no preference was trained into."""

from __future__ import annotations

import difflib
from pathlib import Path
from typing import Any

import torch

from ivideo.errors import IvideoError, UsageError
from ivideo.models.loading import WEIGHT_SUFFIXES, explain_damage
from ivideo.rewards.cosine import CosineReward, Preprocessing, find_given_file

DEFAULT_SOURCE = "ViT-B-32/laion2b_s34b_b79k"
CONFIG_FILE = "open_clip_config.json"
HUB_PREFIX = "hf-hub:"
SPELLINGS = "clip:ARCH/TAG, clip:ARCH:FILE, clip:FOLDER or clip:hf-hub:OWNER/NAME"


def load_clip(name: str, source: str, device: torch.device) -> CosineReward:
    """A network of open_clip with its own preprocessing and tokenizer; nothing is trained on preferences.

    Args:
        name: as it was asked for.
        source: `ARCH/TAG` of open_clip's lists, `ARCH:FILE` with weights of that architecture, a folder with
            open_clip_config.json and weights, or `hf-hub:OWNER/NAME` with the same; empty: DEFAULT_SOURCE.
        device: where to put it.

    Raises:
        UsageError: a source that is none of these.
        IvideoError: its weights are not on this machine and cannot be fetched, or are damaged.
    """
    import open_clip

    source = source or DEFAULT_SOURCE
    architecture, options = find_network(name, source)
    with explain_damage(f"reward {name}: cannot be loaded by open_clip"):
        network = open_clip.create_model(architecture, require_pretrained=True, **options)
        tokenize = open_clip.get_tokenizer(architecture)
        preprocessing = read_preprocessing(open_clip.get_model_preprocess_cfg(network))
    return CosineReward(name, f"CLIP {source}, cosine", network, tokenize, preprocessing, device)


def find_network(name: str, source: str) -> tuple[str, dict[str, Any]]:
    """A source as `open_clip.create_model` takes it: the model's name and its options.

    Raises:
        UsageError: no such source.
        IvideoError: a folder or a file that is not there.
    """
    if source.startswith(HUB_PREFIX):
        return source, {}
    folder = Path(source).expanduser()
    if folder.is_dir():
        if not (folder / CONFIG_FILE).is_file():
            raise IvideoError(f"reward {name}: {folder / CONFIG_FILE} is missing")
        return f"local-dir:{folder}", {}
    architecture, colon, file = source.partition(":")
    if colon:
        check_architecture(name, architecture)
        return architecture, {"pretrained": str(find_given_file(name, file))}
    if source.endswith(WEIGHT_SUFFIXES):
        raise UsageError(f"reward {name}: a file does not say its architecture: write clip:ARCH:{source}")
    architecture, _, tag = source.partition("/")
    check_architecture(name, architecture)
    return architecture, find_tag(name, architecture, tag)


def check_architecture(name: str, architecture: str) -> None:
    """Hold an architecture's name against open_clip's list.

    Raises:
        UsageError: open_clip has none of that name.
    """
    import open_clip

    known = open_clip.list_models()
    if architecture not in known:
        close = difflib.get_close_matches(architecture, known, 1)
        advice = f"; did you mean {close[0]}?" if close else ""
        raise UsageError(f"reward {name}: open_clip has no architecture {architecture!r}{advice} (write {SPELLINGS})")


def find_tag(name: str, architecture: str, tag: str) -> dict[str, Any]:
    """The weights of a tag: fetched, unless they are in the Hugging Face cache already.

    Raises:
        UsageError: the architecture has no such tag.
        IvideoError: they are not on this machine and cannot be fetched.
    """
    import open_clip

    tags = open_clip.list_pretrained_tags_by_model(architecture)
    if tag not in tags:
        raise UsageError(f"reward {name}: {architecture} has no weights {tag!r}: one of {', '.join(tags)}")
    config = open_clip.get_pretrained_cfg(architecture, tag)
    hub = config.get("hf_hub", "").rstrip("/")
    home = f"https://huggingface.co/{hub}" if hub else config.get("url")
    same = f"{architecture}-quickgelu" if config.get("quick_gelu") else architecture
    architecture = same if same in open_clip.list_models() else architecture
    with explain_damage(
        f"reward {name}: its weights are not on this machine",
        "; fetch the weights file for open_clip (open_clip_model.safetensors or open_clip_pytorch_model.bin) "
        f"from {home} and name it: clip:{architecture}:FILE",
        tell_reason=False,
    ):
        checkpoint = open_clip.download_pretrained(config)
    # open_clip only warns where a tag was trained with another activation than the architecture's.
    return {
        "pretrained": str(checkpoint),
        "force_quick_gelu": bool(config.get("quick_gelu")),
        "force_preprocess_cfg": {key: config[key] for key in ("mean", "std", "interpolation", "resize_mode")},
    }


def read_preprocessing(config: dict[str, Any]) -> Preprocessing:
    """Preprocessing by open_clip's description.

    Raises:
        ValueError: the network does not read squares.
    """
    size = config["size"]
    height, width = (size, size) if isinstance(size, int) else size
    if height != width:
        raise ValueError(f"it reads {width} x {height} pixels; only squares are supported")
    return Preprocessing(
        height,
        fit=config["resize_mode"],
        filter="bilinear" if config["interpolation"] == "bilinear" else "bicubic",
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
    )
