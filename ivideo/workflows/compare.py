"""`ivideo compare`: two contestants on the same prompts and seeds, with paired statistics."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ivideo.config.settings import GenerationSettings
from ivideo.errors import IvideoError, UsageError
from ivideo.io.files import check_folder, write_json
from ivideo.io.panels import contact_sheet, label_clip, stack_side_by_side, write_png
from ivideo.io.video import check_video_format, write_video
from ivideo.models.judges import Judge, labels_of, load_judges
from ivideo.models.lora import adapter_off
from ivideo.models.registry import choose_device
from ivideo.workflows.contestants import Clip, Contestant, default_prompts, make_clips, pair_clips, read_clips
from ivideo.workflows.generate import file_stem
from ivideo.workflows.generation import open_model
from ivideo.workflows.progress import Progress, Silence
from ivideo.workflows.resolve import check_prompts
from ivideo.workflows.scoring import METRICS, ClipScore, check_num_frames, compare_rewards, compare_scores, score_clip

SCHEMA_VERSION = 1
NUM_SHEET_ROWS = 12

Pair = tuple[Clip, Clip]
Scores = tuple[ClipScore, ClipScore]


def compare(
    a: Contestant,
    b: Contestant,
    settings: tuple[GenerationSettings, GenerationSettings],
    *,
    prompts: Sequence[str] | None = None,
    output: Path | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Compare two contestants, B against A.

    Models make one clip a prompt, prompt i with seed + i, or the prompts and seeds of the folder that they are compared
    with; folders bring theirs, paired by prompt and seed, else by file name. B's settings say how both are scored.

    Args:
        a: from `find_contestant`.
        b: likewise.
        settings: of A and of B, from `settle_sides`.
        prompts: what to generate; default: `default_prompts`. Of folders: which videos to look at.
        output: folder for side-by-side videos, contact sheet and results.json.
        progress: is told what happens.

    Returns:
        schema_version, a, b, judge, judges, metrics {name: mean_a, mean_b, difference, ci_low, ci_high, win_share, n},
        rewards (the same by judge) and rows [{prompt, seed, a: {...}, b: {...}}].

    Raises:
        IvideoError: nothing to pair, or bad input.
    """
    progress = progress or Silence()
    if prompts is not None:
        check_prompts(prompts)
    check_output(output, a, b, settings)
    judge = load_judges(settings[1].rewards, choose_device(settings[1].device))
    pairs = pair_clips(*collect_clips(a, b, settings, prompts, progress), names=(a.name, b.name))
    scores = score_pairs(pairs, judge, settings[1], progress)
    prompts_of_pairs = [str(x.prompt) for x, _ in pairs]
    sides = list(map(list, zip(*scores, strict=True)))
    result = {
        "schema_version": SCHEMA_VERSION,
        "a": a.name,
        "b": b.name,
        "judge": judge.label,
        "judges": labels_of(judge),
        "metrics": compare_scores(prompts_of_pairs, *sides),
        "rewards": compare_rewards(prompts_of_pairs, *sides),
        "rows": [describe_row(clip, *both) for (clip, _), both in zip(pairs, scores, strict=True)],
        "settings": {"a": settings[0].model_dump(), "b": settings[1].model_dump()},
    }
    if output is not None:
        write_pictures(output, pairs, scores, (a.name, b.name))
        write_json(output / "results.json", result)
    return result


def check_output(
    output: Path | None, a: Contestant, b: Contestant, settings: tuple[GenerationSettings, GenerationSettings]
) -> None:
    """Prove that pictures can be written before anything is generated.

    Raises:
        UsageError: the folder is one of the contestants, or their frame rate cannot be written.
        IvideoError: nothing can be written there.
    """
    if output is None:
        return
    if output.resolve() in [side.folder.resolve() for side in (a, b) if side.folder]:
        raise UsageError(f"--output {output} holds the videos that are compared; choose another folder")
    for one in settings:
        check_video_format(output / "pair.mp4", one.fps)
    check_folder(output)


def collect_clips(
    a: Contestant,
    b: Contestant,
    settings: tuple[GenerationSettings, GenerationSettings],
    prompts: Sequence[str] | None,
    progress: Progress,
) -> tuple[list[Clip], list[Clip]]:
    """Both sides' clips; folders are read first, then adapters are tried, so that bad ones show before long work.

    The base of an adapter is the same model with the adapter switched off; there is no second copy of it.

    Raises:
        IvideoError: a model is to copy a folder whose videos do not say what they are.
    """
    clips = {i: read_clips(side.folder, prompts) for i, side in enumerate((a, b)) if side.folder}
    if len(clips) < 2:
        wanted = [clip.key for clip in next(iter(clips.values()), []) if clip.key]
        if clips and not wanted:
            raise IvideoError(f"the videos in {(a if 0 in clips else b).name} do not say their prompts and seeds")
        if not clips:
            prompts = prompts or default_prompts(a, b, settings[1].model)
            wanted = [(prompt, settings[1].seed + i) for i, prompt in enumerate(prompts)]
        todo = sorted({0, 1} - clips.keys(), key=lambda i: (a, b)[i].adapter is None)
        model = None
        for i in todo:
            side = (a, b)[i]
            if model is None or side.adapter or not is_same_base(*settings):
                model = None  # the first one goes before the second comes
                model = open_model(settings[i], side.adapter)
                clips[i] = make_clips(side, settings[i], wanted, progress, model)
            else:
                with adapter_off(model.unet):
                    clips[i] = make_clips(side, settings[i], wanted, progress, model)
    return clips[0], clips[1]


def is_same_base(a: GenerationSettings, b: GenerationSettings) -> bool:
    """Whether both sides' clips can come from the same weights in memory."""
    return (a.model, a.unet, a.device, a.dtype) == (b.model, b.unet, b.device, b.dtype)


def score_pairs(pairs: Sequence[Pair], judge: Judge, settings: GenerationSettings, progress: Progress) -> list[Scores]:
    """Both sides' scores of each pair.

    Raises:
        IvideoError: a clip with fewer frames than segments.
    """
    for pair in pairs:
        for clip in pair:
            check_num_frames(clip.name, len(clip.frames), settings)
    progress.start("scoring", len(pairs))
    scores = []
    for x, y in pairs:
        scores.append(
            (
                score_clip(judge, x.frames, str(x.prompt), settings),
                score_clip(judge, y.frames, str(y.prompt), settings),
            )
        )
        progress.advance()
    return scores


def describe_row(clip: Clip, a: ClipScore, b: ClipScore) -> dict[str, Any]:
    """One pair's prompt, seed, metrics and rewards by judge."""
    columns = {
        name: {**{metric: getattr(score, metric) for metric in METRICS}, "rewards": score.rewards}
        for name, score in (("a", a), ("b", b))
    }
    return {"prompt": clip.prompt, "seed": clip.seed, **columns}


def write_pictures(output: Path, pairs: Sequence[Pair], scores: Sequence[Scores], names: tuple[str, str]) -> None:
    """A side-by-side mp4 a pair, and one sheet of the first pairs."""
    for index, (clips, both) in enumerate(zip(pairs, scores, strict=True)):
        panels = [
            label_clip(clip.frames, f"{Path(name).name}: {score.reward:.3f}")
            for name, clip, score in zip(names, clips, both, strict=True)
        ]
        prompt = str(clips[0].prompt)
        about = {"prompt": prompt, "seed": clips[0].seed, "a": names[0], "b": names[1]}
        path = output / f"{index:03d}_{file_stem(prompt)}.mp4"
        write_video(path, stack_side_by_side(panels), clips[0].fps, about)
    sheet_rows = [(str(x.prompt), [x.frames, y.frames]) for x, y in pairs[:NUM_SHEET_ROWS]]
    write_png(output / "contact_sheet.png", contact_sheet(sheet_rows, list(names)))
