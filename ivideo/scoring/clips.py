"""Scores of clips: frames of several clips in one forward, whole clips one by one, each clip's scores gathered."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ivideo.config.settings import Settings
from ivideo.core.attenuation import frame_weights
from ivideo.core.segments import first_frame_indices, spread_frame_indices
from ivideo.errors import IvideoError
from ivideo.metrics.by_reward import ByReward, ScoredClip
from ivideo.metrics.over_time import REFERENCE_FPS
from ivideo.metrics.registry import compared, measure_temporal, measures
from ivideo.metrics.statistics import group_by_prompt, paired_difference
from ivideo.rewards.mixture import Rewards, Score

Frame = NDArray[np.uint8]
BATCH_SIZE = 16
MAX_BATCH_BYTES = 2**26  # of uint8 pixels, four times as much once they are float32


@dataclass(frozen=True)
class ClipScore:
    """How a clip fares: what the reward models say of it, and what it does over time.

    The last three are of the first reward; they are None where it does not score single frames alone.

    Attributes:
        figures: each metric by its name, of those that were measured; None where the first reward does not tell.
        rewards: by the name of every reward that was asked for, and of every reward model that is part of one: mean
            score of the first frame of each segment, or the score of the whole clip.
        frame_indices: the frames that were scored.
        frame_rewards: their scores.
        segment_indices: the first frame of each segment, which `reward` is the mean of.
    """

    figures: dict[str, Any]
    rewards: dict[str, float]
    frame_indices: list[int] | None
    frame_rewards: list[float] | None
    segment_indices: list[int] | None

    def __getitem__(self, name: str) -> Any:
        """A metric, or the reward of that name."""
        return self.figures[name] if name in self.figures else self.rewards[name]

    @property
    def reward(self) -> float:
        """The first reward."""
        return float(self["reward"])


@dataclass
class PendingClip:
    """A clip that is being scored: its frames in any order and number at a time, and as a whole.

    Attributes:
        rewards: what it is scored by.
        prompt: what it should show.
        num_frames: its length.
        fps: its frames a second.
        segment_indices: the first frame of each segment.
        frame_indices: all frames that get a score each, ascending; none where only whole clips are scored.
        clip_indices: the frames that each reward model of whole clips wants to see, by its name.
        has_curve: whether `frame_indices` are spread all along the clip, so that features tell how consistent it is.
        frame_scores: by reward model and frame, as far as they are known.
        clip_scores: by reward model, likewise.
        features: by frame, where the first reward has any.
    """

    rewards: Rewards
    prompt: str
    num_frames: int
    fps: float
    segment_indices: list[int]
    frame_indices: list[int]
    clip_indices: dict[str, list[int]]
    has_curve: bool
    frame_scores: dict[str, dict[int, float]] = field(default_factory=dict)
    clip_scores: dict[str, float] = field(default_factory=dict)
    features: dict[int, NDArray[np.float32]] = field(default_factory=dict)

    @property
    def seen_indices(self) -> list[int]:
        """Every frame that a reward model looks at, ascending."""
        return sorted({*self.frame_indices}.union(*self.clip_indices.values()))

    @property
    def is_complete(self) -> bool:
        """Whether every score is known."""
        num_scored = len(next(iter(self.frame_scores.values()), ()))
        return num_scored == len(self.frame_indices) and len(self.clip_scores) == len(self.clip_indices)

    def add(self, index: int, scores: dict[str, float], features: NDArray[np.float32] | None) -> None:
        """Note what is known of a frame.

        Args:
            index: its place in the clip.
            scores: by the name of each reward model of single frames.
            features: (width,), of the first reward; None where it has none.
        """
        for name, score in scores.items():
            self.frame_scores.setdefault(name, {})[index] = score
        if features is not None and self.has_curve:
            self.features[index] = features

    def score(self, attenuation_rate: float | None, over_time: Mapping[str, float] | None = None) -> ClipScore:
        """Sum up, once it is complete.

        Args:
            attenuation_rate: of the attenuated reward, per frame; None: no attenuation.
            over_time: the metrics that rewards have no part in; None if they were not measured.
        """
        segments, first = self.segment_indices, self.rewards.name
        weights = frame_weights(torch.tensor(segments), self.num_frames, attenuation_rate)
        scores = self._sum_up(segments)
        features = np.stack([self.features[i] for i in self.frame_indices]) if self.features else None
        scored = ScoredClip(scores[first].mean().item(), scores[first].attenuated(weights).item(), features)
        has_frames = scores[first].clip is None
        curve = self._sum_up(self.frame_indices)[first].frame if has_frames else None
        return ClipScore(
            figures={**{metric: by.ask(scored) for metric, by in measures(ByReward).items()}, **(over_time or {})},
            rewards={name: score.mean().item() for name, score in scores.items()},
            frame_indices=self.frame_indices if has_frames else None,
            frame_rewards=None if curve is None else curve.tolist(),
            segment_indices=segments if has_frames else None,
        )

    def _sum_up(self, indices: Sequence[int]) -> dict[str, Score]:
        """Every reward's scores of some frames, and of the whole clip."""
        of_frames = {name: torch.tensor([one[i] for i in indices]) for name, one in self.frame_scores.items()}
        return self.rewards.sum_up(of_frames | {name: torch.tensor(one) for name, one in self.clip_scores.items()})


def check_scores(name: str, scores: list[float]) -> list[float]:
    """A reward model's scores, every one a number.

    Raises:
        IvideoError: one is none.
    """
    if not all(map(math.isfinite, scores)):
        raise IvideoError(f"reward {name} gives a score that is no finite number")
    return scores


Waiting = tuple[PendingClip, int, Frame]


def plan_clip(
    rewards: Rewards, prompt: str, num_frames: int, fps: float, *, num_segments: int, max_frames: int
) -> PendingClip:
    """A clip and which of its frames are looked at.

    A clip with fewer frames than segments has a segment a frame.

    Args:
        rewards: what it is scored by.
        prompt: what it should show.
        num_frames: its length.
        fps: its frames a second.
        num_segments: segments whose first frames are scored.
        max_frames: the most frames that get a score each, see `spread_frame_indices`; 0: the segments' first ones.
    """
    num_segments = min(num_segments, num_frames)
    segments = first_frame_indices(num_frames, num_segments).tolist()
    frames = spread_frame_indices(num_frames, num_segments, max_frames).tolist() if rewards.frame_models else []
    wanted = rewards.choose_frames(num_frames, fps)
    return PendingClip(rewards, prompt, num_frames, fps, segments, frames, wanted, has_curve=max_frames > 0)


def frames_to_tensor(frames: np.ndarray) -> Tensor:
    """Frames uint8 (num_frames, height, width, 3) as float (num_frames, 3, height, width) in [0, 1]."""
    return torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255


class FrameBatcher:
    """Where frames wait to be scored: a forward takes up to `batch_size` of one size, from however many clips.

    A function of the user's own may look at frames together. It gets those of one clip at a time: the first frames of
    the segments in one call, as in training, and the others as they come. The frames that a reward model of whole
    clips wants are kept until all are there, of one clip at a time.
    """

    def __init__(self, rewards: Rewards, batch_size: int = BATCH_SIZE) -> None:
        """Begin without frames.

        Args:
            rewards: what clips are scored by.
            batch_size: frames a forward, at least 1; fewer where they are large.
        """
        self.rewards, self.batch_size = rewards, batch_size
        self._segments: list[Waiting] = []  # that are to be seen together
        self._others: list[Waiting] = []
        self._kept_clip: PendingClip | None = None
        self._kept: dict[int, Frame] = {}

    def add(self, clip: PendingClip, index: int, frame: Frame) -> None:
        """Take a frame; it is scored as soon as its batch is full.

        Args:
            clip: whose it is; gets its scores.
            index: its place in the clip.
            frame: (height, width, 3), uint8, RGB.
        """
        if clip.clip_indices:
            self._keep(clip, index, frame)
        if index not in clip.frame_indices:
            return
        is_together = not self.rewards.sees_frames_alone and index in clip.segment_indices
        group = self._segments if is_together else self._others
        if group and not self._may_join(group[0], clip, frame):
            self.flush()
        group.append((clip, index, frame))
        most = max(1, min(self.batch_size, MAX_BATCH_BYTES // frame.nbytes))
        if len(group) >= (len(clip.segment_indices) if is_together else most):
            self._score_frames(group)

    def flush(self) -> None:
        """Score all frames that wait."""
        for group in (self._segments, self._others):
            if group:
                self._score_frames(group)

    def _may_join(self, first: Waiting, clip: PendingClip, frame: Frame) -> bool:
        return first[2].shape == frame.shape and (self.rewards.sees_frames_alone or first[0] is clip)

    @torch.no_grad()
    def _score_frames(self, group: list[Waiting]) -> None:
        pixels = frames_to_tensor(np.stack([frame for _, _, frame in group]))
        times = torch.tensor([index / clip.fps for clip, index, _ in group])
        if self.rewards.sees_frames_alone:
            frames, prompts, times = pixels[:, None], [clip.prompt for clip, _, _ in group], times[:, None]
        else:
            frames, prompts, times = pixels[None], [group[0][0].prompt], times[None]
        scores, features = self.rewards.score_frames(frames, prompts, times)
        columns = {name: check_scores(name, one.flatten().float().tolist()) for name, one in scores.items()}
        rows = None if features is None else features.flatten(0, 1).float().cpu().numpy()
        for place, (clip, index, _) in enumerate(group):
            row = None if rows is None else rows[place].copy()
            clip.add(index, {name: column[place] for name, column in columns.items()}, row)
        group.clear()

    @torch.no_grad()
    def _keep(self, clip: PendingClip, index: int, frame: Frame) -> None:
        """Keep a frame for the reward models of whole clips, and score the clip by those that have all they want."""
        if self._kept_clip is not clip:
            self._kept_clip, self._kept = clip, {}
        waiting = {name: one for name, one in clip.clip_indices.items() if name not in clip.clip_scores}
        if any(index in one for one in waiting.values()):
            self._kept[index] = frame
        for name, indices in waiting.items():
            if self._kept.keys() >= {*indices}:
                frames = frames_to_tensor(np.stack([self._kept[i] for i in indices]))
                times = torch.tensor([i / clip.fps for i in indices])
                score = self.rewards.models[name].score(frames[None], [clip.prompt], times[None])
                (clip.clip_scores[name],) = check_scores(name, score.tolist())
        if len(clip.clip_scores) == len(clip.clip_indices):
            self._kept = {}


def score_clip(
    rewards: Rewards,
    frames: np.ndarray,
    prompt: str,
    settings: Settings,
    *,
    fps: float = REFERENCE_FPS,
    max_curve_frames: int = 0,
) -> ClipScore:
    """Score one clip.

    Args:
        rewards: what it is scored by.
        frames: uint8 (num_frames, height, width, 3).
        prompt: what the clip should show.
        settings: its `num_segments`, whose first frames are scored (of fewer frames all), and its `attenuation_rate`.
        fps: frames per second; dynamic degree depends on it, and what models of whole clips look at.
        max_curve_frames: how many frames all along the clip are scored besides, for the curve and the consistency.
    """
    clip = plan_clip(
        *(rewards, prompt, len(frames), fps), num_segments=settings.num_segments, max_frames=max_curve_frames
    )
    batcher = FrameBatcher(rewards)
    for index in clip.seen_indices:
        batcher.add(clip, index, frames[index])
    batcher.flush()
    return clip.score(settings.attenuation_rate, measure_temporal(frames, fps))


def mean_of(scores: Sequence[ClipScore], metric: str) -> float:
    """Mean of one metric over clips."""
    return float(np.mean([score[metric] for score in scores]))


def compare_scores(
    prompts: Sequence[str], before: Sequence[ClipScore], after: Sequence[ClipScore], names: Iterable[str] | None = None
) -> dict[str, dict[str, float]]:
    """Paired changes with their intervals, by name; several clips of a prompt count as one observation.

    Args:
        prompts: the prompt of each clip.
        before: scores of the clips before training.
        after: of those after it, in the same order.
        names: metrics or rewards; None for the metrics that comparisons have.
    """
    changes = {}
    for name in compared() if names is None else names:
        a, b = (group_by_prompt(prompts, [score[name] for score in side]) for side in (before, after))
        changes[name] = asdict(paired_difference(a, b))
    return changes
