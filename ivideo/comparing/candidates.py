"""What is compared, and with which settings."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ivideo.config.parts import FAMILY_SETTINGS, OWN_WEIGHTS
from ivideo.config.presets import ADAPTERS, MODEL_SOURCES, find_location, heldout_prompts_path
from ivideo.config.settings import GenerationSettings
from ivideo.errors import IvideoError, UsageError
from ivideo.inputs.adapters import Adapter, check_adapter_name, find_adapter
from ivideo.inputs.prompts import read_prompts
from ivideo.inputs.provenance import Provenance
from ivideo.inputs.settings import resolve_settings
from ivideo.models.families import is_weights_file
from ivideo.progress import Progress, Silence
from ivideo.video.folders import is_video, list_folder
from ivideo.video.reader import open_video

BASE = "base"


@dataclass(frozen=True)
class Candidate:
    """Who takes part in a comparison: a folder of ready videos, or a model with or without an adapter.

    Attributes:
        name: what it is called.
        folder: of ready videos; None for a model.
        model: a model that was named; None for a folder, an adapter, and for `base`, which takes the model of the first
            adapter (else of the videos) with its weights.
        adapter: its adapter.
    """

    name: str
    folder: Path | None = None
    model: str | None = None
    adapter: Adapter | None = None

    @property
    def kind(self) -> str:
        """What it is: folder, adapter or model."""
        return "folder" if self.folder else "adapter" if self.adapter else "model"


def find_candidates(names: Sequence[str], lora_scales: Sequence[float] | None = None) -> list[Candidate]:
    """Everyone who is named; a run or adapter once for each scale, as "mine @0.5".

    They are called by the last part of their paths, or by what was typed where that would be the same twice.

    Args:
        names: at least one; see `find_candidate`.
        lora_scales: multiply the effect of adapters; None for 1, which names do not tell.

    Raises:
        UsageError: nothing of that name, fewer than two candidates, or scales without an adapter.
        IvideoError: a folder with nothing of the kind.
    """
    found = []
    for name, short in zip(names, _shorten(names), strict=True):
        candidate = replace(find_candidate(name), name=short)
        if candidate.adapter and lora_scales:
            found += [replace(find_candidate(name, scale), name=f"{short} @{scale:g}") for scale in lora_scales]
        else:
            found.append(candidate)
    if lora_scales and not any(candidate.adapter for candidate in found):
        raise UsageError("`lora_scale` without a run or adapter: there is nothing to scale")
    if len(found) < 2:
        raise UsageError("one candidate has nothing to be compared with; name two or more, such as base and a run")
    return found


def _shorten(names: Sequence[str]) -> list[str]:
    short = [Path(name).resolve().name if os.path.exists(name) else name for name in names]
    return [one if Counter(short)[one] == 1 else name for one, name in zip(short, names, strict=True)]


def find_candidate(name: str, lora_scale: float = 1.0) -> Candidate:
    """What a name means: `base`, a model, a run or adapter folder, a file of the authors, or a folder of videos.

    Raises:
        UsageError: nothing of that name.
        IvideoError: a folder with nothing of the kind.
    """
    path = Path(name)
    if name == BASE:
        return Candidate(name)
    if name in ADAPTERS:
        return Candidate(name, adapter=find_adapter(path, lora_scale))
    check_adapter_name(path)
    if name in MODEL_SOURCES or not os.path.exists(path):
        find_location(name)
        return Candidate(name, model=name)
    if is_weights_file(path):
        return Candidate(name, adapter=find_adapter(path, lora_scale))
    if not path.is_dir():
        raise UsageError(f"{name} is a file; compare takes models, runs, folders of videos and .pth files")
    if (path / "model_index.json").is_file():
        return Candidate(name, model=name)
    if list_videos(path):
        return Candidate(name, folder=path)
    if not any(path.iterdir()):
        raise IvideoError(f"{name} is empty: no run, no adapter, no model, no videos")
    return Candidate(name, adapter=find_adapter(path, lora_scale))


def list_videos(folder: Path) -> list[Path]:
    """The videos that lie in a folder, by name, without hidden files: a killed program leaves those half-written."""
    return sorted(path for path in list_folder(folder) if is_video(path))


def settle_settings(
    candidates: Sequence[Candidate], *, config: Path | None, flags: Mapping[str, Any], progress: Progress
) -> list[GenerationSettings]:
    """Each candidate's settings; what one does not bring itself, it takes from the others.

    A model that is named keeps its own weights. `progress` hears of the second one's, which say how all are scored.

    Raises:
        UsageError: unknown keys or impossible values.
    """
    settled: dict[int, GenerationSettings] = {}
    for i in sorted(range(len(candidates)), key=lambda i: i != 1):
        one, others = candidates[i], [*candidates[:i], *candidates[i + 1 :]]
        named = {"model": one.model, **OWN_WEIGHTS} if one.model else {}
        settled[i] = resolve_settings(
            GenerationSettings,
            config=config,
            flags={**flags, **named},
            progress=Silence() if settled else progress,
            adapter=find_lender(one, others),
            model_hint=one.model or next((other.model for other in others if other.model), None),
        )
    return [settled[i] for i in range(len(candidates))]


def find_lender(one: Candidate, others: Sequence[Candidate]) -> Adapter | None:
    """Whose defaults it takes: its own adapter's, else those of the first other one, else what ready videos tell.

    An adapter that names no model takes the first other adapter's that does.
    """
    adapters = [side.adapter for side in (one, *others) if side.adapter]
    if adapters:
        knowing = next((adapter for adapter in adapters if "model" in adapter.defaults), adapters[0])
        return replace(adapters[0], defaults={**knowing.defaults, **adapters[0].defaults})
    return next(filter(None, map(describe_videos, (one, *others))), None)


def describe_videos(side: Candidate) -> Adapter | None:
    """The model and the file of weights that a folder's first video says it was made by, as an adapter's defaults."""
    if side.folder is None:
        return None
    metadata = open_video(list_videos(side.folder)[0]).metadata
    values = {name: metadata.get(name) for name in ("model", *FAMILY_SETTINGS)}
    defaults = {name: value for name, value in values.items() if isinstance(value, str)}
    return Adapter(side.folder, side.name, defaults) if "model" in defaults else None


def default_prompts(candidates: Sequence[Candidate], model: str) -> list[str]:
    """The held-out prompts of the first run among the challengers, else the baseline's, else those of the model.

    Raises:
        UsageError: there are none.
    """
    for one in (*candidates[1:], candidates[0]):
        heldout = one.adapter.heldout if one.adapter else None
        if heldout and heldout.is_file() and heldout.read_text(encoding="utf-8").strip():
            return read_prompts(heldout)
    own = heldout_prompts_path(model)
    if own is None:
        raise UsageError("no prompts to compare on: give them by `prompts`")
    return read_prompts(own)


def check_distinct(candidates: Sequence[Candidate], provenances: Mapping[int, Provenance]) -> None:
    """Hold every candidate against those before it.

    Raises:
        UsageError: two are the same folder, or would make the same clips.
    """
    seen: dict[object, str] = {}
    for i, candidate in enumerate(candidates):
        what = candidate.folder.resolve() if candidate.folder else provenances[i].digest
        if what in seen:
            why = "the same folder" if candidate.folder else "the same model with the same settings"
            raise UsageError(f"{seen[what]} and {candidate.name} are {why}: there is nothing to compare")
        seen[what] = candidate.name
