"""What a reward model is: something that scores how well people would like a frame, or a whole clip, for its prompt."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal

from torch import Tensor


class RewardModel(ABC):
    """Gives one number a frame, or one a clip; the higher the better.

    Attributes:
        name: key of its scores, as it was asked for.
        label: what a person should read beside a score, with its caveats.
        version: of its weights, as in "v2.1"; "" where there are none.
        is_differentiable: whether gradients flow from scores to frames, so that it can be trained on.
        scope: what gets a number, each frame or the clip as a whole.
        sees_frames_alone: whether a frame's score never depends on the frames beside it; frames of several clips may
            then be scored in one call.
        fps: frames a second that a model of whole clips wants; None for every frame.
        max_frames: the most frames of a clip that it wants.
    """

    name: str
    label: str
    version: str = ""
    is_differentiable: bool = True
    scope: Literal["frame", "clip"] = "frame"
    sees_frames_alone: bool = False
    fps: float | None = None
    max_frames: int = 64

    @abstractmethod
    def score(self, frames: Tensor, prompts: Sequence[str], times: Tensor) -> Tensor:
        """Score frames, or clips by those of their frames that `choose_frames` names.

        Args:
            frames: (batch, num_frames, 3, height, width) float in [0, 1], any size.
            prompts: one a clip.
            times: (batch, num_frames), of each frame, in seconds from its clip's beginning.

        Returns:
            (batch, num_frames) for the scope "frame", (batch,) for the scope "clip".
        """

    def score_with_features(
        self, frames: Tensor, prompts: Sequence[str], times: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """The same, and the image features that frames' scores come from, (batch, num_frames, dim), if it has any."""
        return self.score(frames, prompts, times), None

    def choose_frames(self, num_frames: int, fps: float) -> list[int]:
        """Which frames of a clip it wants to see, at least one, rising: from the first one on, evenly in time.

        index_k = floor(k * step + 1/2), step = max(1, fps of the clip / fps that is wanted, num_frames / max_frames).
        Of 16 frames at 8 a second a model that wants 2 gets the frames 0, 4, 8 and 12.

        Args:
            num_frames: of the clip, at least 1.
            fps: its frames a second.
        """
        step = max(1.0, fps / (self.fps or fps), num_frames / self.max_frames)
        indices = (int(k * step + 0.5) for k in range(self.max_frames))
        return [index for index in indices if index < num_frames]
