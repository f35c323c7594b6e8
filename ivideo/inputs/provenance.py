"""What a clip depends on beside its prompt and its seed: settings, adapter, model, machine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ivideo import __version__
from ivideo.config.parts import GenerationPart
from ivideo.config.presets import find_location
from ivideo.config.settings import GenerationSettings
from ivideo.files.cache import hash_content
from ivideo.inputs.adapters import Adapter
from ivideo.models.devices import choose_device, choose_dtype
from ivideo.models.lora import CONFIG_FILE, WEIGHTS_FILE

CLIP_SETTINGS = ("model", *GenerationPart.model_fields)


@dataclass(frozen=True)
class Provenance:
    """How a model's clips are made.

    Attributes:
        values: all that they depend on beside prompt and seed; adapters and files of weights by their hash,
            the files of a local model by their sizes and times.
        adapter_hash: SHA-256 of the adapter's weights, in hex; None without an adapter.
    """

    values: Mapping[str, Any]
    adapter_hash: str | None

    @property
    def digest(self) -> str:
        """SHA-256 of the values, in hex: equal provenances make equal clips of a prompt and seed, on one machine."""
        return hashlib.sha256(json.dumps(self.values, sort_keys=True).encode()).hexdigest()


def find_provenance(settings: GenerationSettings, adapter: Adapter | None = None) -> Provenance:
    """The provenance of what a model makes with these settings, and with an adapter if one is given.

    Raises:
        UsageError: no such model or file.
    """
    device = choose_device(settings.device)
    hashes = _hash_adapter(adapter) if adapter else {}
    values = {
        **{name: getattr(settings, name) for name in CLIP_SETTINGS},
        "ivideo_version": __version__,
        "device": device.type,
        "dtype": str(choose_dtype(settings.dtype, device)).removeprefix("torch."),
        "model_files": _list_files(settings.model),
        **settings.told_options,
        "unet": hash_content(Path(settings.weights_file)) if settings.weights_file else None,
        "adapter": hashes,
        "lora_scale": adapter.scale if adapter else None,
    }
    return Provenance(values, hashes.get("weights"))


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
