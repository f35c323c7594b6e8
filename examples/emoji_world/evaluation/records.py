"""What is measured on a clip: its reward, what the classifier sees in it, and how it moves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import Tensor

from examples.emoji_world.evaluation.named_words import read_caption
from ivideo.config.settings import Settings
from ivideo.progress import Progress
from ivideo.rewards.mixture import Rewards
from ivideo.scoring.clips import score_clip

CLASSIFIER_BATCH = 32


class Predictions(Protocol):
    """What a classifier sees in a batch of clips.

    Attributes:
        subjects: a word of the world a clip.
        motions: likewise.
        places: likewise.
        features: (batch, dim), L2-normalised.
    """

    subjects: list[str]
    motions: list[str]
    places: list[str]
    features: Tensor


class Classifier(Protocol):
    """Says what clips show; never used as a reward."""

    def classify(self, clips: np.ndarray) -> Predictions:
        """What is seen in clips, uint8 (batch, num_frames, height, width, 3)."""
        ...


@dataclass(frozen=True)
class ClipRecord:
    """What was measured on one clip.

    Attributes:
        prompt: its caption.
        values: reward, motion, flicker, subject_accuracy, motion_accuracy and place_accuracy where the caption names
            motion and place, and second_judge where there is a second reward model; an accuracy is 1 or 0.
        features: (dim,), the classifier's, L2-normalised.
    """

    prompt: str
    values: dict[str, float]
    features: np.ndarray


def measure_clips(
    clips: np.ndarray,
    prompts: Sequence[str],
    rewards: Rewards,
    classifier: Classifier,
    settings: Settings,
    progress: Progress,
) -> list[ClipRecord]:
    """A record of each clip.

    Args:
        clips: uint8 (num_clips, num_frames, height, width, 3).
        prompts: the caption of each clip.
        rewards: the first one counts; the next one is the second reward model.
        classifier: gives accuracies and features.
        settings: of the reward (`score_clip`).
        progress: is told of each clip.
    """
    records = []
    for start in range(0, len(clips), CLASSIFIER_BATCH):
        batch = slice(start, start + CLASSIFIER_BATCH)
        predictions = classifier.classify(clips[batch])
        seen = zip(predictions.subjects, predictions.motions, predictions.places, strict=True)
        features = predictions.features.float().cpu().numpy()
        for clip, prompt, words, row in zip(clips[batch], prompts[batch], seen, features, strict=True):
            score = score_clip(rewards, clip, prompt, settings)
            values = {name: score[name] for name in ("reward", "motion", "flicker")}
            further = [other for name, other in score.rewards.items() if name != rewards.name]
            values |= {"second_judge": further[0]} if further else {}
            records.append(ClipRecord(prompt, {**values, **accuracies(prompt, *words)}, row))
            progress.advance()
    return records


def accuracies(prompt: str, subject: str, motion: str, place: str) -> dict[str, float]:
    """Whether what is seen is what the caption names, by kind of word; what it does not name is left out."""
    named = read_caption(prompt)
    pairs = {"subject": (named.subject, subject), "motion": (named.motion, motion), "place": (named.place, place)}
    return {f"{kind}_accuracy": float(asked == seen) for kind, (asked, seen) in pairs.items() if asked is not None}
