"""From what was asked for to validated settings: the model's name first, then its defaults, file and flags."""

from __future__ import annotations

import difflib
import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from ivideo.config.merge import merge_settings, read_toml
from ivideo.config.presets import preset_for
from ivideo.config.settings import FinetuneSettings, GenerationSettings, Settings
from ivideo.errors import IvideoError, UsageError
from ivideo.io.run_folder import RunFolder, open_run_folder
from ivideo.models.authors_weights import find_lora_rank, is_checkpoint
from ivideo.models.judges import runs_code
from ivideo.models.loading import explain_damage
from ivideo.models.lora import CONFIG_FILE, read_unet_file
from ivideo.models.registry import ADAPTERS, choose_device, choose_model
from ivideo.workflows.progress import Progress

S = TypeVar("S", bound=Settings)


@dataclass(frozen=True)
class Adapter:
    """A trained adapter and the settings that it brings as defaults.

    Attributes:
        path: folder in PEFT's format, or the authors' file that brings it.
        name: how to call it.
        defaults: its run's model, U-Net file and generation settings, as far as they are known.
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
        raise UsageError(f"--lora-scale {scale}: must be a number")
    if (bundled := ADAPTERS.get(str(path))) is not None:
        return Adapter(bundled, str(path), read_adapter_defaults(bundled), scale)
    check_adapter_name(path)
    if is_checkpoint(path):
        if find_lora_rank(path) is None:
            raise IvideoError(f"{path} brings no LoRA, only a U-Net: name it by --unet")
        return Adapter(path, path.stem, {"unet": str(path)}, scale)
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


def read_run_settings(run: RunFolder) -> FinetuneSettings:
    """The settings of an earlier run.

    Raises:
        IvideoError: its configuration cannot be read, or is none.
    """
    try:
        return merge_settings(FinetuneSettings, {}, read_toml(run.config), {})
    except UsageError as error:
        raise IvideoError(f"{run.config} is not a run's configuration: {error}") from None


def adapter_of_unet(settings: GenerationSettings, scale: float = 1.0) -> Adapter | None:
    """The adapter that the settings' U-Net file brings; None if there is no file, or it brings none.

    Raises:
        UsageError: no such file.
        IvideoError: no checkpoint of the authors.
    """
    if settings.unet is None or find_lora_rank(Path(settings.unet)) is None:
        return None
    return find_adapter(Path(settings.unet), scale)


def read_adapter_defaults(folder: Path) -> dict[str, str]:
    """The base model that a PEFT adapter names and the file of its U-Net, as settings; empty if it names none.

    Raises:
        IvideoError: its configuration is damaged.
    """
    with explain_damage(f"adapter {folder} is damaged: {CONFIG_FILE} is no JSON object", tell_reason=False):
        base = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8")).get("base_model_name_or_path")
    found = {"model": base, "unet": read_unet_file(folder)}
    return {name: str(value) for name, value in found.items() if value}


def generation_defaults(finetune_values: Mapping[str, Any]) -> dict[str, Any]:
    """The part of fine-tuning settings that full generations share, at the steps and guidance of full generations."""
    values = {key: value for key, value in finetune_values.items() if key in GenerationSettings.model_fields}
    for name in ("num_inference_steps", "guidance_scale"):
        values[name] = finetune_values[f"generation_{name}"]
    return values


def generation_settings(settings: FinetuneSettings) -> GenerationSettings:
    """How a fine-tuning run generates its clips."""
    return GenerationSettings(**generation_defaults(settings.model_dump()))


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
    file = read_settings_file(config, kind) if config else {}
    given = dict(flags)
    preset = given.pop("preset", None) or file.pop("preset", None) or "default"
    file.pop("preset", None)
    own = adapter.defaults if adapter else {}
    asked = given.get("model") or file.get("model") or own.get("model") or model_hint
    asked = str(asked or os.environ.get("IVIDEO_MODEL") or "auto")
    model = choose_model(asked)
    defaults: Mapping[str, Any] = preset_for(model, preset)
    if not issubclass(kind, FinetuneSettings):
        defaults = generation_defaults(defaults)
    if own.get("model", model) == model:
        defaults = {**defaults, **own}
        if runs_code(own.get("reward", ())) and not (given.get("reward") or file.get("reward")):
            defaults = {**defaults, "reward": preset_for(model, preset)["reward"]}
            progress.say(f"the run's reward {shown(own['reward'])} is code: it is run only if --reward names it")
    settings = merge_settings(kind, {**defaults, "model": model}, {**file, "model": model}, {**given, "model": model})
    choose_device(settings.device)
    if asked == "auto":
        progress.say(f"model: {model}")
    return settings


def shown(reward: str | Sequence[str]) -> str:
    """One or several rewards as text."""
    return reward if isinstance(reward, str) else ", ".join(reward)


def read_settings_file(path: Path, kind: type[Settings]) -> dict[str, Any]:
    """The settings of a TOML file, with names that the command knows.

    Raises:
        UsageError: an unknown name.
        IvideoError: the file cannot be read.
    """
    file = read_toml(path)
    known = {*kind.model_fields, "preset"}
    for name in file.keys() - known:
        close = difflib.get_close_matches(name, known, 1)
        advice = f"; did you mean {close[0]}?" if close else ""
        if name in FinetuneSettings.model_fields:
            advice = " for this command"
        raise UsageError(f"{path}: unknown setting {name!r}{advice}")
    return file


def check_prompts(prompts: Sequence[str]) -> None:
    """Refuse to work for nothing.

    Raises:
        UsageError: no prompts, or an empty one.
    """
    if not prompts or any(not prompt.strip() for prompt in prompts):
        raise UsageError("empty prompt: say what the video should show")
