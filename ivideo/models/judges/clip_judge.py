"""The cosine of image and text features: what every judge of CLIP's architecture gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ivideo.models.judges.preprocessing import Preprocessing


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
        batch, num_frames = frames.shape[:2]
        images = self.preprocessing(frames.flatten(0, 1).to(self.device, torch.float32))
        features = F.normalize(self.network.encode_image(images), dim=-1).unflatten(0, (batch, num_frames))
        return {self.name: (features * self._encode_text(prompts)[:, None]).sum(-1)}

    @torch.no_grad()
    def _encode_text(self, prompts: Sequence[str]) -> Tensor:
        for prompt in prompts:
            if prompt not in self._text_features:  # alone: rounding depends on what else is in a batch
                features = self.network.encode_text(self.tokenize([prompt]).to(self.device))
                self._text_features[prompt] = F.normalize(features[0], dim=-1)
        return torch.stack([self._text_features[prompt] for prompt in prompts])
