"""Which adapter a name means, and the settings that it brings."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ivideo.config.merge import read_run_settings
from ivideo.config.presets import ADAPTERS
from ivideo.config.settings import GenerationSettings, generation_defaults
from ivideo.errors import IvideoError, UsageError
from ivideo.files.run_folder import open_run_folder
from ivideo.models.families import find_lora_rank, is_weights_file, read_adapter_notes
from ivideo.models.loading import explain_damage
from ivideo.models.lora import CONFIG_FILE


@dataclass(frozen=True)
class Adapter:
    """A trained adapter and the settings that it brings as defaults.

    Attributes:
        path: folder in PEFT's format, or the authors' file that brings it.
        name: how to call it.
        defaults: its run's model and generation settings, as far as they are known.
        scale: multiplies its effect; 0 is the base model.
        heldout: its run's held-out prompts, if there are any.
    """

    path: Path
    name: str
    defaults: Mapping[str, Any]
    scale: float = 1.0
    heldout: Path | None = None


def find_adapter(path: Path, scale: float = 1.0) -> Adapter:
    """The adapter of a run (its best one if there is one), of a folder in PEFT's format, or of a file of the authors.

    Args:
        path: where it is, or the name of one that comes in the package.
        scale: multiplies its effect.

    Raises:
        UsageError: the scale is no number, or the name is nearly that of one in the package.
        IvideoError: neither a run nor an adapter, or a file that brings none.
    """
    if not math.isfinite(scale):
        raise UsageError(f"`lora_scale` {scale}: must be a number")
    if (bundled := ADAPTERS.get(str(path))) is not None:
        return Adapter(bundled, str(path), read_adapter_defaults(bundled), scale)
    check_adapter_name(path)
    if is_weights_file(path):
        return Adapter(path, path.stem, read_adapter_notes(path), scale)
    if (path / CONFIG_FILE).is_file():
        return Adapter(path, path.resolve().name, read_adapter_defaults(path), scale)
    run = open_run_folder(path)
    if not (run.chosen / CONFIG_FILE).is_file():
        raise IvideoError(f"run {path} has no adapter yet: {run.chosen / CONFIG_FILE} is missing")
    settings = read_run_settings(run)
    return Adapter(run.chosen, path.resolve().name, generation_defaults(settings.model_dump()), scale, run.heldout)


def check_adapter_name(path: Path) -> None:
    """Refuse the misspelled name of an adapter of the package.

    Raises:
        UsageError: nothing is there, and one is called almost so.
    """
    close = [] if path.exists() else difflib.get_close_matches(str(path), ADAPTERS, 1, cutoff=0.85)
    if close:
        raise UsageError(f"{path} does not exist; did you mean {close[0]}?")


def adapter_of_weights_file(settings: GenerationSettings, scale: float = 1.0) -> Adapter | None:
    """The adapter that the settings' foreign file of weights brings; None if there is no file, or it brings none.

    Raises:
        UsageError: no such file.
        IvideoError: a file that no family knows.
    """
    if settings.weights_file is None or find_lora_rank(Path(settings.weights_file)) is None:
        return None
    return find_adapter(Path(settings.weights_file), scale)


def read_adapter_defaults(folder: Path) -> dict[str, str]:
    """The base model that a PEFT adapter names and what its family notes beside it, as settings.

    Raises:
        IvideoError: its configuration is damaged.
    """
    with explain_damage(f"adapter {folder} is damaged: {CONFIG_FILE} is no JSON object", tell_reason=False):
        base = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8")).get("base_model_name_or_path")
    found = {"model": base, **read_adapter_notes(folder)}
    return {name: str(value) for name, value in found.items() if value}
