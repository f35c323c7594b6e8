"""`ivideo generate`: prompts to video files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from ivideo.config.settings import GenerationSettings
from ivideo.errors import UsageError
from ivideo.io.files import prepare_folder
from ivideo.io.video import write_video
from ivideo.workflows.generation import describe_generation, generate_clip, open_model
from ivideo.workflows.progress import Progress, Silence
from ivideo.workflows.resolve import Adapter

VIDEO_SUFFIXES = (".mp4", ".gif")


def file_stem(prompt: str) -> str:
    """A prompt as a file name: its words joined by dashes, at most 60 characters."""
    return re.sub(r"[\W_]+", "-", prompt.lower()).strip("-")[:60].rstrip("-") or "video"


def plan_files(
    prompts: Sequence[str], seeds: Sequence[int], output: Path, adapter_name: str | None, suffix: str = ".mp4"
) -> list[tuple[str, int, Path]]:
    """Which clip goes where: (prompt, seed, path) for each prompt and seed, no path twice.

    Raises:
        UsageError: an output file for several clips, or one that is no video.
    """
    if output.suffix and not output.is_dir():
        if output.suffix.lower() not in VIDEO_SUFFIXES:
            raise UsageError(f"--output {output}: a video ends in .mp4 or .gif; a folder has no suffix")
        if len(prompts) * len(seeds) != 1:
            count = len(prompts) * len(seeds)
            raise UsageError(f"--output {output} is one file for {count} videos; give a folder")
        return [(prompts[0], seeds[0], output)]
    planned: list[tuple[str, int, Path]] = []
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
    lora_scale: float = 1.0,
    num_videos: int = 1,
    progress: Progress | None = None,
) -> Iterator[Path]:
    """Generate videos and write each as soon as it is made.

    Args:
        prompts: what to show; at least one, none empty.
        output: a .mp4 or .gif for a single video, else a folder.
        settings: see `GenerationSettings`; video k of a prompt uses seed + k.
        adapter: from `find_adapter`.
        lora_scale: multiplies the adapter's effect; 0 is the base model.
        num_videos: videos a prompt.
        progress: is told what happens.

    Yields:
        Each file's path.

    Raises:
        UsageError: an empty prompt, or an output that cannot hold the videos.
    """
    progress = progress or Silence()
    if not prompts or any(not prompt.strip() for prompt in prompts):
        raise UsageError("empty prompt: say what the video should show")
    seeds = range(settings.seed, settings.seed + num_videos)
    planned = plan_files(prompts, seeds, output, adapter.name if adapter else None)
    prepare_folder(planned[0][2].parent)
    model = open_model(settings, adapter.folder if adapter else None, lora_scale)
    for prompt in prompts:
        for problem in model.find_prompt_problems(prompt):
            progress.warn(f"prompt {prompt!r}: {problem}")
    source = {"adapter": str(adapter.folder), "lora_scale": lora_scale} if adapter else {"adapter": None}
    progress.start("videos", len(planned))
    for prompt, seed, path in planned:
        clip = generate_clip(model, settings, prompt, seed)
        progress.advance(path.name)
        yield write_video(path, clip, settings.fps, describe_generation(settings, prompt, seed, **source))
