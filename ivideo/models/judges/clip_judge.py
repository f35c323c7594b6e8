"""The cosine of image and text features: what every judge of CLIP's architecture gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ivideo.models.judges.preprocessing import Preprocessing

MAX_KEPT_PROMPTS = 4096


class ClipJudge:
    """A preference model of CLIP's architecture: the cosine of image and text features (HPSv2, section 3 of its paper).

    Source: Wu et al. 2023, "Human Preference Score v2"; no logit scale, no factor of 100.
    """

    is_differentiable = True

    def __init__(
        self,
        name: str,
        label: str,
        network: nn.Module,
        tokenize: Callable[[list[str]], Tensor],
        preprocessing: Preprocessing,
        device: torch.device,
    ) -> None:
        """Wrap a network with `encode_image` and `encode_text`; it is frozen and put on the device."""
        self.name, self.label = name, label
        self.network: Any = network.requires_grad_(False).eval().to(device)
        self.tokenize, self.preprocessing, self.device = tokenize, preprocessing, device
        self._text_features: dict[str, Tensor] = {}

    def score_frames(self, frames: Tensor, prompts: Sequence[str]) -> dict[str, Tensor]:
        """Cosine of each frame with its clip's prompt: {name: (batch, num_frames)}, each in [-1, 1]."""
        return {self.name: self.score_features(self.encode_frames(frames), prompts)}

    def encode_frames(self, frames: Tensor) -> Tensor:
        """Image features of each frame: what the scores come from, and what `score_features` takes.

        Args:
            frames: (batch, num_frames, 3, height, width) float in [0, 1], any size.

        Returns:
            (batch, num_frames, dim) float32, of length 1, on the judge's device.
        """
        images = self.preprocessing(frames.flatten(0, 1).to(self.device, torch.float32))
        features: Tensor = F.normalize(self.network.encode_image(images), dim=-1)
        return features.reshape(*frames.shape[:2], -1)

    def score_features(self, features: Tensor, prompts: Sequence[str]) -> Tensor:
        """Cosine of image features (batch, num_frames, dim) with each clip's prompt: (batch, num_frames)."""
        scores: Tensor = (features * self._encode_text(prompts)[:, None]).sum(-1)
        return scores

    @torch.no_grad()
    def _encode_text(self, prompts: Sequence[str]) -> Tensor:
        known = self._text_features
        if len(known) > MAX_KEPT_PROMPTS:  # another thread may still read the old ones
            known = self._text_features = {}
        for prompt in prompts:
            if prompt not in known:  # alone: rounding depends on what else is in a batch
                features = self.network.encode_text(self.tokenize([prompt]).to(self.device))
                known[prompt] = F.normalize(features[0], dim=-1)
        return torch.stack([known[prompt] for prompt in prompts])
