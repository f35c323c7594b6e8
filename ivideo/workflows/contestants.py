"""The sides of a comparison: models, adapters and folders of ready videos, and the clips that they bring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ivideo.config.settings import OWN_UNET, GenerationSettings
from ivideo.errors import IvideoError, UsageError
from ivideo.io.prompts import read_prompts
from ivideo.io.video import VIDEO_SUFFIXES, read_video
from ivideo.models.authors_weights import is_checkpoint
from ivideo.models.registry import MODEL_SOURCES, find_location, heldout_prompts_path
from ivideo.models.text_to_video import TextToVideoModel
from ivideo.workflows.generation import generate_clip, warn_of_prompts
from ivideo.workflows.progress import Progress, Silence
from ivideo.workflows.resolve import Adapter, find_adapter, resolve_settings

BASE = "base"


@dataclass(frozen=True)
class Contestant:
    """One side of a comparison: a folder of ready videos, or a model with or without an adapter.

    Attributes:
        name: as it was asked for.
        folder: of ready videos; None for a model.
        model: a model that was named; None for a folder, an adapter, and for `base`, which takes the other side's with
            its U-Net.
        adapter: its adapter.
    """

    name: str
    folder: Path | None = None
    model: str | None = None
    adapter: Adapter | None = None


@dataclass(frozen=True)
class Clip:
    """One video of a contestant; prompt and seed are None where a file does not say them."""

    name: str
    prompt: str | None
    seed: int | None
    frames: np.ndarray
    fps: float

    @property
    def key(self) -> tuple[str, int] | None:
        """Prompt and seed, which pair it with the other side's clip; None if one is unknown."""
        return None if self.prompt is None or self.seed is None else (self.prompt, self.seed)


def find_contestant(name: str, lora_scale: float = 1.0) -> Contestant:
    """What a name means: `base`, a model, a run or adapter folder, a file of the authors, or a folder of videos.

    Raises:
        UsageError: nothing of that name.
        IvideoError: a folder with nothing of the kind.
    """
    path = Path(name)
    if name == BASE:
        return Contestant(name)
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
    """The videos that lie in a folder, by name."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in VIDEO_SUFFIXES)


def settle_sides(
    a: Contestant, b: Contestant, *, config: Path | None, flags: Mapping[str, Any], progress: Progress
) -> tuple[GenerationSettings, GenerationSettings]:
    """Each side's settings; what a side does not bring itself, it takes from the other one.

    A model that is named keeps its own U-Net.

    Raises:
        UsageError: unknown keys or impossible values.
    """
    settled: list[GenerationSettings] = []
    for side, other in ((b, a), (a, b)):
        named = {"model": side.model, "unet": OWN_UNET} if side.model else {}
        settings = resolve_settings(
            GenerationSettings,
            config=config,
            flags={**flags, **named},
            progress=Silence() if settled else progress,
            adapter=find_lender(side, other),
            model_hint=side.model or other.model,
        )
        settled.append(settings)
    return settled[1], settled[0]


def find_lender(side: Contestant, other: Contestant) -> Adapter | None:
    """Whose defaults a side takes: its own adapter's, else the other's, else those that ready videos tell of."""
    if side.adapter and other.adapter and "model" not in side.adapter.defaults:
        return replace(side.adapter, defaults={**other.adapter.defaults, **side.adapter.defaults})
    return side.adapter or other.adapter or describe_videos(side) or describe_videos(other)


def describe_videos(side: Contestant) -> Adapter | None:
    """The model and the U-Net file that a folder's first video says it was made by, as an adapter's defaults."""
    if side.folder is None:
        return None
    metadata = read_video(list_videos(side.folder)[0]).metadata
    values = {name: metadata.get(name) for name in ("model", "unet")}
    defaults = {name: value for name, value in values.items() if isinstance(value, str)}
    return Adapter(side.folder, side.name, defaults) if "model" in defaults else None


def default_prompts(a: Contestant, b: Contestant, model: str) -> list[str]:
    """The held-out prompts of the run that is compared, else those that the model brings.

    Raises:
        UsageError: there are none.
    """
    for side in (b, a):
        heldout = side.adapter.heldout if side.adapter else None
        if heldout and heldout.is_file() and heldout.read_text(encoding="utf-8").strip():
            return read_prompts(heldout)
    own = heldout_prompts_path(model)
    if own is None:
        raise UsageError("no prompts to compare on: give them by --prompts")
    return read_prompts(own)


def read_clips(folder: Path, prompts: Sequence[str] | None) -> list[Clip]:
    """A folder's videos; with prompts only those that say one of them.

    Raises:
        IvideoError: a video that cannot be read, or none of the prompts.
    """
    clips = []
    for path in list_videos(folder):
        video = read_video(path)
        prompt, seed = video.metadata.get("prompt"), video.metadata.get("seed")
        known_prompt = prompt if isinstance(prompt, str) and prompt.strip() else None
        known_seed = seed if isinstance(seed, int) else None
        if prompts is None or known_prompt in prompts:
            clips.append(Clip(path.name, known_prompt, known_seed, video.frames, video.fps))
    if not clips:
        raise IvideoError(f"{folder} has no video of the given prompts")
    return clips


def make_clips(
    side: Contestant,
    settings: GenerationSettings,
    wanted: Sequence[tuple[str, int]],
    progress: Progress,
    model: TextToVideoModel,
) -> list[Clip]:
    """A model's clip of each prompt and seed."""
    warn_of_prompts(model, list(dict.fromkeys(prompt for prompt, _ in wanted)), progress)
    progress.start(f"videos of {side.name}", len(wanted))
    clips = []
    for prompt, seed in wanted:
        clips.append(Clip(prompt, prompt, seed, generate_clip(model, settings, prompt, seed), settings.fps))
        progress.advance()
    return clips


def pair_clips(a: Sequence[Clip], b: Sequence[Clip], names: tuple[str, str]) -> list[tuple[Clip, Clip]]:
    """The clips that both sides have, by prompt and seed where both say them, else by file name.

    Raises:
        IvideoError: none, or a pair that says its prompt on neither side.
    """
    by_key = pair_by({clip.key: clip for clip in a if clip.key}, {clip.key: clip for clip in b if clip.key})
    by_name = pair_by({Path(clip.name).stem: clip for clip in a}, {Path(clip.name).stem: clip for clip in b})
    pairs = by_key or by_name
    if not pairs:
        raise IvideoError(f"{names[0]} and {names[1]} share no video: they pair by prompt and seed, else by file name")
    for clip_a, clip_b in pairs:
        if not (clip_a.prompt or clip_b.prompt):
            raise IvideoError(f"video {clip_a.name} says its prompt on neither side; it cannot be scored")
    return [(replace(x, prompt=x.prompt or y.prompt), replace(y, prompt=y.prompt or x.prompt)) for x, y in pairs]


def pair_by(a: Mapping[Any, Clip], b: Mapping[Any, Clip]) -> list[tuple[Clip, Clip]]:
    """The clips whose keys both have, in A's order."""
    return [(clip, b[key]) for key, clip in a.items() if key in b]
