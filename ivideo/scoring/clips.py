"""Clips before a reward model: frames of several clips in one forward, each clip's scores gathered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ivideo.config.settings import Settings
from ivideo.core.attenuation import frame_weights
from ivideo.core.segments import first_frame_indices, spread_frame_indices
from ivideo.metrics.by_reward import ByReward, ScoredFrames
from ivideo.metrics.over_time import REFERENCE_FPS
from ivideo.metrics.registry import compared, measures
from ivideo.metrics.statistics import group_by_prompt, paired_difference
from ivideo.metrics.temporal import measure_temporal
from ivideo.rewards.contract import RewardModel
from ivideo.rewards.mixture import score_with_features, sees_frames_alone

Frame = NDArray[np.uint8]


BATCH_SIZE = 16


MAX_BATCH_BYTES = 2**26  # of uint8 pixels, four times as much once they are float32


@dataclass(frozen=True)
class ClipScore:
    """How a clip fares: what the judges say of its frames, and what it does over time.

    Attributes:
        figures: each metric by its name, of those that were measured; None where its judge does not tell.
        rewards: mean score of the first frame of each segment, by every judge that was asked for, sums and their parts
            included.
        frame_indices: the frames that were scored.
        frame_rewards: their scores by the first judge.
        segment_indices: the first frame of each segment, which `reward` is the mean of.
    """

    figures: dict[str, Any]
    rewards: dict[str, float]
    frame_indices: list[int]
    frame_rewards: list[float]
    segment_indices: list[int]

    def __getitem__(self, name: str) -> Any:
        """A metric, or the reward by a judge of that name."""
        return self.figures[name] if name in self.figures else self.rewards[name]

    @property
    def reward(self) -> float:
        """The reward by the first judge."""
        return float(self["reward"])


@dataclass
class PendingClip:
    """A clip whose frames are being scored, in any order and number at a time.

    Attributes:
        prompt: what it should show.
        num_frames: its length.
        segment_indices: the first frame of each segment.
        frame_indices: all frames that are to be scored, ascending.
        has_curve: whether these are spread all along the clip, so that their features tell how consistent it is.
        scores: by judge and frame, as far as they are known.
        features: by frame, where the judge has any.
    """

    prompt: str
    num_frames: int
    segment_indices: list[int]
    frame_indices: list[int]
    has_curve: bool
    scores: dict[str, dict[int, float]] = field(default_factory=dict)
    features: dict[int, NDArray[np.float32]] = field(default_factory=dict)

    @property
    def is_complete(self) -> bool:
        """Whether every frame has its scores."""
        return len(next(iter(self.scores.values()), ())) == len(self.frame_indices)

    def add(self, index: int, scores: dict[str, float], features: NDArray[np.float32] | None) -> None:
        """Note what is known of a frame."""
        for name, score in scores.items():
            self.scores.setdefault(name, {})[index] = score
        if features is not None and self.has_curve:
            self.features[index] = features

    def score(
        self, name: str, attenuation_rate: float | None, over_time: Mapping[str, float] | None = None
    ) -> ClipScore:
        """Sum up, once every frame is scored.

        Args:
            name: the judge whose scores are the reward.
            attenuation_rate: of the attenuated reward, per frame; None: no attenuation.
            over_time: the metrics that the judge has no part in; None if they were not measured.
        """
        segments = self.segment_indices
        weights = frame_weights(torch.tensor(segments), self.num_frames, attenuation_rate)
        drawn = {
            reward_model: torch.tensor([scores[i] for i in segments]) for reward_model, scores in self.scores.items()
        }
        features = np.stack([self.features[i] for i in self.frame_indices]) if self.features else None
        scored = ScoredFrames(drawn[name], weights, features)
        return ClipScore(
            figures={**{metric: by.ask(scored) for metric, by in measures(ByReward).items()}, **(over_time or {})},
            rewards={reward_model: scores.mean().item() for reward_model, scores in drawn.items()},
            frame_indices=self.frame_indices,
            frame_rewards=[self.scores[name][i] for i in self.frame_indices],
            segment_indices=segments,
        )


Waiting = tuple[PendingClip, int, Frame]


def plan_clip(prompt: str, num_frames: int, num_segments: int, max_frames: int) -> PendingClip:
    """A clip and which of its frames are to be scored: see `spread_frame_indices`; 0: the segments' first ones.

    A clip with fewer frames than segments has a segment a frame.
    """
    num_segments = min(num_segments, num_frames)
    segments = first_frame_indices(num_frames, num_segments).tolist()
    frames = spread_frame_indices(num_frames, num_segments, max_frames).tolist()
    return PendingClip(prompt, num_frames, segments, frames, has_curve=max_frames > 0)


def frames_to_tensor(frames: np.ndarray) -> Tensor:
    """Frames uint8 (num_frames, height, width, 3) as float (num_frames, 3, height, width) in [0, 1]."""
    return torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255


class FrameBatcher:
    """Where frames wait for the judge: a forward takes up to `batch_size` of one size, from however many clips.

    A function of the user's own may look at frames together. It gets those of one clip at a time: the first frames of
    the segments in one call, as in training, and the others as they come.
    """

    def __init__(self, reward_model: RewardModel, batch_size: int = BATCH_SIZE) -> None:
        """Open an empty bench.

        Args:
            reward_model: one or several.
            batch_size: frames a forward, at least 1; fewer where they are large.
        """
        self.reward_model, self.batch_size = reward_model, batch_size
        self._sees_frames_alone = sees_frames_alone(reward_model)
        self._segments: list[Waiting] = []  # that are to be seen together
        self._others: list[Waiting] = []

    def add(self, clip: PendingClip, index: int, frame: Frame) -> None:
        """Take a frame (height, width, 3), uint8, of a clip; it is judged as soon as its batch is full."""
        is_together = not self._sees_frames_alone and index in clip.segment_indices
        group = self._segments if is_together else self._others
        if group and not self._may_join(group[0], clip, frame):
            self.flush()
        group.append((clip, index, frame))
        most = max(1, min(self.batch_size, MAX_BATCH_BYTES // frame.nbytes))
        if len(group) >= (len(clip.segment_indices) if is_together else most):
            self._judge(group)

    def flush(self) -> None:
        """Have the judge look at all frames that wait."""
        for group in (self._segments, self._others):
            if group:
                self._judge(group)

    def _may_join(self, first: Waiting, clip: PendingClip, frame: Frame) -> bool:
        return first[2].shape == frame.shape and (self._sees_frames_alone or first[0] is clip)

    @torch.no_grad()
    def _judge(self, group: list[Waiting]) -> None:
        pixels = frames_to_tensor(np.stack([frame for _, _, frame in group]))
        if self._sees_frames_alone:
            frames, prompts = pixels[:, None], [clip.prompt for clip, _, _ in group]
        else:
            frames, prompts = pixels[None], [group[0][0].prompt]
        scores, features = score_with_features(self.reward_model, frames, prompts)
        columns = {name: s.expand(frames.shape[:2]).flatten().float().tolist() for name, s in scores.items()}
        rows = None if features is None else features.flatten(0, 1).float().cpu().numpy()
        for place, (clip, index, _) in enumerate(group):
            row = None if rows is None else rows[place].copy()
            clip.add(index, {name: column[place] for name, column in columns.items()}, row)
        group.clear()


def score_clip(
    reward_model: RewardModel,
    frames: np.ndarray,
    prompt: str,
    settings: Settings,
    *,
    fps: float = REFERENCE_FPS,
    max_curve_frames: int = 0,
) -> ClipScore:
    """Score one clip.

    Args:
        reward_model: gives the reward.
        frames: uint8 (num_frames, height, width, 3).
        prompt: what the clip should show.
        settings: its `num_segments`, whose first frames are scored (of fewer frames all), and its `attenuation_rate`.
        fps: frames per second; only dynamic degree depends on it.
        max_curve_frames: how many frames all along the clip are scored besides, for the curve and the consistency.
    """
    clip = plan_clip(prompt, len(frames), settings.num_segments, max_curve_frames)
    bench = FrameBatcher(reward_model)
    for index in clip.frame_indices:
        bench.add(clip, index, frames[index])
    bench.flush()
    return clip.score(reward_model.name, settings.attenuation_rate, measure_temporal(frames, fps))


def mean_of(scores: Sequence[ClipScore], metric: str) -> float:
    """Mean of one metric over clips."""
    return float(np.mean([score[metric] for score in scores]))


def compare_scores(
    prompts: Sequence[str], before: Sequence[ClipScore], after: Sequence[ClipScore]
) -> dict[str, dict[str, float]]:
    """Each metric's paired change with its interval; several clips of a prompt count as one observation."""
    return {
        metric: compare_values(prompts, *([score[metric] for score in side] for side in (before, after)))
        for metric in compared()
    }


def compare_rewards(
    prompts: Sequence[str], before: Sequence[ClipScore], after: Sequence[ClipScore]
) -> dict[str, dict[str, float]]:
    """Each judge's paired change, likewise, by its name."""
    return {
        name: compare_values(prompts, *([score.rewards[name] for score in side] for side in (before, after)))
        for name in before[0].rewards
    }


def compare_values(prompts: Sequence[str], before: Sequence[float], after: Sequence[float]) -> dict[str, float]:
    """One value's paired change with its interval."""
    a, b = (group_by_prompt(prompts, values) for values in (before, after))
    return asdict(paired_difference(a, b))
