"""Several reward models at once: how they are asked for, and weighted sums of their scores."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

from ivideo.core.attenuation import attenuated_mean
from ivideo.errors import UsageError
from ivideo.rewards.contract import RewardModel

# A part of a mix ends with its weight, so that a file's name may have commas and equals signs of its own.
PART = re.compile(r"(?P<model>.+?)=(?P<weight>[^=,]*)(?:,|$)")


@dataclass(frozen=True)
class Reward:
    """A reward that was asked for.

    Attributes:
        name: as it was asked for; key of its scores.
        weights: of each reward model's score in their sum, by its name; of a model by itself 1.
    """

    name: str
    weights: Mapping[str, float]


def parse_rewards(texts: Sequence[str]) -> list[Reward]:
    """The rewards that were asked for; the first one is the one that is trained on and counts.

    Raises:
        UsageError: see `parse_reward`; or the same one twice.
    """
    rewards = [parse_reward(text) for text in texts]
    names = [reward.name for reward in rewards]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"`reward` {name} was given twice")
    return rewards


def parse_reward(text: str) -> Reward:
    """A reward model's name, or a weighted sum: `hpsv2=1,pickscore=0.5`.

    Raises:
        UsageError: an empty name, a model without a weight, a weight that is no positive number, or a model twice.
    """
    text = text.strip()
    parts = [(match["model"].strip(), match["weight"].strip()) for match in PART.finditer(text)]
    is_mix = bool(parts) and (len(parts) > 1 or is_number(parts[0][1]))
    if not text:
        raise UsageError("`reward` is empty: name a reward model")
    if not is_mix:
        return Reward(text, {text: 1.0})
    if PART.sub("", text):
        raise UsageError(f"`reward` {text}: every reward model of a sum needs a weight, as in hpsv2=1,pickscore=0.5")
    weights: dict[str, float] = {}
    for name, weight in parts:
        if name in weights:
            raise UsageError(f"`reward` {text}: {name} stands there twice")
        weights[name] = parse_weight(text, name, weight)
    return Reward(text, weights)


def parse_weight(text: str, name: str, weight: str) -> float:
    """The weight of a reward model in a sum.

    Raises:
        UsageError: it is no positive number.
    """
    if not is_number(weight):
        raise UsageError(f"`reward` {text}: the weight {weight!r} of {name} is no number (a file is {name}:FILE)")
    value = float(weight)
    if not (math.isfinite(value) and value > 0):
        raise UsageError(
            f"`reward` {text}: the weight {weight} of {name} must be a positive number; "
            "to lower a score, negate it in a function of your own (FILE.py:function)"
        )
    return value


def is_number(text: str) -> bool:
    """Whether Python reads it as a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


@dataclass(frozen=True, eq=False)
class Score:
    """A reward's scores of some clips: of their frames, of them as a whole, or both parts of a sum.

    Attributes:
        frame: (..., num_frames), of single frames; None where only whole clips are looked at.
        clip: (...), of whole clips; None where only single frames are looked at.
    """

    frame: Tensor | None = None
    clip: Tensor | None = None

    def mean(self) -> Tensor:
        """One number a clip, (...): the mean over its frames, plus its score as a whole."""
        return self._add_clip(None if self.frame is None else self.frame.mean(-1))

    def attenuated(self, weights: Tensor) -> Tensor:
        """The same with weighted frames (see `ivideo.core.attenuation`); whole clips have no weights."""
        return self._add_clip(None if self.frame is None else attenuated_mean(self.frame, weights))

    def _add_clip(self, mean: Tensor | None) -> Tensor:
        total = plus(mean, self.clip)
        assert total is not None
        return total

    def __add__(self, other: Score) -> Score:
        """Add frames to frames, and wholes to wholes."""
        return Score(plus(self.frame, other.frame), plus(self.clip, other.clip))

    def __rmul__(self, weight: float) -> Score:
        """Weigh both parts."""
        return Score(*(None if part is None else weight * part for part in (self.frame, self.clip)))


def plus(first: Tensor | None, second: Tensor | None) -> Tensor | None:
    """Their sum; None is nothing."""
    if first is None or second is None:
        return second if first is None else first
    return first + second


def average(samples: Sequence[Score]) -> Score:
    """The mean over a reward's scores of several samples of the same clips."""
    frames = [one.frame for one in samples if one.frame is not None]
    clips = [one.clip for one in samples if one.clip is not None]
    return Score(*(torch.stack(parts).mean(0) if parts else None for parts in (frames, clips)))


class Rewards:
    """The rewards that were asked for, with their reward models: the one thing that gives scores, whatever was asked.

    Its name, label and gradients are those of its first reward, which is the one that counts and is trained on.

    Attributes:
        asked: the rewards, at least one.
        models: every reward model that they need, by name.
        labels: what a person should read beside each score: of every reward, then of every model that is part of one.
    """

    def __init__(self, asked: Sequence[Reward], models: Mapping[str, RewardModel]) -> None:
        """Put rewards and loaded models together; models that no reward needs are left out."""
        names = dict.fromkeys(name for reward in asked for name in reward.weights)
        self.asked, self.models = list(asked), {name: models[name] for name in names}
        self.name = asked[0].name
        sums = {reward.name: self._describe(reward) for reward in asked}
        self.labels = {**sums, **{name: model.label for name, model in self.models.items()}}
        self.label = self.labels[self.name]

    @classmethod
    def of(cls, model: RewardModel) -> Rewards:
        """A reward model by itself."""
        return cls([Reward(model.name, {model.name: 1.0})], {model.name: model})

    @property
    def is_differentiable(self) -> bool:
        """Whether every model of the first reward gives gradients."""
        return all(self.models[name].is_differentiable for name in self.asked[0].weights)

    @property
    def trained(self) -> Rewards:
        """The first reward alone: what training maximises."""
        return Rewards(self.asked[:1], self.models)

    @property
    def frame_models(self) -> dict[str, RewardModel]:
        """Those that score single frames."""
        return {name: model for name, model in self.models.items() if model.scope == "frame"}

    @property
    def sees_frames_alone(self) -> bool:
        """Whether no frame's score depends on the frames beside it."""
        return all(model.sees_frames_alone for model in self.frame_models.values())

    def choose_frames(self, num_frames: int, fps: float) -> dict[str, list[int]]:
        """The frames of a clip that each model of whole clips wants to see, by its name."""
        clip_models = {name: model for name, model in self.models.items() if model.scope == "clip"}
        return {name: model.choose_frames(num_frames, fps) for name, model in clip_models.items()}

    def score_frames(
        self, frames: Tensor, prompts: Sequence[str], times: Tensor
    ) -> tuple[dict[str, Tensor], Tensor | None]:
        """Scores by every model of single frames, and image features, each computed once.

        Args:
            frames: (batch, num_frames, 3, height, width) float in [0, 1].
            prompts: one a clip.
            times: (batch, num_frames), in seconds from the clip's beginning.

        Returns:
            Scores (batch, num_frames) by name, and the features (batch, num_frames, dim) of the first model in the
            first reward that has any; None where none has.
        """
        found = {name: model.score_with_features(frames, prompts, times) for name, model in self.frame_models.items()}
        features = [found[name][1] for name in self.asked[0].weights if name in found]
        first = next((one for one in features if one is not None), None)
        return {name: scores for name, (scores, _) in found.items()}, first

    def sum_up(self, scores: Mapping[str, Tensor]) -> dict[str, Score]:
        """Every reward's score, then every model's: {"hpsv2=1,pickscore=0.5": ..., "hpsv2": ..., "pickscore": ...}.

        Args:
            scores: by every model: (..., num_frames) of frames, (...) of whole clips.
        """
        parts = {name: Score(**{self.models[name].scope: scores[name]}) for name in self.models}
        return {reward.name: add_up(reward, parts) for reward in self.asked} | parts

    def _describe(self, reward: Reward) -> str:
        if reward.name in reward.weights:
            return self.models[reward.name].label
        return " + ".join(f"{weight:g} x {self.models[name].label}" for name, weight in reward.weights.items())


def add_up(reward: Reward, scores: Mapping[str, Score]) -> Score:
    """A reward's score: `sum_j weight_j * score_j`; weights 1 and 0.5 of scores 0.25 and 0.2 give 0.35."""
    return reduce(operator.add, [weight * scores[name] for name, weight in reward.weights.items()])
