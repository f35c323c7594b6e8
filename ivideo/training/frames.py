"""The frames of a batch's clips that reward models look at: drawn ones, and those that whole clips are scored by."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ivideo.rewards.mixture import Rewards, Score


class BatchFrames:
    """Which frames are decoded, each once, and who looks at which of them.

    Attributes:
        indices: (batch_size, num_decoded) int64, frames to decode, ascending; a row that needs fewer than the others
            repeats its last one.
    """

    def __init__(
        self,
        rewards: Rewards,
        prompts: Sequence[str],
        drawn: Tensor,
        *,
        num_frames: int,
        fps: float,
        device: torch.device,
    ) -> None:
        """Find out what is looked at.

        Args:
            rewards: all that score the batch.
            prompts: one a clip.
            drawn: (batch_size, num_segments) int64, on the CPU, the frames that models of single frames score.
            num_frames: of each clip.
            fps: frames a second.
            device: of the latents.
        """
        self.rewards, self.prompts = rewards, list(prompts)
        wanted = rewards.choose_frames(num_frames, fps)
        seen = dict.fromkeys(rewards.frame_models, drawn) | {
            name: torch.tensor(indices, device="cpu").expand(len(drawn), -1) for name, indices in wanted.items()
        }
        rows = [torch.cat(row).unique() for row in zip(*seen.values(), strict=True)]
        width = max(map(len, rows))
        indices = torch.stack([row[torch.arange(width, device="cpu").clamp(max=len(row) - 1)] for row in rows])
        self.indices = indices.to(device, non_blocking=True)
        self._places = {name: _find_places(indices, own, device) for name, own in seen.items()}
        self._times = {name: (own / fps).to(device, non_blocking=True) for name, own in seen.items()}

    def score(self, frames: Tensor) -> dict[str, Score]:
        """Every reward, and every reward model that is part of one, by name.

        Args:
            frames: (batch_size, num_decoded, 3, height, width) in [0, 1], those of `indices`.
        """
        scores = {}
        for name, model in self.rewards.models.items():
            places = self._places[name]
            seen = (
                frames if places is None else frames[torch.arange(len(frames), device=frames.device)[:, None], places]
            )
            scores[name] = model.score(seen, self.prompts, self._times[name])
        return self.rewards.sum_up(scores)


def _find_places(indices: Tensor, own: Tensor, device: torch.device) -> Tensor | None:
    """Where (batch_size, n) frames are among those that are decoded; None if they are just these."""
    if torch.equal(indices, own):
        return None
    return torch.searchsorted(indices, own.contiguous()).to(device, non_blocking=True)
