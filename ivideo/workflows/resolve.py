"""From what was asked for to validated settings: the model's name first, then its defaults, file and flags."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ivideo.config.merge import merge_settings, read_toml
from ivideo.config.presets import PRESETS, preset_for
from ivideo.config.settings import FinetuneSettings, GenerationSettings, Settings
from ivideo.errors import IvideoError
from ivideo.io.run_folder import open_run_folder
from ivideo.models.lora import CONFIG_FILE
from ivideo.models.registry import choose_model
from ivideo.workflows.progress import Progress

S = TypeVar("S", bound=Settings)


@dataclass(frozen=True)
class Adapter:
    """A trained adapter and the settings that it brings as defaults.

    Attributes:
        folder: holds adapter_config.json.
        name: how to call it.
        defaults: its run's model and generation settings, as far as they are known.
        heldout: its run's held-out prompts, if there are any.
    """

    folder: Path
    name: str
    defaults: Mapping[str, Any]
    heldout: Path | None = None


def find_adapter(path: Path) -> Adapter:
    """The adapter of a run folder, or of a folder in PEFT's format.

    Raises:
        IvideoError: neither.
    """
    if (path / CONFIG_FILE).is_file():
        try:
            base = json.loads((path / CONFIG_FILE).read_text(encoding="utf-8")).get("base_model_name_or_path")
        except (ValueError, AttributeError):
            raise IvideoError(f"adapter {path} is damaged: {CONFIG_FILE} is no JSON object") from None
        return Adapter(path, path.resolve().name, {"model": base} if base else {})
    run = open_run_folder(path)
    if not (run.adapter / CONFIG_FILE).is_file():
        raise IvideoError(f"run {path} has no adapter yet: {run.adapter / CONFIG_FILE} is missing")
    settings = merge_settings(FinetuneSettings, {}, read_toml(run.config), {})
    return Adapter(
        run.adapter, path.resolve().name, generation_defaults(settings.model_dump()), run.heldout
    )


def generation_defaults(finetune_values: Mapping[str, Any]) -> dict[str, Any]:
    """The part of fine-tuning settings that full generations share; the guidance is that of full generations."""
    values = {key: value for key, value in finetune_values.items() if key in GenerationSettings.model_fields}
    values["guidance_scale"] = finetune_values["generation_guidance_scale"]
    return values


def resolve_settings(
    kind: type[S],
    *,
    config: Path | None,
    flags: Mapping[str, Any],
    progress: Progress,
    adapter: Adapter | None = None,
    model_hint: str | None = None,
) -> S:
    """Settings of a command from defaults, the adapter's run, the TOML file and the flags, the later ones winning.

    The model is the one that flags or file name, else the adapter's, else `model_hint`, else IVIDEO_MODEL, else auto.

    Args:
        kind: which settings.
        config: TOML file.
        flags: by field name; None means not given. `preset` names a preset.
        progress: is told what `auto` chose.
        adapter: brings its run's model and guidance.
        model_hint: a model that the input suggests.

    Raises:
        UsageError: unknown keys or impossible values.
        IvideoError: the file cannot be read.
    """
    file = read_toml(config) if config else {}
    preset = file.pop("preset", None)
    given = dict(flags)
    preset = given.pop("preset", None) or preset or "default"
    own = adapter.defaults if adapter else {}
    asked = given.get("model") or file.get("model") or own.get("model") or model_hint
    asked = asked or os.environ.get("IVIDEO_MODEL") or "auto"
    model = choose_model(str(asked))
    if asked == "auto":
        progress.say(f"model: {model}")
    defaults: Mapping[str, Any] = preset_for(model, preset)
    if not issubclass(kind, FinetuneSettings):
        defaults = generation_defaults(defaults)
    if own.get("model") == model:
        defaults = {**defaults, **own}
    return merge_settings(kind, {**defaults, "model": model}, {**file, "model": model}, {**given, "model": model})


def reward_known_for(model: object) -> bool:
    """Whether a model brings its own judge, so that its clips are best scored by that one."""
    return model in PRESETS
