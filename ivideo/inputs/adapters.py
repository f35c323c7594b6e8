"""Adapters as people bring them and take them: which one a name means, and how one leaves the house."""

from __future__ import annotations

import difflib
import json
import math
import os
import shutil
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from ivideo.config.merge import read_run_settings
from ivideo.config.presets import ADAPTERS, find_location
from ivideo.config.settings import GenerationSettings, generation_defaults
from ivideo.errors import IvideoError, UsageError
from ivideo.files.atomic import atomic_folder, check_folder
from ivideo.files.reading import parse_json, read_text
from ivideo.files.run_folder import open_run_folder
from ivideo.models.families import find_family, find_lora_rank, is_weights_file, read_adapter_notes
from ivideo.models.loading import explain_damage, read_index
from ivideo.models.lora import CONFIG_FILE, check_lora, merge_lora
from ivideo.models.lora_files import find_lora
from ivideo.models.variants import choose_variants, name_plainly
from ivideo.progress import Progress, Silence


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
    if lora := find_lora(path):
        defaults = read_adapter_defaults(lora) if lora.is_dir() else {}
        return Adapter(lora, path.stem if path == lora and path.is_file() else path.resolve().name, defaults, scale)
    if is_weights_file(path):
        return Adapter(path, path.stem, read_adapter_notes(path), scale)
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
    close = [] if os.path.exists(path) else difflib.get_close_matches(str(path), ADAPTERS, 1, cutoff=0.85)
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
        base = parse_json(read_text(folder / CONFIG_FILE), CONFIG_FILE).get("base_model_name_or_path")
    found = {"model": base, **read_adapter_notes(folder)}
    return {name: str(value) for name, value in found.items() if value}


NETWORK_FILES = ("config.json", "diffusion_pytorch_model.safetensors")


def save_adapter(
    adapter: Adapter, output: Path, settings: GenerationSettings, progress: Progress | None = None
) -> Path:
    """Write an adapter in PEFT's format; its weights stay in float32, its scale is not part of it.

    Args:
        adapter: from `find_adapter`.
        output: folder, new or empty.
        settings: name the model that it is for, and its foreign file of weights if there is one.
        progress: is told what is left out; None: nobody.

    Raises:
        IvideoError: the output is in use, or the adapter does not fit the model.
    """
    check_new_folder(output)
    location = find_location(settings.model)
    family = find_family(settings.model, location)
    network = family.load_network(settings.model, location, None, settings.family_options)
    for remark in family.load_adapter(network.to_empty(device="cpu"), adapter.path):
        (progress or Silence()).say(remark)
    check_lora(network, adapter.path)
    with atomic_folder(output) as folder:
        family.save_adapter(network, folder, settings.model, settings.family_options)
        family.write_formats(folder, settings.family_options)
    return output


def merge_adapter(
    adapter: Adapter,
    output: Path,
    settings: GenerationSettings,
    dtype: torch.dtype,
    progress: Progress | None = None,
) -> Path:
    """Write the model with the adapter's effect in the network's own weights, as a plain diffusers folder.

    Args:
        adapter: from `find_adapter`; its scale counts, and 0 writes the base.
        output: folder, new or empty.
        settings: name the model, and its foreign file of weights if there is one.
        dtype: of the network's weights; they are merged in float32. The other parts are copied as they are, under
            plain names where they come from a variant.
        progress: is told what is left out, and which variants are taken; None: nobody.

    Raises:
        IvideoError: the output is in use, or the model or the adapter cannot be loaded.
    """
    check_new_folder(output)
    location = find_location(settings.model)
    family, index = find_family(settings.model, location), read_index(settings.model, location)
    network = family.load_network(settings.model, location, torch.float32, settings.family_options)
    remarks = family.load_adapter(network, adapter.path, adapter.scale)
    check_lora(network, adapter.path)
    merge_lora(network)
    network.to(dtype)
    own = family.network_folder(settings.model, location, settings.family_options)
    parts = [name for name, value in index.items() if isinstance(value, (list, tuple)) and name != own]
    variants, choices = choose_variants(settings.model, location, [*parts, own], settings.variant)
    for remark in (*choices, *remarks):
        (progress or Silence()).say(remark)
    source = download_parts(settings.model, location, parts, own)
    with atomic_folder(output) as folder:
        shutil.copyfile(source / "model_index.json", folder / "model_index.json")
        for part in parts:
            if (source / part).is_dir():  # an optional part that the model does without has none
                copy_part(source / part, folder / part, variants.get(part))
        (folder / own).mkdir()
        config, weights = (folder / own / name for name in NETWORK_FILES)
        shutil.copyfile(source / own / config.name, config)
        tensors = {name: weight.contiguous() for name, weight in network.state_dict().items()}
        save_file(tensors, weights, metadata={"format": "pt"})
    return output


def copy_part(source: Path, target: Path, variant: str | None) -> None:
    """Copy a part's folder with the weights that are used, under plain names.

    Args:
        source: the part's folder.
        target: new.
        variant: which weights are used; None for the plain ones.
    """
    target.mkdir()
    for file in sorted(source.iterdir()):
        plain = name_plainly(file.name, variant)
        if file.is_dir():
            shutil.copytree(file, target / file.name)
        elif plain is None:
            continue
        elif variant and file.name.endswith(f".index.{variant}.json"):
            names = json.loads(file.read_text(encoding="utf-8"))
            names["weight_map"] = {key: name_plainly(one, variant) for key, one in names["weight_map"].items()}
            (target / plain).write_text(json.dumps(names), encoding="utf-8")
        else:
            shutil.copyfile(file, target / plain)


def download_parts(name: str, location: str, parts: Collection[str], configured: str) -> Path:
    """The local folder with whole parts of a model, downloaded first from a hub.

    Args:
        name: how the user called the model.
        location: a local folder, or a hub id.
        parts: whole folders in it.
        configured: the folder of which only the configuration is needed.

    Raises:
        IvideoError: the hub cannot be reached.
    """
    folder = Path(location)
    if folder.is_dir():
        return folder
    from huggingface_hub import snapshot_download

    wanted = ["model_index.json", f"{configured}/config.json", *(f"{part}/*" for part in parts)]
    with explain_damage(f"model {name!r}: its folder is damaged or incomplete"):
        return Path(snapshot_download(location, allow_patterns=wanted))


def check_new_folder(path: Path) -> None:
    """Refuse a folder that holds something before any work is done.

    Raises:
        IvideoError: it exists and is not empty, or cannot be written to.
    """
    check_folder(path)
    if path.is_dir() and any(path.iterdir()):
        raise IvideoError(f"{path} is not empty; name a new folder")
