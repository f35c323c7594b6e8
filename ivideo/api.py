"""The four commands as functions, for notebooks and scripts, and two that take adapters out of `ivideo`.

Settings are keyword arguments with the fields' names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Unpack, get_args

from ivideo.config.keywords import FinetuneKeywords, GenerationKeywords, ScoreKeywords
from ivideo.config.parts import DtypeName, FamilyKeywords
from ivideo.config.presets import PresetName
from ivideo.config.settings import FinetuneSettings, GenerationSettings, ScoreSettings
from ivideo.errors import UsageError
from ivideo.inputs.adapters import Adapter, adapter_of_weights_file, find_adapter
from ivideo.inputs.prompts import Prompt, own_of, read_argument, read_prompts
from ivideo.inputs.settings import resolve_settings
from ivideo.launch import ALONE, Launch
from ivideo.progress import Progress, Silence

# Each function imports its own workflow: making a video does not wait for the plots of a training.
if TYPE_CHECKING:
    from ivideo.generating import GeneratedVideo
    from ivideo.inputs.clip_lists import CaptionKind, Source

PathLike = str | Path
ScorePath = PathLike | tuple[PathLike, str | None]
T = TypeVar("T")


def finetune(
    prompts: Source | Iterable[tuple[PathLike, str]] | PathLike | None = None,
    output: PathLike | None = None,
    *,
    videos: PathLike | None = None,
    captions: CaptionKind = "whole",
    resume: PathLike | None = None,
    heldout: Sequence[str] | Path | None = None,
    clips: PathLike | None = None,
    preset: PresetName | None = None,
    config: PathLike | None = None,
    progress: Progress | None = None,
    **settings: Unpack[FinetuneKeywords],
) -> Path:
    """Train a LoRA that raises the reward of the prompts' clips.

    Args:
        prompts: what to train on: prompts, and the base model generates each one's clip once; pairs (video, caption);
            or the path of a list of either, in any form that the command takes. A resumed run knows its own.
        output: folder of the run, new or empty; default: runs/DATE_TIME, or that of the resumed run.
        videos: folder that the videos' paths start at; default: that of the list, for pairs the current one.
        captions: how the file beside a video in a folder is read: `whole`, `lines` (a caption each) or `json` (one, or
            a list); of several captions each step draws one.
        resume: the run to go on with (or one of its checkpoints), or `auto`: the one in `output`, else the unfinished
            one under runs/ that was started last, else a new one.
        heldout: prompts of the before / after, or the `Path` of a file with them; default: those that a bundled model
            brings, else a tenth of `prompts`.
        clips: an earlier run whose base clips are taken over where prompts and settings agree.
        preset: which of the model's defaults; `quick` is shorter.
        config: TOML file of settings.
        progress: is told what happens; default: nobody.
        settings: fields of `FinetuneSettings` (model, strength, learning_rate, ...). A resumed run takes only those
            that leave what it computes as it is.

    Returns:
        The run's folder; `generate` and `compare` take it.

    Raises:
        IvideoError: bad input; its message is one line.
        Interrupted: SIGINT, SIGTERM, SIGUSR1 or SIGUSR2 came; the run can be resumed.
    """
    from ivideo.inputs.clip_lists import gather_source
    from ivideo.models.memory import explain_out_of_memory
    from ivideo.training import resume as resumable
    from ivideo.training import run as workflow

    progress = progress or Silence()
    heldout = _prompts(heldout, progress)
    flags = {**settings, "preset": preset}
    source = None if prompts is None else gather_source(prompts, _path(videos), captions, progress)
    found = resumable.find_resumable(resume, _path(output), progress) if resume is not None else None
    if found is not None:
        own = resumable.resumed_settings(found.run, flags, _path(config))
        resumable.check_same_prompts(found.run, own, source, heldout)
        with explain_out_of_memory(own):
            return workflow.go_on(found, own, progress=progress).root
    if source is None:
        raise UsageError("`prompts` are missing: a file with a prompt a line, or `resume` RUN to go on with a run")
    folder = _path(output) or resumable.RUNS / f"{datetime.now():%Y-%m-%d_%H-%M-%S}"
    resolved = resolve_settings(FinetuneSettings, config=_path(config), flags=flags, progress=progress)
    with explain_out_of_memory(resolved):
        return workflow.finetune(source, folder, resolved, heldout=heldout, clips=_path(clips), progress=progress).root


def generate(
    prompts: Sequence[str] | str | Path,
    output: PathLike = "videos",
    *,
    lora: PathLike | None = None,
    lora_scale: float | None = None,
    num_videos: int = 1,
    with_score: bool = False,
    overwrite: bool = False,
    each: Callable[[GeneratedVideo], object] | None = None,
    config: PathLike | None = None,
    progress: Progress | None = None,
    launch: Launch = ALONE,
    **settings: Unpack[GenerationKeywords],
) -> list[Path]:
    """Make videos of prompts and give their files, in order.

    Args:
        prompts: one prompt or several, or the `Path` of a file with them. A `Prompt` may bring a negative prompt and a
            seed of its own.
        output: a folder, or a .mp4 / .gif for a single video.
        lora: run folder, PEFT folder, or a file of any program; default: the one that a file of weights brings.
        lora_scale: multiplies the adapter's effect, 1 by default; 0 is the base model.
        num_videos: videos a prompt; video k uses seed + k.
        with_score: whether `reward` scores each video, for `each` to see.
        overwrite: whether videos that are there make way. Default: equal ones are kept, and others keep their names.
        each: gets each video (path, prompt, seed, score) as soon as it is written.
        config: TOML file of settings.
        progress: is told what happens; default: nobody.
        launch: the processes that share the work, from `ivideo.launch.joined`; default: this one alone.
        settings: fields of `GenerationSettings`.

    Raises:
        IvideoError: bad input; its message is one line.
    """
    from ivideo import generating as workflow
    from ivideo.models.memory import explain_out_of_memory

    progress = progress or Silence()
    adapter = find_adapter(Path(lora), _scale(lora_scale)) if lora is not None else None
    resolved = resolve_settings(
        GenerationSettings, config=_path(config), flags=settings, progress=progress, adapter=adapter
    )
    adapter = adapter or adapter_of_weights_file(resolved, _scale(lora_scale))
    if adapter is None and lora_scale is not None:
        raise UsageError("`lora_scale` without `lora`: there is no adapter to scale")
    texts = _prompts(prompts, progress)
    assert texts is not None
    with explain_out_of_memory(resolved):
        videos = workflow.generate(
            texts,
            Path(output),
            resolved,
            adapter=adapter,
            num_videos=num_videos,
            with_score=with_score,
            overwrite=overwrite,
            progress=progress,
            launch=launch,
        )
        return [video.path for video in _collect(videos, each)]


def score(
    paths: Sequence[ScorePath] | PathLike,
    *,
    prompt: str | None = None,
    captions: PathLike | None = None,
    output: PathLike | None = None,
    overwrite: bool = False,
    each: Callable[[dict[str, Any]], object] | None = None,
    config: PathLike | None = None,
    progress: Progress | None = None,
    launch: Launch = ALONE,
    **settings: Unpack[ScoreKeywords],
) -> list[dict[str, Any]]:
    """Score videos.

    Args:
        paths: what to score, one or several: files, folders of frames, folders of videos, and patterns such as
            "videos/*.webm", each by itself or as (path, what its videos should show).
        prompt: what all of them should show; default: what is given beside the path, else what `captions` has for its
            name, else what each says of itself or the `.json` or `.txt` beside it says, else its name as VBench has it.
        captions: JSON file of an object of names and prompts: {"1.mp4": "a cat"}.
        output: .jsonl that gets the records, too; a later call with it scores only the videos that are missing there.
        overwrite: whether an output that is there makes way.
        each: gets each record as soon as it is known.
        config: TOML file of settings.
        progress: is told what happens; default: nobody.
        launch: the processes that share the work, from `ivideo.launch.joined`; default: this one alone.
        settings: fields of `ScoreSettings`.

    Returns:
        One record a video, with the fields that `ivideo score` prints; where `error` is not None it could not be
        scored, and its numbers are None.

    Raises:
        IvideoError: bad input other than a bad video; its message is one line.
    """
    records = iterate_scores(
        paths,
        prompt=prompt,
        captions=captions,
        output=output,
        overwrite=overwrite,
        config=config,
        progress=progress,
        launch=launch,
        **settings,
    )
    return _collect(records, each)


def iterate_scores(
    paths: Sequence[ScorePath] | PathLike,
    *,
    prompt: str | None = None,
    captions: PathLike | None = None,
    output: PathLike | None = None,
    overwrite: bool = False,
    config: PathLike | None = None,
    progress: Progress | None = None,
    launch: Launch = ALONE,
    **settings: Unpack[ScoreKeywords],
) -> Iterator[dict[str, Any]]:
    """The records of `score`, one by one as soon as each is known; none is kept."""
    from ivideo.models.memory import explain_out_of_memory
    from ivideo.scoring import videos as workflow

    progress = progress or Silence()
    prompt = None if prompt is None else read_argument(prompt, "say the words, or list (path, prompt) pairs")
    several = [paths] if isinstance(paths, str | Path) else paths
    given = ((Path(path[0]), path[1]) if isinstance(path, tuple) else Path(path) for path in several)
    videos = launch.from_first(lambda: workflow.list_videos(given, prompt, _path(captions), progress))
    resolved = resolve_settings(
        ScoreSettings, config=_path(config), flags=settings, progress=progress, model_hint=workflow.find_model(videos)
    )
    with explain_out_of_memory(resolved):
        yield from workflow.score(
            videos, resolved, output=_path(output), overwrite=overwrite, progress=progress, launch=launch
        )


def compare(
    *candidates: PathLike,
    prompts: Sequence[str] | Path | None = None,
    num_seeds: int | None = None,
    captions: PathLike | None = None,
    output: PathLike | None = None,
    lora_scale: float | Sequence[float] | None = None,
    with_rating_page: bool = False,
    pairs: Literal["first", "all"] = "first",
    ratings: Sequence[PathLike] = (),
    config: PathLike | None = None,
    command: str | None = None,
    progress: Progress | None = None,
    launch: Launch = ALONE,
    **settings: Unpack[GenerationKeywords],
) -> dict[str, Any]:
    """Compare candidates (model, `base`, run folder, file of the authors, or folder of videos), each with the first.

    Args:
        candidates: two or more, the one to beat first.
        prompts: what to generate, or the `Path` of a file with it; default: the run's held-out prompts.
        num_seeds: clips a prompt, 1 by default; they count as one observation.
        captions: JSON file of prompts by names of ready videos: {"1.mp4": "a cat"}.
        output: folder for videos, pictures, results and report; videos that lie there already are not made again.
        lora_scale: multiplies the effect of adapters, 1 by default; with several each adapter takes part once a scale.
        with_rating_page: whether `rate.html` is written, on which people rate the clips blindly.
        pairs: which candidates meet on that page: each one the first, or `all` of them each other.
        ratings: what that page saved in an earlier call with this output: files, or folders of them.
        config: TOML file of settings.
        command: what results.json says was asked for; default: this call.
        progress: is told what happens; default: nobody.
        launch: the processes that share the work, from `ivideo.launch.joined`; default: this one alone.
        settings: fields of `GenerationSettings`.

    Returns:
        Statistics and rows, as `ivideo compare --format json` prints them.

    Raises:
        IvideoError: bad input; its message is one line.
    """
    from ivideo.comparing import compare as workflow
    from ivideo.comparing.candidates import find_candidates, settle_settings
    from ivideo.models.memory import explain_out_of_memory

    progress = progress or Silence()
    names = [str(name) for name in candidates]
    scales = [lora_scale] if isinstance(lora_scale, int | float) else lora_scale
    found = find_candidates(names, scales)
    settled = settle_settings(found, config=_path(config), flags=settings, progress=progress)
    with explain_out_of_memory(settled[1]):
        return workflow.compare(
            found,
            settled,
            prompts=_prompts(prompts, progress),
            num_seeds=num_seeds,
            captions=_path(captions),
            output=_path(output),
            with_rating_page=with_rating_page,
            pairs=pairs,
            ratings=[Path(path) for path in ratings],
            command=command or f"ivideo.compare({', '.join(map(repr, names))}, ...)",
            progress=progress,
            launch=launch,
        )


def save_adapter(
    adapter: PathLike,
    output: PathLike,
    *,
    model: str | None = None,
    progress: Progress | None = None,
    **weights: Unpack[FamilyKeywords],
) -> Path:
    """Write an adapter in PEFT's format: `PeftModel.from_pretrained(network, output)` loads it.

    Args:
        adapter: run folder, PEFT adapter folder, or a file with a LoRA of the authors or of other programs.
        output: folder, new or empty.
        model: the model that it is for; default: the one that the adapter names.
        progress: is told what is left out; default: nobody.
        weights: which weights of the network (see `FamilyPart`); default: those that the adapter names.

    Raises:
        IvideoError: bad input; its message is one line.
    """
    from ivideo.inputs import adapters as workflow

    found = find_adapter(Path(adapter))
    return workflow.save_adapter(found, Path(output), _settings_of(found, model, weights), progress)


def merge_adapter(
    adapter: PathLike,
    output: PathLike,
    *,
    model: str | None = None,
    lora_scale: float | None = None,
    dtype: str = "float32",
    progress: Progress | None = None,
    **weights: Unpack[FamilyKeywords],
) -> Path:
    """Write a model with an adapter merged into its network, as a diffusers folder that needs no `ivideo` to run.

    Args:
        adapter: run folder, PEFT adapter folder, or a file with a LoRA of the authors or of other programs.
        output: folder, new or empty; gets the whole pipeline.
        model: the model that it is for; default: the one that the adapter names.
        progress: is told what is left out; default: nobody.
        weights: which weights of the network (see `FamilyPart`); default: those that the adapter names.
        lora_scale: multiplies the adapter's effect, 1 by default; 0 writes the base.
        dtype: of the network's weights: float32, bfloat16 or float16. They are merged in float32.

    Raises:
        IvideoError: bad input; its message is one line.
    """
    import torch

    from ivideo.inputs import adapters as workflow
    from ivideo.models.devices import choose_dtype

    names = [name for name in get_args(DtypeName) if name != "auto"]
    if dtype not in names:
        raise UsageError(f"`dtype` {dtype}: one of {', '.join(names)}")
    found = find_adapter(Path(adapter), _scale(lora_scale))
    wanted = choose_dtype(dtype, torch.device("cpu"))
    return workflow.merge_adapter(found, Path(output), _settings_of(found, model, weights), wanted, progress)


def _settings_of(adapter: Adapter, model: str | None, weights: FamilyKeywords) -> GenerationSettings:
    flags = {"model": model, **{name: None if file is None else str(file) for name, file in weights.items()}}
    return resolve_settings(GenerationSettings, config=None, flags=flags, progress=Silence(), adapter=adapter)


def _prompts(given: Sequence[str] | str | Path | None, progress: Progress) -> Sequence[str] | None:
    if isinstance(given, Path):
        return read_prompts(given, progress)
    if isinstance(given, str):
        return [Prompt(read_argument(given, "give its `Path`"), **own_of(given))]
    return given


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
