"""Who is compared: models, adapters at one or several scales, and folders of ready videos; and with which settings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ivideo.config.settings import OWN_UNET, GenerationSettings
from ivideo.errors import IvideoError, UsageError
from ivideo.io.prompts import read_prompts
from ivideo.io.video_reader import READABLE_SUFFIXES, open_video
from ivideo.models.authors_weights import is_checkpoint
from ivideo.models.registry import ADAPTERS, MODEL_SOURCES, find_location, heldout_prompts_path
from ivideo.workflows.progress import Progress, Silence
from ivideo.workflows.resolve import Adapter, check_adapter_name, find_adapter, resolve_settings

BASE = "base"


@dataclass(frozen=True)
class Contestant:
    """Who takes part in a comparison: a folder of ready videos, or a model with or without an adapter.

    Attributes:
        name: what it is called.
        folder: of ready videos; None for a model.
        model: a model that was named; None for a folder, an adapter, and for `base`, which takes the model of the first
            adapter (else of the videos) with its U-Net.
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


def find_contestants(names: Sequence[str], lora_scales: Sequence[float] | None = None) -> list[Contestant]:
    """Everyone who is named; a run or adapter once for each scale, as "mine @0.5".

    They are called by the last part of their paths, or by what was typed where that would be the same twice.

    Args:
        names: at least one; see `find_contestant`.
        lora_scales: multiply the effect of adapters; None for 1, which names do not tell.

    Raises:
        UsageError: nothing of that name, fewer than two contestants, or scales without an adapter.
        IvideoError: a folder with nothing of the kind.
    """
    found = []
    for name, short in zip(names, _shorten(names), strict=True):
        contestant = replace(find_contestant(name), name=short)
        if contestant.adapter and lora_scales:
            scaled = [replace(find_contestant(name, scale), name=f"{short} @{scale:g}") for scale in lora_scales]
            found += scaled
        else:
            found.append(contestant)
    if lora_scales and not any(contestant.adapter for contestant in found):
        raise UsageError("--lora-scale without a run or adapter: there is nothing to scale")
    if len(found) < 2:
        raise UsageError("one contestant has nobody to be compared with; name two or more, such as base and a run")
    return found


def _shorten(names: Sequence[str]) -> list[str]:
    short = [Path(name).resolve().name if Path(name).exists() else name for name in names]
    return [one if Counter(short)[one] == 1 else name for one, name in zip(short, names, strict=True)]


def find_contestant(name: str, lora_scale: float = 1.0) -> Contestant:
    """What a name means: `base`, a model, a run or adapter folder, a file of the authors, or a folder of videos.

    Raises:
        UsageError: nothing of that name.
        IvideoError: a folder with nothing of the kind.
    """
    path = Path(name)
    if name == BASE:
        return Contestant(name)
    if name in ADAPTERS:
        return Contestant(name, adapter=find_adapter(path, lora_scale))
    check_adapter_name(path)
    if name in MODEL_SOURCES or not path.exists():
        find_location(name)
        return Contestant(name, model=name)
    if is_checkpoint(path):
        return Contestant(name, adapter=find_adapter(path, lora_scale))
    if not path.is_dir():
        raise UsageError(f"{name} is a file; compare takes models, runs, folders of videos and .pth files")
    if (path / "model_index.json").is_file():
        return Contestant(name, model=name)
    if list_videos(path):
        return Contestant(name, folder=path)
    if not any(path.iterdir()):
        raise IvideoError(f"{name} is empty: no run, no adapter, no model, no videos")
    return Contestant(name, adapter=find_adapter(path, lora_scale))


def list_videos(folder: Path) -> list[Path]:
    """The videos that lie in a folder, by name, without hidden files: a killed program leaves those half-written."""
    videos = (path for path in folder.iterdir() if path.suffix.lower() in READABLE_SUFFIXES)
    return sorted(path for path in videos if not path.name.startswith("."))


def settle_settings(
    contestants: Sequence[Contestant], *, config: Path | None, flags: Mapping[str, Any], progress: Progress
) -> list[GenerationSettings]:
    """Each contestant's settings; what one does not bring itself, it takes from the others.

    A model that is named keeps its own U-Net. `progress` hears of the second one's, which say how all are scored.

    Raises:
        UsageError: unknown keys or impossible values.
    """
    settled: dict[int, GenerationSettings] = {}
    for i in sorted(range(len(contestants)), key=lambda i: i != 1):
        one, others = contestants[i], [*contestants[:i], *contestants[i + 1 :]]
        named = {"model": one.model, "unet": OWN_UNET} if one.model else {}
        settled[i] = resolve_settings(
            GenerationSettings,
            config=config,
            flags={**flags, **named},
            progress=Silence() if settled else progress,
            adapter=find_lender(one, others),
            model_hint=one.model or next((other.model for other in others if other.model), None),
        )
    return [settled[i] for i in range(len(contestants))]


def find_lender(one: Contestant, others: Sequence[Contestant]) -> Adapter | None:
    """Whose defaults it takes: its own adapter's, else those of the first other one, else what ready videos tell.

    An adapter that names no model takes the first other adapter's that does.
    """
    adapters = [side.adapter for side in (one, *others) if side.adapter]
    if adapters:
        knowing = next((adapter for adapter in adapters if "model" in adapter.defaults), adapters[0])
        return replace(adapters[0], defaults={**knowing.defaults, **adapters[0].defaults})
    return next(filter(None, map(describe_videos, (one, *others))), None)


def describe_videos(side: Contestant) -> Adapter | None:
    """The model and the U-Net file that a folder's first video says it was made by, as an adapter's defaults."""
    if side.folder is None:
        return None
    metadata = open_video(list_videos(side.folder)[0]).metadata
    values = {name: metadata.get(name) for name in ("model", "unet")}
    defaults = {name: value for name, value in values.items() if isinstance(value, str)}
    return Adapter(side.folder, side.name, defaults) if "model" in defaults else None


def default_prompts(contestants: Sequence[Contestant], model: str) -> list[str]:
    """The held-out prompts of the first run among the challengers, else the baseline's, else those of the model.

    Raises:
        UsageError: there are none.
    """
    for one in (*contestants[1:], contestants[0]):
        heldout = one.adapter.heldout if one.adapter else None
        if heldout and heldout.is_file() and heldout.read_text(encoding="utf-8").strip():
            return read_prompts(heldout)
    own = heldout_prompts_path(model)
    if own is None:
        raise UsageError("no prompts to compare on: give them by --prompts")
    return read_prompts(own)
