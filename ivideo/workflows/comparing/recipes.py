"""What a contestant's clips depend on beside prompt and seed: which weights, at which settings, computed how."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ivideo import __version__
from ivideo.config.settings import GenerationSettings
from ivideo.errors import UsageError
from ivideo.io.content_hashes import hash_content
from ivideo.models.lora import CONFIG_FILE, WEIGHTS_FILE
from ivideo.models.registry import choose_device, choose_dtype, find_location
from ivideo.workflows.comparing.contestants import Contestant
from ivideo.workflows.resolve import Adapter

CLIP_SETTINGS = (
    "model",
    "num_frames",
    "height",
    "width",
    "fps",
    "num_inference_steps",
    "guidance_scale",
    "guidance_batching",
    "negative_prompt",
)


@dataclass(frozen=True)
class Recipe:
    """How a model's clips are made.

    Attributes:
        values: all that they depend on beside prompt and seed; adapters and U-Net files by the hash of their content,
            the files of a local model by their sizes and times.
        adapter_hash: SHA-256 of the adapter's weights, in hex; None without an adapter.
    """

    values: Mapping[str, Any]
    adapter_hash: str | None

    @property
    def digest(self) -> str:
        """SHA-256 of the values, in hex: equal recipes make equal clips of a prompt and seed, on one machine."""
        return hashlib.sha256(json.dumps(self.values, sort_keys=True).encode()).hexdigest()


def find_recipe(contestant: Contestant, settings: GenerationSettings) -> Recipe:
    """The recipe of a model, with its adapter if it has one.

    Raises:
        UsageError: no such model or file.
    """
    device = choose_device(settings.device)
    adapter = _hash_adapter(contestant.adapter) if contestant.adapter else {}
    values = {
        **{name: getattr(settings, name) for name in CLIP_SETTINGS},
        "ivideo_version": __version__,
        "device": device.type,
        "dtype": str(choose_dtype(settings.dtype, device)).removeprefix("torch."),
        "model_files": _list_files(settings.model),
        "unet": hash_content(Path(settings.unet)) if settings.unet else None,
        "adapter": adapter,
        "lora_scale": contestant.adapter.scale if contestant.adapter else None,
    }
    return Recipe(values, adapter.get("weights"))


def check_distinct(contestants: Sequence[Contestant], recipes: Mapping[int, Recipe]) -> None:
    """Hold every contestant against those before it.

    Raises:
        UsageError: two are the same folder, or would make the same clips.
    """
    seen: dict[object, str] = {}
    for i, contestant in enumerate(contestants):
        what = contestant.folder.resolve() if contestant.folder else recipes[i].digest
        if what in seen:
            why = "the same folder" if contestant.folder else "the same model with the same settings"
            raise UsageError(f"{seen[what]} and {contestant.name} are {why}: there is nothing to compare")
        seen[what] = contestant.name


def _hash_adapter(adapter: Adapter) -> dict[str, str]:
    """Weights and, of a PEFT folder, its configuration, which says how strongly they act; what is there of them."""
    files = {"weights": adapter.path / WEIGHTS_FILE, "config": adapter.path / CONFIG_FILE}
    if adapter.path.is_file():
        files = {"weights": adapter.path}
    return {name: hash_content(path) for name, path in files.items() if path.is_file()}


def _list_files(model: str) -> list[tuple[str, int, int]]:
    """Name, size and time of change of a local model's files; nothing for a model of the hub, whose id says it."""
    folder = Path(find_location(model))
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return [(str(path.relative_to(folder)), path.stat().st_size, path.stat().st_mtime_ns) for path in files]
