"""Held-out prompts: which they are, and their clips before and after training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ivideo.config.settings import FinetuneSettings
from ivideo.errors import IvideoError
from ivideo.io.panels import label_clip, stack_side_by_side
from ivideo.io.prompts import read_prompts
from ivideo.io.run_folder import RunFolder
from ivideo.io.video import write_video
from ivideo.models.judges import Judge
from ivideo.models.registry import heldout_prompts_path
from ivideo.models.text_to_video import TextToVideoModel
from ivideo.workflows.generate import file_stem
from ivideo.workflows.generation import describe_generation, generate_clip
from ivideo.workflows.progress import Progress
from ivideo.workflows.resolve import Adapter, generation_settings
from ivideo.workflows.scoring import ClipScore, mean_of, score_clip

NUM_SHOWN = 6  # held-out prompts whose before / after videos are kept


@dataclass(frozen=True)
class HeldoutClips:
    """Clips of the held-out prompts at one moment, and their scores."""

    clips: list[np.ndarray]
    scores: list[ClipScore]


def split_heldout(
    prompts: Sequence[str], settings: FinetuneSettings, heldout: Sequence[str] | None
) -> tuple[list[str], list[str]]:
    """Which prompts are trained on, and which are kept for the before / after.

    Held out are the given ones, else those that a bundled model brings, else every tenth prompt of the list, which is
    then not trained on; of the others, those that are trained on are left out.

    Raises:
        IvideoError: nothing would be left to evaluate on.
    """
    training = list(dict.fromkeys(prompts))
    if not settings.evaluate:
        return training, []
    own = heldout_prompts_path(settings.model)
    if heldout is None and own is not None:
        heldout = read_prompts(own)
    if heldout is None:
        if len(training) < 2:
            raise IvideoError("one prompt cannot be trained on and held out: add prompts, --eval-prompts or --no-eval")
        heldout = training[::10]
        training = [prompt for prompt in training if prompt not in set(heldout)]
    kept = [prompt for prompt in dict.fromkeys(heldout) if prompt not in set(training)]
    if not kept:
        raise IvideoError("every held-out prompt is also trained on: give others by --eval-prompts, or use --no-eval")
    return training, spread(kept, settings.num_eval_prompts)


def spread(items: Sequence[str], count: int) -> list[str]:
    """At most `count` items, evenly spread over the list: 2 of a, b, c, d are a and c."""
    count = min(count, len(items))
    return [items[index * len(items) // count] for index in range(count)]


def evaluate_heldout(
    model: TextToVideoModel,
    judge: Judge,
    prompts: Sequence[str],
    settings: FinetuneSettings,
    progress: Progress,
    moment: str,
) -> HeldoutClips:
    """Generate and score one clip a held-out prompt; prompt i uses seed + i, before and after alike."""
    generation = generation_settings(settings)
    result = HeldoutClips([], [])
    if prompts:
        progress.start(f"held-out clips, {moment}", len(prompts))
    for index, prompt in enumerate(prompts):
        clip = generate_clip(model, generation, prompt, settings.seed + index)
        result.clips.append(clip)
        result.scores.append(score_clip(judge, clip, prompt, generation))
        progress.advance(f"reward {mean_of(result.scores, 'reward'):.4f}")
    return result


def write_before_after(
    run: RunFolder,
    prompts: Sequence[str],
    before: HeldoutClips,
    after: HeldoutClips,
    settings: FinetuneSettings,
    start: Adapter | None = None,
) -> list[Path]:
    """Write a few held-out prompts' clips before, after and side by side; returns the joined ones.

    `start` is the adapter that training went on from, and that made the clips before.
    """
    generation = generation_settings(settings)
    joined_paths = []
    for index, prompt in list(enumerate(prompts))[:NUM_SHOWN]:
        seed = settings.seed + index
        stem = f"{index:02d}_{file_stem(prompt)}"
        panels = []
        for moment, side in (("before", before), ("after", after)):
            clip = side.clips[index]
            adapter = Adapter(run.adapter, run.root.name, {}) if side is after else start
            metadata = describe_generation(generation, prompt, seed, clip, adapter)
            write_video(run.videos / f"{stem}_{moment}.mp4", clip, settings.fps, metadata)
            panels.append(label_clip(clip, f"{moment}: {side.scores[index].reward:.3f}"))
        path = run.videos / f"{stem}_before_after.mp4"
        about = {"prompt": prompt, "seed": seed, "reward": settings.rewards[0]}
        joined_paths.append(write_video(path, stack_side_by_side(panels), settings.fps, about))
    return joined_paths
