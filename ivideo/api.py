"""The four commands as functions, for notebooks and scripts; settings are keyword arguments with the flags' names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ivideo.config.settings import FinetuneSettings, GenerationSettings, Settings
from ivideo.workflows import compare as compare_workflow
from ivideo.workflows import finetune as finetune_workflow
from ivideo.workflows import generate as generate_workflow
from ivideo.workflows import score as score_workflow
from ivideo.workflows.progress import Progress, Silence
from ivideo.workflows.resolve import find_adapter, resolve_settings

PathLike = str | Path


def finetune(
    prompts: Sequence[str],
    output: PathLike,
    *,
    heldout: Sequence[str] | None = None,
    config: PathLike | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> Path:
    """Train a LoRA that raises the judge's score on clips of the prompts.

    Args:
        prompts: what to train on; the base model generates each prompt's clip once.
        output: folder of the run, new or empty.
        heldout: prompts of the before / after; default: those that a bundled model brings, else a tenth of `prompts`.
        config: TOML file of settings.
        progress: is told what happens; default: nobody.
        settings: fields of `FinetuneSettings` (model, strength, learning_rate, ...), and `preset`.

    Returns:
        The run's folder; `generate` and `compare` take it.

    Raises:
        IvideoError: bad input; its message is one line.
    """
    progress = progress or Silence()
    resolved = resolve_settings(
        FinetuneSettings, config=_path(config), flags=settings, progress=progress
    )
    run = finetune_workflow.finetune(prompts, Path(output), resolved, heldout=heldout, progress=progress)
    return run.root


def generate(
    prompts: Sequence[str] | str,
    output: PathLike = "videos",
    *,
    lora: PathLike | None = None,
    lora_scale: float = 1.0,
    num_videos: int = 1,
    config: PathLike | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> list[Path]:
    """Make videos of prompts.

    Args:
        prompts: one prompt or several.
        output: a folder, or a .mp4 / .gif for a single video.
        lora: run folder or PEFT adapter folder.
        lora_scale: multiplies the adapter's effect; 0 is the base model.
        num_videos: videos a prompt; video k uses seed + k.
        config: TOML file of settings.
        progress: is told what happens; default: nobody.
        settings: fields of `GenerationSettings`.

    Returns:
        The files, in order.

    Raises:
        IvideoError: bad input; its message is one line.
    """
    progress = progress or Silence()
    adapter = find_adapter(Path(lora)) if lora is not None else None
    resolved = resolve_settings(
        GenerationSettings, config=_path(config), flags=settings, progress=progress, adapter=adapter
    )
    texts = [prompts] if isinstance(prompts, str) else prompts
    return list(
        generate_workflow.generate(
            texts,
            Path(output),
            resolved,
            adapter=adapter,
            lora_scale=lora_scale,
            num_videos=num_videos,
            progress=progress,
        )
    )


def score(
    paths: Sequence[PathLike] | PathLike,
    *,
    prompt: str | None = None,
    config: PathLike | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> list[dict[str, Any]]:
    """Score video files.

    Args:
        paths: one file or several.
        prompt: what all of them should show; default: what each says of itself.
        config: TOML file of settings.
        progress: is told what happens; default: nobody.
        settings: fields of `Settings`.

    Returns:
        One record a file, with the fields that `ivideo score` prints.

    Raises:
        IvideoError: bad input; its message is one line.
    """
    progress = progress or Silence()
    files = [Path(paths)] if isinstance(paths, (str, Path)) else [Path(path) for path in paths]
    hint = score_workflow.hint_model(files[0]) if files else None
    resolved = resolve_settings(
        Settings, config=_path(config), flags=settings, progress=progress, model_hint=hint
    )
    return list(score_workflow.score(files, resolved, prompt=prompt, progress=progress))


def compare(
    a: PathLike,
    b: PathLike,
    *,
    prompts: Sequence[str] | None = None,
    output: PathLike | None = None,
    lora_scale: float = 1.0,
    config: PathLike | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> dict[str, Any]:
    """Compare two contestants (model, `base`, run folder, or folder of videos), B against A.

    Args:
        a: the one to beat.
        b: the other.
        prompts: what to generate; default: the run's held-out prompts.
        output: folder for side-by-side videos, contact sheet and results.json.
        lora_scale: multiplies the effect of adapters.
        config: TOML file of settings.
        progress: is told what happens; default: nobody.
        settings: fields of `GenerationSettings`.

    Returns:
        Paired statistics and rows, as `ivideo compare --format json` prints them.

    Raises:
        IvideoError: bad input; its message is one line.
    """
    progress = progress or Silence()
    sides = [compare_workflow.find_contestant(str(name)) for name in (a, b)]
    adapter = next((side.adapter for side in reversed(sides) if side.adapter), None)
    hint = next((side.model for side in sides if side.model), None)
    resolved = resolve_settings(
        GenerationSettings,
        config=_path(config),
        flags=settings,
        progress=progress,
        adapter=adapter,
        model_hint=hint,
    )
    return compare_workflow.compare(
        sides[0],
        sides[1],
        resolved,
        prompts=prompts,
        output=_path(output),
        lora_scale=lora_scale,
        progress=progress,
    )


def _path(value: PathLike | None) -> Path | None:
    return None if value is None else Path(value)
