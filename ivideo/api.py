"""The four commands as functions, for notebooks and scripts, and two that take adapters out of `ivideo`.

Settings are keyword arguments with the flags' names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_args

from ivideo.config.settings import DtypeName, FinetuneSettings, GenerationSettings, Settings
from ivideo.errors import UsageError
from ivideo.workflows.progress import Progress, Silence
from ivideo.workflows.resolve import Adapter, adapter_of_unet, find_adapter, resolve_settings

# Each function imports its own workflow: making a video does not wait for the plots of a training.
if TYPE_CHECKING:
    from ivideo.workflows.generate import GeneratedVideo

PathLike = str | Path
T = TypeVar("T")


def finetune(
    prompts: Sequence[str] | None = None,
    output: PathLike | None = None,
    *,
    resume: PathLike | None = None,
    heldout: Sequence[str] | None = None,
    clips: PathLike | None = None,
    config: PathLike | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> Path:
    """Train a LoRA that raises the judge's score on clips of the prompts.

    Args:
        prompts: what to train on; the base model generates each prompt's clip once. A resumed run knows its own.
        output: folder of the run, new or empty; default: runs/DATE_TIME, or that of the resumed run.
        resume: the run to go on with (or one of its checkpoints), or `auto`: the one in `output`, else the unfinished
            one under runs/ that was started last, else a new one.
        heldout: prompts of the before / after; default: those that a bundled model brings, else a tenth of `prompts`.
        clips: an earlier run whose base clips are taken over where prompts and settings agree.
        config: TOML file of settings.
        progress: is told what happens; default: nobody.
        settings: fields of `FinetuneSettings` (model, strength, learning_rate, ...), and `preset`. A resumed run takes
            only those that leave what it computes as it is.

    Returns:
        The run's folder; `generate` and `compare` take it.

    Raises:
        IvideoError: bad input; its message is one line.
        Interrupted: SIGINT or SIGTERM came; the run can be resumed.
    """
    from ivideo.workflows import finetune as workflow
    from ivideo.workflows import resume as resumable

    progress = progress or Silence()
    found = resumable.find_resumable(resume, _path(output), progress) if resume is not None else None
    if found is not None:
        own = resumable.resumed_settings(found.run, settings, _path(config))
        resumable.check_same_prompts(found.run, own, prompts, heldout)
        return workflow.go_on(found, own, progress=progress).root
    if prompts is None:
        raise UsageError("PROMPTS are missing: a file with a prompt a line, or --resume RUN to go on with a run")
    folder = _path(output) or resumable.RUNS / f"{datetime.now():%Y-%m-%d_%H-%M-%S}"
    resolved = resolve_settings(FinetuneSettings, config=_path(config), flags=settings, progress=progress)
    return workflow.finetune(prompts, folder, resolved, heldout=heldout, clips=_path(clips), progress=progress).root


def generate(
    prompts: Sequence[str] | str,
    output: PathLike = "videos",
    *,
    lora: PathLike | None = None,
    lora_scale: float | None = None,
    num_videos: int = 1,
    with_score: bool = False,
    each: Callable[[GeneratedVideo], object] | None = None,
    config: PathLike | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> list[Path]:
    """Make videos of prompts.

    Args:
        prompts: one prompt or several.
        output: a folder, or a .mp4 / .gif for a single video.
        lora: run folder, PEFT adapter folder, or file of the authors; default: what the file `unet` brings.
        lora_scale: multiplies the adapter's effect, 1 by default; 0 is the base model.
        num_videos: videos a prompt; video k uses seed + k.
        with_score: whether the judge (`reward`) scores each video, for `each` to see.
        each: gets each video (path, prompt, seed, score) as soon as it is written.
        config: TOML file of settings.
        progress: is told what happens; default: nobody.
        settings: fields of `GenerationSettings`.

    Returns:
        The files, in order.

    Raises:
        IvideoError: bad input; its message is one line.
    """
    from ivideo.workflows import generate as workflow

    progress = progress or Silence()
    adapter = find_adapter(Path(lora), _scale(lora_scale)) if lora is not None else None
    resolved = resolve_settings(
        GenerationSettings, config=_path(config), flags=settings, progress=progress, adapter=adapter
    )
    adapter = adapter or adapter_of_unet(resolved, _scale(lora_scale))
    if adapter is None and lora_scale is not None:
        raise UsageError("--lora-scale without --lora: there is no adapter to scale")
    texts = [prompts] if isinstance(prompts, str) else prompts
    videos = workflow.generate(
        texts,
        Path(output),
        resolved,
        adapter=adapter,
        num_videos=num_videos,
        with_score=with_score,
        progress=progress,
    )
    return [video.path for video in _collect(videos, each)]


def score(
    paths: Sequence[PathLike] | PathLike,
    *,
    prompt: str | None = None,
    each: Callable[[dict[str, Any]], object] | None = None,
    config: PathLike | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> list[dict[str, Any]]:
    """Score video files.

    Args:
        paths: one file or several.
        prompt: what all of them should show; default: what each says of itself.
        each: gets each record as soon as it is known.
        config: TOML file of settings.
        progress: is told what happens; default: nobody.
        settings: fields of `Settings`.

    Returns:
        One record a file, with the fields that `ivideo score` prints.

    Raises:
        IvideoError: bad input; its message is one line.
    """
    from ivideo.workflows import score as workflow

    progress = progress or Silence()
    files = [Path(paths)] if isinstance(paths, str | Path) else [Path(path) for path in paths]
    videos = workflow.find_videos(files, prompt)
    resolved = resolve_settings(
        Settings, config=_path(config), flags=settings, progress=progress, model_hint=videos[0].model
    )
    return _collect(workflow.score(videos, resolved, progress=progress), each)


def compare(
    a: PathLike,
    b: PathLike,
    *,
    prompts: Sequence[str] | None = None,
    output: PathLike | None = None,
    lora_scale: float | None = None,
    config: PathLike | None = None,
    progress: Progress | None = None,
    **settings: Any,
) -> dict[str, Any]:
    """Compare two contestants (model, `base`, run folder, file of the authors, or folder of videos), B against A.

    Args:
        a: the one to beat.
        b: the other.
        prompts: what to generate; default: the run's held-out prompts.
        output: folder for side-by-side videos, contact sheet and results.json.
        lora_scale: multiplies the effect of adapters, 1 by default.
        config: TOML file of settings.
        progress: is told what happens; default: nobody.
        settings: fields of `GenerationSettings`.

    Returns:
        Paired statistics and rows, as `ivideo compare --format json` prints them.

    Raises:
        IvideoError: bad input; its message is one line.
    """
    from ivideo.workflows import compare as workflow
    from ivideo.workflows.contestants import find_contestant, settle_sides

    progress = progress or Silence()
    first, second = (find_contestant(str(name), _scale(lora_scale)) for name in (a, b))
    if lora_scale is not None and not (first.adapter or second.adapter):
        raise UsageError("--lora-scale without a run or adapter: there is nothing to scale")
    sides = settle_sides(first, second, config=_path(config), flags=settings, progress=progress)
    return workflow.compare(first, second, sides, prompts=prompts, output=_path(output), progress=progress)


def save_adapter(
    adapter: PathLike, output: PathLike, *, model: str | None = None, unet: PathLike | None = None
) -> Path:
    """Write an adapter in PEFT's format: `PeftModel.from_pretrained(unet, output)` loads it.

    Args:
        adapter: run folder, PEFT adapter folder, or a file of the authors that brings a LoRA.
        output: folder, new or empty.
        model: the model that it is for; default: the one that the adapter names.
        unet: the authors' file that the model's U-Net comes from; default: the one that the adapter names.

    Returns:
        The folder.

    Raises:
        IvideoError: bad input; its message is one line.
    """
    from ivideo.workflows import export as workflow

    found = find_adapter(Path(adapter))
    return workflow.save_adapter(found, Path(output), _settings_of(found, model, unet))


def merge_adapter(
    adapter: PathLike,
    output: PathLike,
    *,
    model: str | None = None,
    unet: PathLike | None = None,
    lora_scale: float | None = None,
    dtype: str = "float32",
) -> Path:
    """Write a model with an adapter merged into its U-Net, as a diffusers folder that needs no `ivideo` to run.

    Args:
        adapter: run folder, PEFT adapter folder, or a file of the authors that brings a LoRA.
        output: folder, new or empty; gets the whole pipeline.
        model: the model that it is for; default: the one that the adapter names.
        unet: the authors' file that the model's U-Net comes from; default: the one that the adapter names.
        lora_scale: multiplies the adapter's effect, 1 by default; 0 writes the base.
        dtype: of the U-Net's weights: float32, bfloat16 or float16. They are merged in float32.

    Returns:
        The folder.

    Raises:
        IvideoError: bad input; its message is one line.
    """
    import torch

    from ivideo.models.registry import choose_dtype
    from ivideo.workflows import export as workflow

    names = [name for name in get_args(DtypeName) if name != "auto"]
    if dtype not in names:
        raise UsageError(f"--dtype {dtype}: one of {', '.join(names)}")
    found = find_adapter(Path(adapter), _scale(lora_scale))
    wanted = choose_dtype(dtype, torch.device("cpu"))
    return workflow.merge_adapter(found, Path(output), _settings_of(found, model, unet), wanted)


def _settings_of(adapter: Adapter, model: str | None, unet: PathLike | None) -> GenerationSettings:
    flags = {"model": model, "unet": None if unet is None else str(unet)}
    return resolve_settings(GenerationSettings, config=None, flags=flags, progress=Silence(), adapter=adapter)


def _path(value: PathLike | None) -> Path | None:
    return None if value is None else Path(value)


def _scale(value: float | None) -> float:
    return 1.0 if value is None else value


def _collect(items: Iterable[T], each: Callable[[T], object] | None) -> list[T]:
    collected = []
    for item in items:
        collected.append(item)
        if each is not None:
            each(item)
    return collected
