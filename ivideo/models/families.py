"""Which text-to-video model a name means, and where it is."""

from __future__ import annotations

from pathlib import Path

import torch

from ivideo.errors import UsageError

PACKAGE_DATA = Path(__file__).parent / "emoji_world"


MODEL_SOURCES: dict[str, str] = {
    "emoji-world": str(PACKAGE_DATA / "text_to_video"),
    "modelscope": "damo-vilab/text-to-video-ms-1.7b",
    "zeroscope": "cerspense/zeroscope_v2_576w",
}


ADAPTERS: dict[str, Path] = {"emoji-world-instruct": PACKAGE_DATA / "instruct"}


def choose_model(name: str) -> str:
    """The model that `auto` means on this machine: ModelScope where CUDA is there, else the bundled emoji world."""
    if name != "auto":
        return name
    return "modelscope" if torch.cuda.is_available() else "emoji-world"


def heldout_prompts_path(name: str) -> Path | None:
    """The prompts that a bundled model brings for evaluation; None for every other model."""
    return PACKAGE_DATA / "prompts" / "heldout.txt" if name == "emoji-world" else None


def find_location(name: str) -> str:
    """Where a model is: a local folder, else a hub id.

    Raises:
        UsageError: the name can be neither.
    """
    source = MODEL_SOURCES.get(name, name)
    folder = Path(source).expanduser()
    if folder.is_dir():
        return str(folder)
    if folder.exists() or source.count("/") != 1 or source.startswith((".", "~", "/")):
        known = ", ".join(MODEL_SOURCES)
        raise UsageError(f"unknown model {name!r}: not one of {known}, not a folder, not a hub id like owner/name")
    return source
