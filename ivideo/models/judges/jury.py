"""Several judges at once: weighted sums to be trained on, and judges that are only looked at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from ivideo.models.judges.clip_judge import ClipJudge
from ivideo.models.judges.contract import Judge
from ivideo.models.judges.spelling import Reward


class Jury:
    """Judges side by side; each frame is seen once by each, whatever sums its scores go into.

    Its name, label and gradients are those of its first reward. `score_frames` gives every reward, then every judge
    that is a part of one: {"hpsv2=1,pickscore=0.5": ..., "hpsv2": ..., "pickscore": ...}.
    """

    def __init__(self, rewards: Sequence[Reward], judges: Mapping[str, Judge]) -> None:
        """Seat the judges.

        Args:
            rewards: at least one.
            judges: by name, all that the rewards need; others are left out.
        """
        names = dict.fromkeys(name for reward in rewards for name in reward.judges)
        self.rewards, self.judges = list(rewards), {name: judges[name] for name in names}
        self.name = rewards[0].name
        sums = {reward.name: self._describe(reward) for reward in rewards}
        self.labels = {**sums, **{name: judge.label for name, judge in self.judges.items()}}
        self.label = self.labels[self.name]

    @property
    def is_differentiable(self) -> bool:
        """Whether every judge of the first reward gives gradients."""
        return all(self.judges[name].is_differentiable for name in self.rewards[0].judges)

    @property
    def trained(self) -> Judge:
        """The first reward alone: what training maximises."""
        first = self.rewards[0]
        return self.judges[first.name] if first.weights is None else Jury([first], self.judges)

    def score_frames(self, frames: Tensor, prompts: Sequence[str]) -> dict[str, Tensor]:
        """Scores of each frame by every reward and every judge, {name: (batch, num_frames)}."""
        return self.add_sums({name: judge.score_frames(frames, prompts)[name] for name, judge in self.judges.items()})

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


def labels_of(judge: Judge) -> dict[str, str]:
    """What a person should read beside each of a judge's scores, by name."""
    return judge.labels if isinstance(judge, Jury) else {judge.name: judge.label}


def trained_part(judge: Judge) -> Judge:
    """What is trained on: of a jury its first reward."""
    return judge.trained if isinstance(judge, Jury) else judge


def sees_frames_alone(judge: Judge) -> bool:
    """Whether a frame's score never depends on the frames beside it; not so for functions of the user's own."""
    parts = judge.judges.values() if isinstance(judge, Jury) else [judge]
    return all(isinstance(part, ClipJudge) for part in parts)


def score_with_features(
    judge: Judge, frames: Tensor, prompts: Sequence[str]
) -> tuple[dict[str, Tensor], Tensor | None]:
    """What `score_frames` gives, and the image features that a score came from, computed once.

    Args:
        judge: one or several.
        frames: (batch, num_frames, 3, height, width) float in [0, 1].
        prompts: one a clip.

    Returns:
        Scores (batch, num_frames) by name, and the features (batch, num_frames, dim) of the first judge in the first
        reward that has any; None where none has.
    """
    parts = judge.judges if isinstance(judge, Jury) else {judge.name: judge}
    features = {name: part.encode_frames(frames) for name, part in parts.items() if isinstance(part, ClipJudge)}
    scores = {
        name: part.score_features(features[name], prompts)
        if isinstance(part, ClipJudge)
        else part.score_frames(frames, prompts)[name]
        for name, part in parts.items()
    }
    names = judge.rewards[0].judges if isinstance(judge, Jury) else [judge.name]
    first = next((features[name] for name in names if name in features), None)
    return (judge.add_sums(scores) if isinstance(judge, Jury) else scores), first
