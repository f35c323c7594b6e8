"""Held-out prompts: which they are, their clips before, during and after training, and when they say to stop."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ivideo.config.presets import heldout_prompts_path
from ivideo.config.settings import FinetuneSettings, generation_settings
from ivideo.errors import IvideoError
from ivideo.files.run_folder import RunFolder
from ivideo.generating import describe_generation, generate_clip, tell_of_gifs
from ivideo.inputs.adapters import Adapter
from ivideo.inputs.prompts import read_prompts, seed_of, unique_prompts
from ivideo.metrics.registry import compared
from ivideo.models.contract import TextToVideoModel
from ivideo.models.devices import map_on_cores
from ivideo.models.lora import adapter_merged
from ivideo.progress import Progress
from ivideo.rewards.mixture import Rewards, parse_rewards
from ivideo.rewards.registry import find_second_reward
from ivideo.scoring.clips import ClipScore, mean_of, score_clip
from ivideo.video.names import file_stem
from ivideo.video.panels import label_clip, stack_side_by_side
from ivideo.video.writer import check_video_format, default_suffix, write_video

Record = Mapping[str, Any]
"""A line of evaluations.jsonl: `step`, `values` (means over prompts) and `by_prompt`, by name."""


@dataclass(frozen=True)
class Decision:
    """What the evaluations so far say.

    Attributes:
        best_step: step of the highest held-out reward among those that keep the floors; 0 if there is none yet.
        stop_reason: why training should stop, in words; None to go on.
    """

    best_step: int
    stop_reason: str | None


def decide(history: Sequence[Record], settings: FinetuneSettings) -> Decision:
    """Decide by the evaluations alone, so that a resumed run decides as an uninterrupted one.

    With rewards .60 (base), .70, .69, .68, .67 at the steps 0, 9, 18, 27, 36 and patience 3, the best is step 9, and
    training stops at step 36.

    Args:
        history: the lines of evaluations.jsonl so far; the first is the base, at step 0.
        settings: the run's `patience`, `min_motion` and `min_judge` (0 switches a rule off), and its rewards.
    """
    base, *later = history
    kept = [record for record in later if find_broken_floor(base, record, settings) is None]
    best_step = max(kept, key=lambda record: record["values"]["reward"])["step"] if kept else 0
    broken = find_broken_floor(base, later[-1], settings) if later else None
    return Decision(best_step, broken or find_standstill(history, settings.patience))


def find_broken_floor(base: Record, record: Record, settings: FinetuneSettings) -> str | None:
    """What fell too far below the base, in words: the motion, else a reward that is not trained on; None if nothing.

    Motion must keep `min_motion` of the base's mean. For rewards see `falls_below`.

    Args:
        base: the evaluation at step 0.
        record: the one that is held against it.
        settings: of the run: the floors, and the rewards.
    """
    before, now = base["values"]["motion"], record["values"]["motion"]
    if now < settings.min_motion * before:
        return f"motion fell to {now:.3f}, below {settings.min_motion:g} of the base's {before:.3f}"
    for name in untrained_rewards(settings.rewards):
        if settings.min_judge and falls_below(base["by_prompt"][name], record["by_prompt"][name], settings.min_judge):
            before, now = base["values"][name], record["values"][name]
            return f"{name}, which is not trained on, fell from {before:.4f} to {now:.4f} (`min_judge`)"
    return None


def falls_below(before: Sequence[float], now: Sequence[float], share: float) -> bool:
    """Whether scores of the same prompts fell by more than `1 - share` of their size, and by more than chance.

    drop > (1 - share) * |mean before| and drop > 2 * sd(differences) / sqrt(n): scores may be near zero or
    negative, where a share alone would stop at any noise or never. Share .95 of a mean of .20 allows .01; if the
    differences of 4 prompts have a standard deviation of .02, .02 is allowed.

    Args:
        before: a score a prompt, any unit.
        now: the same prompts' scores later.
        share: of the size of the mean before, that is to be kept, in [0, 1].
    """
    differences = [a - b for a, b in zip(before, now, strict=True)]
    drop = statistics.fmean(differences)
    chance = 2 * statistics.stdev(differences) / len(differences) ** 0.5 if len(differences) > 1 else 0.0
    return drop > max((1 - share) * abs(statistics.fmean(before)), chance)


def find_standstill(history: Sequence[Record], patience: int) -> str | None:
    """Why the reward's course is reason to stop, in words; None if it is none.

    A reward is a new best if it is above all before it, the base's included.

    Args:
        history: the lines of evaluations.jsonl so far, the base's first.
        patience: evaluations without a new best that are too many; 0: never.
    """
    rewards = [record["values"]["reward"] for record in history]
    highest = rewards.index(max(rewards))
    if not patience or len(rewards) - 1 - highest < patience:
        return None
    since = f"step {history[highest]['step']}" if highest else "the base"
    evaluations = "evaluation" if patience == 1 else f"{patience} evaluations"
    return f"the held-out reward has not risen above {rewards[highest]:.4f} of {since} in the last {evaluations}"


def untrained_rewards(rewards: Sequence[str]) -> list[str]:
    """The further rewards that are no part of the first, which is trained on."""
    first, *further = parse_rewards(rewards)
    return [reward.name for reward in further if reward.name not in first.weights]


Item = TypeVar("Item")
NUM_SHOWN = 6  # held-out prompts whose before / after videos are kept


@dataclass(frozen=True)
class Evaluation:
    """Clips of held-out prompts at one moment of the training, and their scores.

    The means are over the watched prompts only, so that they can be compared from evaluation to evaluation.

    Attributes:
        step: optimiser steps that were done; 0 is the base.
        clips: a clip of each evaluated prompt.
        scores: theirs.
        indices: which of the held-out prompts were evaluated.
        watched: which of them every evaluation sees.
    """

    step: int
    clips: list[np.ndarray]
    scores: list[ClipScore]
    indices: list[int]
    watched: list[int]

    @property
    def by_prompt(self) -> dict[str, list[float]]:
        """Each watched prompt's value of each compared metric, and each reward by its name."""
        scores = [score for index, score in zip(self.indices, self.scores, strict=True) if index in set(self.watched)]
        values = {metric: [score[metric] for score in scores] for metric in compared()}
        return values | {name: [score.rewards[name] for score in scores] for name in scores[0].rewards}

    @property
    def values(self) -> dict[str, float]:
        """Means of those."""
        return {name: float(np.mean(values)) for name, values in self.by_prompt.items()}

    def find(self, index: int) -> tuple[np.ndarray, ClipScore]:
        """The clip of a held-out prompt, and its score."""
        place = self.indices.index(index)
        return self.clips[place], self.scores[place]

    def record(self) -> dict[str, Any]:
        """A line of evaluations.jsonl; the guard decides by these lines alone."""
        return {"step": self.step, "values": self.values, "by_prompt": self.by_prompt}


def split_heldout(
    prompts: Sequence[str | Sequence[str]], settings: FinetuneSettings, heldout: Sequence[str] | None
) -> tuple[list[str], list[str]]:
    """Which prompts are trained on, and which are kept for the before / after.

    A clip with several captions is held out by its first one, and none of them is then trained on for it; a caption
    that is held out is trained on for no other clip, either.

    Args:
        prompts: the list to train on, of a clip with several captions all of them.
        settings: whether and on how many prompts the run is evaluated, and its model.
        heldout: those to keep, but for those that are trained on; None: those that a bundled model brings, else every
            tenth prompt of the list, which is then not trained on.

    Raises:
        IvideoError: nothing would be left to evaluate on.
    """
    clips = [[one] if isinstance(one, str) else one for one in prompts]
    training = unique_prompts(chain(*clips))
    if not settings.evaluate:
        return training, []
    own = heldout_prompts_path(settings.model)
    if heldout is None and own is not None:
        heldout = read_prompts(own)
    if heldout is None:
        firsts = list(dict.fromkeys(captions[0] for captions in clips))
        if len(firsts) < 2:
            raise IvideoError(
                "one prompt cannot be trained on and held out: add prompts, `heldout` or `evaluate` False"
            )
        heldout = firsts[::10]
        left = [captions for captions in clips if captions[0] not in set(heldout)]
        training = [prompt for prompt in unique_prompts(chain(*left)) if prompt not in set(heldout)]
    kept = [prompt for prompt in unique_prompts(heldout) if prompt not in set(training)]
    if not kept:
        raise IvideoError("every held-out prompt is also trained on: give others by `heldout`, or use `evaluate` False")
    return training, spread(kept, settings.num_eval_prompts)


def spread(items: Sequence[Item], count: int) -> list[Item]:
    """At most `count` items, evenly spread over the list: 2 of a, b, c, d are a and c."""
    count = min(count, len(items))
    return [items[index * len(items) // count] for index in range(count)]


def add_second_reward(settings: FinetuneSettings, progress: Progress) -> FinetuneSettings:
    """The settings with a further reward that is not trained on, if they name none and this machine has one.

    Tells which one it is, or that there is none.
    """
    if not (settings.evaluate and settings.eval_every and settings.min_judge):
        return settings
    names = untrained_rewards(settings.rewards)
    if not names and (found := find_second_reward(settings.rewards[0])) is not None:
        names = [found]
        settings = settings.model_copy(update={"reward": (*settings.rewards, found)})
    if names:
        progress.say(f"second reward model, not trained on: {', '.join(names)}")
    else:
        progress.say("no second reward model: only held-out reward and motion can end the training (`reward` adds one)")
    return settings


def evaluate_heldout(
    model: TextToVideoModel,
    rewards: Rewards,
    prompts: Sequence[str],
    settings: FinetuneSettings,
    progress: Progress,
    step: int,
    *,
    watched_only: bool = False,
    known: Evaluation | None = None,
) -> Evaluation:
    """Generate and score one clip a held-out prompt; prompt i uses its own seed, else seed + i, at every step alike.

    Nothing of the training changes by it: the clips' draws are their own.

    Args:
        model: as it stands, with its adapter.
        rewards: what clips are scored by.
        prompts: all held-out prompts.
        settings: the run's.
        progress: is told of every clip.
        step: optimiser steps that were done.
        watched_only: only those prompts that every evaluation sees.
        known: an evaluation of the same weights, whose clips are not made again.
    """
    generation = generation_settings(settings)
    watched = spread(range(len(prompts)), settings.num_watched_prompts)
    indices = watched if watched_only else list(range(len(prompts)))
    found = dict(zip(known.indices, zip(known.clips, known.scores, strict=True), strict=True)) if known else {}
    missing = [index for index in indices if index not in found]

    def make(index: int) -> tuple[np.ndarray, ClipScore]:
        clip = generate_clip(model, generation, prompts[index], seed_of(prompts[index], settings.seed + index))
        return clip, score_clip(rewards, clip, prompts[index], generation, fps=generation.fps)

    if missing:
        progress.start(f"held-out clips, {'base' if step == 0 else f'step {step}'}", len(missing))
    with adapter_merged(model.network):
        for index, (clip, score) in zip(missing, map_on_cores(make, missing, model.num_workers), strict=True):
            found[index] = clip, score
            progress.advance(f"reward {mean_of([score for _, score in found.values()], 'reward'):.4f}")
    clips, scores = zip(*(found[index] for index in indices), strict=True) if indices else ((), ())
    return Evaluation(step, list(clips), list(scores), indices, watched)


def check_videos(run: RunFolder, prompts: Sequence[str], settings: FinetuneSettings, progress: Progress) -> None:
    """Prove that the held-out prompts' videos can be written, and say so where they become GIFs.

    Raises:
        UsageError: not at the settings' frame rate.
    """
    if prompts:
        check_video_format(run.videos / f"clip{default_suffix()}", settings.fps)
        tell_of_gifs(progress)


def write_before_after(
    run: RunFolder,
    prompts: Sequence[str],
    before: Evaluation,
    after: Evaluation,
    settings: FinetuneSettings,
    start: Adapter | None = None,
) -> list[Path]:
    """Write a few held-out prompts' clips before, after and side by side; returns the joined ones.

    Args:
        run: where to.
        prompts: all held-out prompts.
        before: the evaluation of the base.
        after: that of the chosen adapter.
        settings: of the run.
        start: the adapter that training went on from, and that made the clips before.
    """
    generation = generation_settings(settings)
    suffix, joined_paths = default_suffix(), []
    for index, prompt in list(enumerate(prompts))[:NUM_SHOWN]:
        seed = seed_of(prompt, settings.seed + index)
        stem = f"{index:02d}_{file_stem(prompt)}"
        panels = []
        for moment, side in (("before", before), ("after", after)):
            clip = side.clips[index]
            adapter = Adapter(run.chosen, run.root.name, {}) if side is after else start
            metadata = describe_generation(generation, prompt, seed, clip, adapter)
            write_video(run.videos / f"{stem}_{moment}{suffix}", clip, settings.fps, metadata)
            panels.append(label_clip(clip, f"{moment}: {side.scores[index].reward:.3f}"))
        path = run.videos / f"{stem}_before_after{suffix}"
        about = {"prompt": prompt, "seed": seed, "reward": settings.rewards[0]}
        joined_paths.append(write_video(path, stack_side_by_side(panels), settings.fps, about))
    return joined_paths
