"""`ivideo generate`: prompts to video files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ivideo.config.settings import GenerationSettings
from ivideo.errors import UsageError
from ivideo.io.files import check_folder
from ivideo.io.video import VIDEO_SUFFIXES, check_video_format, default_suffix, write_video
from ivideo.models.judges import labels_of, load_judges
from ivideo.models.registry import choose_device
from ivideo.workflows.generation import describe_generation, generate_clip, open_model, tell_of_gifs, warn_of_prompts
from ivideo.workflows.judging import ClipScore
from ivideo.workflows.progress import Progress, Silence
from ivideo.workflows.resolve import Adapter, check_prompts
from ivideo.workflows.scoring import score_clip


@dataclass(frozen=True)
class GeneratedVideo:
    """A video that was made.

    Attributes:
        path: its file.
        prompt: what it should show.
        seed: what it was drawn from.
        score: if one was asked for.
        judges: how its rewards are to be read, by name.
    """

    path: Path
    prompt: str
    seed: int
    score: ClipScore | None = None
    judges: dict[str, str] = field(default_factory=dict)


def file_stem(prompt: str) -> str:
    """A prompt as a file name: its words joined by dashes, at most 60 characters."""
    return re.sub(r"[\W_]+", "-", prompt.lower()).strip("-")[:60].rstrip("-") or "video"


def plan_files(
    prompts: Sequence[str], seeds: Sequence[int], output: Path, adapter_name: str | None
) -> list[tuple[str, int, Path]]:
    """Which clip goes where: (prompt, seed, path) for each prompt and seed, no path twice.

    Raises:
        UsageError: an output file for several clips, or one that is no video.
    """
    if output.suffix and not output.is_dir():
        if output.suffix.lower() not in VIDEO_SUFFIXES:
            raise UsageError(f"--output {output}: a video ends in .mp4 or .gif; a new folder has no suffix")
        count = len(prompts) * len(seeds)
        if count != 1:
            raise UsageError(f"--output {output} is one file for {count} videos; give a folder")
        return [(prompts[0], seeds[0], output)]
    planned: list[tuple[str, int, Path]] = []
    suffix = default_suffix()
    taken: set[Path] = set()
    for prompt in prompts:
        for seed in seeds:
            stem = "_".join(filter(None, (file_stem(prompt), f"seed{seed}", adapter_name)))
            path, number = output / f"{stem}{suffix}", 2
            while path in taken:
                path, number = output / f"{stem}_{number}{suffix}", number + 1
            taken.add(path)
            planned.append((prompt, seed, path))
    return planned


def generate(
    prompts: Sequence[str],
    output: Path,
    settings: GenerationSettings,
    *,
    adapter: Adapter | None = None,
    num_videos: int = 1,
    with_score: bool = False,
    progress: Progress | None = None,
) -> Iterator[GeneratedVideo]:
    """Generate videos and write each as soon as it is made.

    Args:
        prompts: what to show; at least one, none empty.
        output: a .mp4 or .gif for a single video, else a folder.
        settings: see `GenerationSettings`; video k of a prompt uses seed + k.
        adapter: from `find_adapter`.
        num_videos: videos a prompt, at least 1.
        with_score: whether the settings' judges score each video.
        progress: is told what happens.

    Yields:
        Each video as soon as it is written.

    Raises:
        UsageError: an empty prompt, or an output that cannot hold the videos.
    """
    progress = progress or Silence()
    check_prompts(prompts)
    if num_videos < 1:
        raise UsageError(f"--num-videos {num_videos}: must be at least 1")
    seeds = range(settings.seed, settings.seed + num_videos)
    planned = plan_files(prompts, seeds, output, adapter.name if adapter else None)
    for _, _, path in planned:
        check_video_format(path, settings.fps)
    check_folder(planned[0][2].parent)
    if planned[0][2] != output:
        tell_of_gifs(progress)
    judge = load_judges(settings.rewards, choose_device(settings.device)) if with_score else None
    model = open_model(settings, adapter)
    warn_of_prompts(model, prompts, progress)
    progress.start("videos", len(planned))
    for prompt, seed, path in planned:
        clip = generate_clip(model, settings, prompt, seed)
        write_video(path, clip, settings.fps, describe_generation(settings, prompt, seed, clip, adapter))
        score = score_clip(judge, clip, prompt, settings, fps=settings.fps) if judge else None
        progress.advance(path.name + (f"  reward {score.reward:.4f}" if score else ""))
        yield GeneratedVideo(path, prompt, seed, score, labels_of(judge) if judge else {})
