"""What a judge is: something that scores how well people would like a frame for its prompt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor


class RewardModel(Protocol):
    """Scores frames against their prompts.

    Attributes:
        name: key of its scores; of a jury the key of its first reward.
        label: what a person should read beside a score, with its caveats.
        is_differentiable: whether gradients flow from scores to frames.
    """

    name: str
    label: str

    @property
    def is_differentiable(self) -> bool:
        """Whether it can be trained on."""
        ...

    def score_frames(self, frames: Tensor, prompts: Sequence[str]) -> dict[str, Tensor]:
        """Named scores of each frame.

        Args:
            frames: (batch, num_frames, 3, height, width) float in [0, 1], any size.
            prompts: one a clip.

        Returns:
            (batch, num_frames) by name; whole-clip judges return (batch, 1).
        """
        ...
