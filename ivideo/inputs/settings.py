"""From what was asked for to validated settings: the model's name first, then its defaults, file and flags."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from ivideo.config.merge import merge_settings, read_settings_file
from ivideo.config.presets import FALLBACK, PRESETS, choose_model, preset_for
from ivideo.config.settings import FinetuneSettings, GenerationSettings, Settings, generation_defaults
from ivideo.errors import IvideoError, UsageError
from ivideo.inputs.adapters import Adapter
from ivideo.models.devices import choose_device
from ivideo.models.families import find_preset
from ivideo.progress import Progress
from ivideo.rewards.registry import runs_code

S = TypeVar("S", bound=Settings)


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
        UsageError: unknown keys, impossible values, or code in the file, which others may have written.
        IvideoError: the file cannot be read.
    """
    file = read_settings_file(config, kind) if config else {}
    given = dict(flags)
    preset = given.pop("preset", None) or file.pop("preset", None) or "default"
    file.pop("preset", None)
    own = adapter.defaults if adapter else {}
    asked = given.get("model") or file.get("model") or own.get("model") or model_hint
    asked = str(asked or os.environ.get("IVIDEO_MODEL") or "auto")
    model = choose_model(asked)
    like, built_in = FALLBACK, {}
    if model not in PRESETS and issubclass(kind, GenerationSettings):
        with suppress(IvideoError):  # what cannot be found is told where it is loaded
            preset_of_family = find_preset(model)
            if isinstance(preset_of_family, str):
                like = preset_of_family
            else:
                built_in = dict(preset_of_family)
    defaults: Mapping[str, Any] = {**preset_for(model, preset, like), **built_in}
    if not issubclass(kind, FinetuneSettings):
        defaults = generation_defaults(defaults)
    if own.get("model", model) == model:
        defaults = {**defaults, **own}
        if runs_code(own.get("reward", ())) and not (given.get("reward") or file.get("reward")):
            defaults = {**defaults, "reward": preset_for(model, preset, like)["reward"]}
            progress.say(f"the run's reward {shown(own['reward'])} is code: it is run only if `reward` names it")
    settings = merge_settings(kind, {**defaults, "model": model}, {**file, "model": model}, {**given, "model": model})
    if "reward" in file and not given.get("reward") and runs_code(settings.rewards):
        what = f"the reward {shown(settings.reward)} in {config}"
        raise UsageError(f"{what} is code: it is run only if `reward` names it")
    choose_device(settings.device)
    if asked == "auto":
        progress.say(f"model: {model}")
    return settings


def shown(reward: str | Sequence[str]) -> str:
    """One or several rewards as text."""
    return reward if isinstance(reward, str) else ", ".join(reward)
