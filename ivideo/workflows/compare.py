"""`ivideo compare`: two contestants on the same prompts and seeds, with paired statistics."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ivideo.config.settings import GenerationSettings
from ivideo.errors import IvideoError, UsageError
from ivideo.io.files import prepare_folder, write_json
from ivideo.io.panels import annotate, contact_sheet, enlarge, stack_side_by_side, write_png
from ivideo.io.prompts import read_prompts
from ivideo.io.video import read_video, write_video
from ivideo.metrics.statistics import group_by_prompt, paired_difference
from ivideo.models.judges import Judge, load_judge
from ivideo.models.registry import MODEL_SOURCES, choose_device, heldout_prompts_path
from ivideo.workflows.generate import VIDEO_SUFFIXES, file_stem
from ivideo.workflows.generation import generate_clip, open_model
from ivideo.workflows.progress import Progress, Silence
from ivideo.workflows.resolve import Adapter, find_adapter
from ivideo.workflows.scoring import ClipScore, score_clip

SCHEMA_VERSION = 1
BASE = "base"
METRICS = ("reward", "attenuated_reward", "motion", "flicker")
NUM_SHEET_ROWS = 12


@dataclass(frozen=True)
class Contestant:
    """One side of a comparison: a folder of ready videos, or a model with or without an adapter.

    Attributes:
        name: as it was asked for.
        folder: of ready videos; None for a model.
        model: model name; None for a folder, and for `base`, which takes the other side's.
        adapter: its adapter.
    """

    name: str
    folder: Path | None = None
    model: str | None = None
    adapter: Adapter | None = None


@dataclass(frozen=True)
class Clip:
    """One video of a contestant; `key` pairs it with the other side's."""

    key: tuple[str, str]
    prompt: str
    frames: np.ndarray
    fps: float


def find_contestant(name: str) -> Contestant:
    """What a name means: `base`, a model, a run or adapter folder, or a folder of videos.

    Raises:
        IvideoError: a folder with nothing of the kind, or nothing there.
    """
    path = Path(name)
    if name == BASE:
        return Contestant(name)
    if name in MODEL_SOURCES or not path.exists():
        if name not in MODEL_SOURCES and (name.count("/") != 1 or name.startswith((".", "~", "/"))):
            raise UsageError(f"{name}: neither a folder nor a known model ({', '.join(MODEL_SOURCES)}) nor a hub id")
        return Contestant(name, model=name)
    if not path.is_dir():
        raise UsageError(f"{name} is a file; compare takes models, runs and folders of videos")
    if (path / "model_index.json").is_file():
        return Contestant(name, model=name)
    if list_videos(path):
        return Contestant(name, folder=path)
    if not any(path.iterdir()):
        raise IvideoError(f"{name} is empty: no run, no adapter, no model, no videos")
    adapter = find_adapter(path)
    return Contestant(name, model=adapter.defaults.get("model"), adapter=adapter)


def list_videos(folder: Path) -> list[Path]:
    """The videos that lie in a folder, by name."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in VIDEO_SUFFIXES)


def default_prompts(a: Contestant, b: Contestant, settings: GenerationSettings) -> list[str]:
    """The held-out prompts of the run that is compared, else those that the model brings.

    Raises:
        UsageError: there are none.
    """
    for side in (b, a):
        if side.adapter and side.adapter.heldout and side.adapter.heldout.is_file():
            if side.adapter.heldout.read_text().strip():
                return read_prompts(side.adapter.heldout)
    own = heldout_prompts_path(settings.model)
    if own is None:
        raise UsageError("no prompts to compare on: give them by --prompts")
    return read_prompts(own)


def compare(
    a: Contestant,
    b: Contestant,
    settings: GenerationSettings,
    *,
    prompts: Sequence[str] | None = None,
    output: Path | None = None,
    lora_scale: float = 1.0,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Compare two contestants, B against A.

    Models make one clip a prompt, prompt i with seed + i; folders bring theirs, paired by prompt and seed, else by
    file name.

    Args:
        a: from `find_contestant`.
        b: likewise.
        settings: how clips are made and scored; `model` is what `base` means.
        prompts: what to generate; default: `default_prompts`.
        output: folder for side-by-side videos, contact sheet and results.json.
        lora_scale: multiplies the effect of adapters.
        progress: is told what happens.

    Returns:
        schema_version, a, b, judge, metrics {name: mean_a, mean_b, difference, ci_low, ci_high, win_share, n} and
        rows [{prompt, seed, a: {...}, b: {...}}].

    Raises:
        IvideoError: nothing to pair, or bad input.
    """
    progress = progress or Silence()
    if output is not None:
        prepare_folder(output)
    judge = load_judge(settings.reward, choose_device(settings.device))
    if prompts is None and not (a.folder and b.folder):
        prompts = prompts_of_folder(a.folder or b.folder) or default_prompts(a, b, settings)
    sides = [collect(side, settings, prompts or [], lora_scale, progress) for side in (a, b)]
    pairs = pair_clips(*sides, names=(a.name, b.name))
    score = scorer(judge, settings)
    progress.start("scoring", len(pairs))
    rows, scores = [], []
    for clip_a, clip_b in pairs:
        scores.append((score(clip_a), score(clip_b)))
        progress.advance()
        rows.append({"prompt": clip_a.prompt, "seed": clip_a.key[1], **score_columns(*scores[-1])})
    result = {
        "schema_version": SCHEMA_VERSION,
        "a": a.name,
        "b": b.name,
        "judge": judge.label,
        "settings": settings.model_dump(),
        "metrics": compare_scores([clip.prompt for clip, _ in pairs], scores),
        "rows": rows,
    }
    if output is not None:
        write_pictures(output, pairs, scores, (a.name, b.name))
        write_json(output / "results.json", result)
    return result


def prompts_of_folder(folder: Path | None) -> list[str] | None:
    """The prompts that a folder's videos say of themselves, or None."""
    if folder is None:
        return None
    prompts = [read_video(path).metadata.get("prompt") for path in list_videos(folder)]
    return list(dict.fromkeys(prompt for prompt in prompts if isinstance(prompt, str))) or None


def collect(
    side: Contestant, settings: GenerationSettings, prompts: Sequence[str], lora_scale: float, progress: Progress
) -> dict[tuple[str, str], Clip]:
    """All clips of one side by their keys."""
    if side.folder is not None:
        return collect_folder(side.folder)
    own = settings if side.model in (None, settings.model) else settings.model_copy(update={"model": side.model})
    model = open_model(own, side.adapter.folder if side.adapter else None, lora_scale)
    progress.start(f"videos of {side.name}", len(prompts))
    clips = {}
    for index, prompt in enumerate(prompts):
        seed = settings.seed + index
        clips[prompt, str(seed)] = Clip((prompt, str(seed)), prompt, generate_clip(model, own, prompt, seed), own.fps)
        progress.advance()
    return clips


def collect_folder(folder: Path) -> dict[tuple[str, str], Clip]:
    """A folder's videos, keyed by prompt and seed where they say both, else by file name."""
    clips = {}
    for path in list_videos(folder):
        video = read_video(path)
        prompt, seed = video.metadata.get("prompt"), video.metadata.get("seed")
        known = isinstance(prompt, str) and seed is not None
        key = (prompt, str(seed)) if known else (path.stem, "")
        clips[key] = Clip(key, prompt if isinstance(prompt, str) else "", video.frames, video.fps)
    return clips


def pair_clips(
    a: Mapping[tuple[str, str], Clip], b: Mapping[tuple[str, str], Clip], *, names: tuple[str, str]
) -> list[tuple[Clip, Clip]]:
    """The clips that both sides have.

    Raises:
        IvideoError: none, or a pair that does not say its prompt.
    """
    shared = [key for key in a if key in b]
    if not shared:
        raise IvideoError(f"{names[0]} and {names[1]} share no video: they pair by prompt and seed, else by file name")
    pairs = [(a[key], b[key]) for key in shared]
    for clip_a, clip_b in pairs:
        if not (clip_a.prompt or clip_b.prompt):
            raise IvideoError(f"video {clip_a.key[0]!r} says its prompt on neither side; it cannot be scored")
    return [(with_prompt(x, y.prompt), with_prompt(y, x.prompt)) for x, y in pairs]


def with_prompt(clip: Clip, other: str) -> Clip:
    """The clip with its own prompt, else the other side's."""
    return clip if clip.prompt else Clip(clip.key, other, clip.frames, clip.fps)


def scorer(judge: Judge, settings: GenerationSettings) -> Callable[[Clip], ClipScore]:
    """The scoring of one clip under the settings."""

    def score(clip: Clip) -> ClipScore:
        return score_clip(
            judge,
            clip.frames,
            clip.prompt,
            num_segments=settings.num_segments,
            attenuation_rate=settings.attenuation_rate,
        )

    return score


def score_columns(a: ClipScore, b: ClipScore) -> dict[str, dict[str, Any]]:
    """Both sides' metrics of one row."""
    return {name: {m: getattr(score, m) for m in METRICS} for name, score in (("a", a), ("b", b))}


def compare_scores(
    prompts: Sequence[str], scores: Sequence[tuple[ClipScore, ClipScore]]
) -> dict[str, dict[str, float]]:
    """Each metric's paired change; several seeds of a prompt count as one observation."""
    metrics = {}
    for metric in METRICS:
        a = group_by_prompt(prompts, [getattr(score, metric) for score, _ in scores])
        b = group_by_prompt(prompts, [getattr(score, metric) for _, score in scores])
        metrics[metric] = asdict(paired_difference(a, b))
    return metrics


def write_pictures(
    output: Path,
    pairs: Sequence[tuple[Clip, Clip]],
    scores: Sequence[tuple[ClipScore, ClipScore]],
    names: tuple[str, str],
) -> None:
    """A side-by-side mp4 a pair, and one sheet of the first pairs."""
    for index, (clips, rewards) in enumerate(zip(pairs, scores, strict=True)):
        panels = []
        for name, clip, score in zip(names, clips, rewards, strict=True):
            factor = max(1, 256 // clip.frames.shape[1])
            panels.append(annotate(enlarge(clip.frames, factor), f"{Path(name).name}: {score.reward:.3f}"))
        stem = f"{index:03d}_{file_stem(clips[0].prompt)}"
        about = {"prompt": clips[0].prompt, "a": names[0], "b": names[1]}
        write_video(output / f"{stem}.mp4", stack_side_by_side(panels), clips[0].fps, about)
    sheet_rows = [(x.prompt, [x.frames, y.frames]) for x, y in pairs[:NUM_SHEET_ROWS]]
    write_png(output / "contact_sheet.png", contact_sheet(sheet_rows, list(names)))
