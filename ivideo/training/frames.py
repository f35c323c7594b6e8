"""The frames of a batch's clips that reward models look at: drawn ones, and those that whole clips are scored by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ivideo.config.settings import FinetuneSettings
from ivideo.core.objective import Objective
from ivideo.rewards.mixture import Rewards, Score, average


class BatchScorer:
    """Says which frames are decoded, each once, and has every reward model score those that it looks at.

    Attributes:
        drawn: (batch_size, num_segments) int64, frames that models of single frames score, on the latents' device.
        indices: (batch_size, num_decoded) int64, all frames to decode, likewise; see `join_rows`.
    """

    def __init__(
        self,
        rewards: Rewards,
        prompts: Sequence[str],
        drawn: Tensor,
        settings: FinetuneSettings,
        device: torch.device,
    ) -> None:
        """Find out what is looked at.

        Args:
            rewards: all that score the batch.
            prompts: one a clip.
            drawn: on the CPU.
            settings: the clips' number of frames and rate.
            device: of the latents.
        """
        self.rewards, self.prompts, self.fps = rewards, list(prompts), settings.fps
        self.drawn = self.indices = drawn.to(device, non_blocking=True)
        self._places: dict[str, Tensor] = {}
        self._found: list[dict[str, Score]] = []
        if wanted := rewards.choose_frames(settings.num_frames, settings.fps):
            rows = {name: torch.tensor(frames, device="cpu").repeat(len(drawn), 1) for name, frames in wanted.items()}
            rows |= dict.fromkeys(rewards.frame_models, drawn)
            indices = join_rows(list(rows.values()))
            self.indices = indices.to(device, non_blocking=True)
            for name, own in rows.items():
                self._places[name] = torch.searchsorted(indices, own).to(device, non_blocking=True)

    def score_frames(self, frames: Tensor) -> Tensor:
        """Score what was decoded, (batch_size, num_decoded, 3, height, width) in [0, 1].

        Returns:
            (batch_size, num_segments), the first reward of the drawn frames: 0 where it looks at whole clips only.
        """
        rows = torch.arange(len(frames), device=frames.device)[:, None]
        scores = {}
        for name, model in self.rewards.models.items():
            seen, indices = frames, self.indices
            if (places := self._places.get(name)) is not None:
                seen, indices = frames[rows, places], indices[rows, places]
            scores[name] = model.score(seen, self.prompts, indices / self.fps)
        self._found.append(self.rewards.sum_up(scores))
        drawn = self._found[-1][self.rewards.name].frame
        return frames.new_zeros(self.drawn.shape) if drawn is None else drawn

    def means(self) -> dict[str, Score]:
        """Every reward, and every model that is part of one, by name; over all samples that were scored."""
        return {name: average([found[name] for found in self._found]) for name in self.rewards.labels}


def add_whole_clips(objective: Objective, clip_scores: Tensor | None) -> Objective:
    """Reward whole clips, too: `loss = 1 - mean_b (attenuated mean over frames_b + clip score_b)`.

    Attenuated frames that give 0.25 and a clip that gives 0.5 have the loss 0.25.

    Args:
        objective: of the drawn frames.
        clip_scores: (batch_size,), weighted; None where the reward looks at single frames only.

    Raises:
        ValueError: not one score a clip.
    """
    if clip_scores is None:
        return objective
    rewards = objective.video_rewards
    if clip_scores.shape != rewards.shape:
        raise ValueError(f"a whole clip gets one score: {len(rewards)} clips, scores {tuple(clip_scores.shape)}")
    scores = clip_scores.float()
    return replace(objective, loss=objective.loss - scores.mean(), video_rewards=rewards + scores)


def join_rows(columns: Sequence[Tensor]) -> Tensor:
    """The numbers of several matrices, each once in its row, ascending; shorter rows repeat their last number.

    The rows (1, 3) and (2, 5) of one matrix with (0, 3) and (0, 4) of another become (0, 1, 3, 3) and (0, 2, 4, 5).

    Args:
        columns: (num_rows, any width) each, on the CPU.
    """
    rows = [row.unique() for row in torch.cat(list(columns), 1)]
    width = max(map(len, rows))
    return torch.stack([row[torch.arange(width, device="cpu").clamp(max=len(row) - 1)] for row in rows])
