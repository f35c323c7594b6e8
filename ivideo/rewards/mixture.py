"""Several reward models at once: how they are asked for, and weighted sums of their scores."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from ivideo.errors import UsageError
from ivideo.rewards.contract import RewardModel
from ivideo.rewards.cosine import CosineReward

# A part of a mix ends with its weight, so that a file's name may have commas and equals signs of its own.
PART = re.compile(r"(?P<judge>.+?)=(?P<weight>[^=,]*)(?:,|$)")


@dataclass(frozen=True)
class Reward:
    """A reward that was asked for.

    Attributes:
        name: as it was asked for; key of its scores.
        weights: of each judge's score in their sum; None for a judge by itself.
    """

    name: str
    weights: Mapping[str, float] | None = None

    @property
    def judges(self) -> tuple[str, ...]:
        """The names of its judges."""
        return (self.name,) if self.weights is None else tuple(self.weights)


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
    """A judge's name, or a weighted sum: `hpsv2=1,pickscore=0.5`.

    Raises:
        UsageError: an empty name, a judge without a weight, a weight that is no positive number, or a judge twice.
    """
    text = text.strip()
    parts = [(match["judge"].strip(), match["weight"].strip()) for match in PART.finditer(text)]
    is_mix = bool(parts) and (len(parts) > 1 or is_number(parts[0][1]))
    if not text:
        raise UsageError("`reward` is empty: name a judge")
    if not is_mix:
        return Reward(text)
    if PART.sub("", text):
        raise UsageError(f"`reward` {text}: every judge of a sum needs a weight, as in hpsv2=1,pickscore=0.5")
    weights: dict[str, float] = {}
    for reward_model, weight in parts:
        if reward_model in weights:
            raise UsageError(f"`reward` {text}: {reward_model} stands there twice")
        weights[reward_model] = parse_weight(text, reward_model, weight)
    return Reward(text, weights)


def parse_weight(text: str, reward_model: str, weight: str) -> float:
    """The weight of a judge in a sum.

    Raises:
        UsageError: it is no positive number.
    """
    if not is_number(weight):
        raise UsageError(
            f"`reward` {text}: the weight {weight!r} of {reward_model} is no number (a file is {reward_model}:FILE)"
        )
    value = float(weight)
    if not (math.isfinite(value) and value > 0):
        raise UsageError(
            f"`reward` {text}: the weight {weight} of {reward_model} must be a positive number; "
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


class Mixture:
    """Judges side by side; each frame is seen once by each, whatever sums its scores go into.

    Its name, label and gradients are those of its first reward. `score_frames` gives every reward, then every judge
    that is a part of one: {"hpsv2=1,pickscore=0.5": ..., "hpsv2": ..., "pickscore": ...}.
    """

    def __init__(self, rewards: Sequence[Reward], judges: Mapping[str, RewardModel]) -> None:
        """Seat the judges.

        Args:
            rewards: at least one.
            judges: by name, all that the rewards need; others are left out.
        """
        names = dict.fromkeys(name for reward in rewards for name in reward.judges)
        self.rewards, self.judges = list(rewards), {name: judges[name] for name in names}
        self.name = rewards[0].name
        sums = {reward.name: self._describe(reward) for reward in rewards}
        self.labels = {**sums, **{name: reward_model.label for name, reward_model in self.judges.items()}}
        self.label = self.labels[self.name]

    @property
    def is_differentiable(self) -> bool:
        """Whether every judge of the first reward gives gradients."""
        return all(self.judges[name].is_differentiable for name in self.rewards[0].judges)

    @property
    def trained(self) -> RewardModel:
        """The first reward alone: what training maximises."""
        first = self.rewards[0]
        return self.judges[first.name] if first.weights is None else Mixture([first], self.judges)

    def score_frames(self, frames: Tensor, prompts: Sequence[str]) -> dict[str, Tensor]:
        """Scores of each frame by every reward and every judge, {name: (batch, num_frames)}."""
        return self.add_sums(
            {name: reward_model.score_frames(frames, prompts)[name] for name, reward_model in self.judges.items()}
        )

    def add_sums(self, scores: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Every reward's score, then every judge's, from the judges' scores by name."""
        return {**{reward.name: add_up(reward, scores) for reward in self.rewards}, **scores}

    def _describe(self, reward: Reward) -> str:
        if reward.weights is None:
            return self.judges[reward.name].label
        return " + ".join(f"{weight:g} x {self.judges[name].label}" for name, weight in reward.weights.items())


def add_up(reward: Reward, scores: Mapping[str, Tensor]) -> Tensor:
    """A reward's score: `sum_j weight_j * score_j`; weights 1 and 0.5 of scores 0.25 and 0.2 give 0.35."""
    if reward.weights is None:
        return scores[reward.name]
    first, *rest = (weight * scores[name] for name, weight in reward.weights.items())
    return sum(rest, first)


def labels_of(reward_model: RewardModel) -> dict[str, str]:
    """What a person should read beside each of a judge's scores, by name."""
    return reward_model.labels if isinstance(reward_model, Mixture) else {reward_model.name: reward_model.label}


def trained_part(reward_model: RewardModel) -> RewardModel:
    """What is trained on: of a jury its first reward."""
    return reward_model.trained if isinstance(reward_model, Mixture) else reward_model


def sees_frames_alone(reward_model: RewardModel) -> bool:
    """Whether a frame's score never depends on the frames beside it; not so for functions of the user's own."""
    parts = reward_model.judges.values() if isinstance(reward_model, Mixture) else [reward_model]
    return all(isinstance(part, CosineReward) for part in parts)


def score_with_features(
    reward_model: RewardModel, frames: Tensor, prompts: Sequence[str]
) -> tuple[dict[str, Tensor], Tensor | None]:
    """What `score_frames` gives, and the image features that a score came from, computed once.

    Args:
        reward_model: one or several.
        frames: (batch, num_frames, 3, height, width) float in [0, 1].
        prompts: one a clip.

    Returns:
        Scores (batch, num_frames) by name, and the features (batch, num_frames, dim) of the first judge in the first
        reward that has any; None where none has.
    """
    parts = reward_model.judges if isinstance(reward_model, Mixture) else {reward_model.name: reward_model}
    features = {name: part.encode_frames(frames) for name, part in parts.items() if isinstance(part, CosineReward)}
    scores = {
        name: part.score_features(features[name], prompts)
        if isinstance(part, CosineReward)
        else part.score_frames(frames, prompts)[name]
        for name, part in parts.items()
    }
    names = reward_model.rewards[0].judges if isinstance(reward_model, Mixture) else [reward_model.name]
    first = next((features[name] for name in names if name in features), None)
    return (reward_model.add_sums(scores) if isinstance(reward_model, Mixture) else scores), first
