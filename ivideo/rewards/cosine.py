"""The cosine of image and text features: what every reward model of CLIP's architecture gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ivideo.errors import IvideoError
from ivideo.models.loading import check_finite, import_quietly, load_tokenizer
from ivideo.rewards.contract import RewardModel

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
Fit = Literal["longest", "shortest", "squash"]
Filter = Literal["bicubic", "bilinear"]


@dataclass(frozen=True)
class Preprocessing:
    """Resize, pad or cut to a square, and normalise.

    Attributes:
        image_size: side of the square that the network reads, in pixels.
        fit: which side becomes `image_size`: the longest (the rest is black), the shortest (the rest is cut off evenly
            on both sides), or both (squashed).
        filter: how pixels are resized, always with antialias.
        clamp: whether resized pixels stay in [0, 1], as those of an 8-bit image do; bicubic filters overshoot.
        round_offset: makes the number of pixels that are cut off on top or on the left whole.
        mean: of the colours that the network was trained on.
        std: their deviation.
    """

    image_size: int
    fit: Fit = "longest"
    filter: Filter = "bicubic"
    clamp: bool = True
    round_offset: Callable[[float], int] = round
    mean: tuple[float, ...] = CLIP_MEAN
    std: tuple[float, ...] = CLIP_STD

    def __call__(self, images: Tensor) -> Tensor:
        """What the network reads, (batch, 3, image_size, image_size).

        A frame of 256 x 128 pixels at image_size 224 becomes 224 x 112 between black bars of 56 ("longest"), or
        448 x 224 of which 112 are cut off at both ends ("shortest").

        Args:
            images: (batch, 3, height, width) float in [0, 1].
        """
        images = self._fit_to_square(self._resize(images))
        mean, std = (_channels(values, images.dtype, images.device) for values in (self.mean, self.std))
        return (images - mean) / std

    def _resize(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        target = self._resized(height, width)
        if (height, width) == target:
            return images
        images = F.interpolate(images, size=target, mode=self.filter, antialias=True, align_corners=False)
        return images.clamp(0, 1) if self.clamp else images

    def _resized(self, height: int, width: int) -> tuple[int, int]:
        size = self.image_size
        if self.fit == "squash":
            return size, size
        if self.fit == "longest":
            factor = size / max(height, width)
            return max(1, round(height * factor)), max(1, round(width * factor))
        short, long = min(height, width), max(height, width)
        longer = int(size * long / short)
        return (size, longer) if height <= width else (longer, size)

    def _fit_to_square(self, images: Tensor) -> Tensor:
        size = self.image_size
        height, width = images.shape[-2:]
        if height < size or width < size:
            top, left = (size - height) // 2, (size - width) // 2
            return F.pad(images, (left, size - width - left, top, size - height - top))
        top, left = (self.round_offset((side - size) / 2) for side in (height, width))
        return images[..., top : top + size, left : left + size]


@cache
def _channels(values: tuple[float, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """A number a channel, (channels, 1, 1); kept, since a GPU would wait for each upload."""
    return torch.tensor(values, dtype=dtype, device=device)[:, None, None]


def preprocess(images: Tensor, image_size: int) -> Tensor:
    """The bundled reward models' preprocessing: longest side to `image_size`, black bars, 8-bit range."""
    return Preprocessing(image_size)(images)


MAX_KEPT_PROMPTS = 4096


class CosineReward(RewardModel):
    """A reward model of CLIP's architecture: the cosine of image and text features (HPSv2, section 3 of its paper).

    Source: Wu et al. 2023, "Human Preference Score v2"; no logit scale, no factor of 100.
    """

    sees_frames_alone = True

    def __init__(
        self,
        name: str,
        label: str,
        network: nn.Module,
        tokenize: Callable[[list[str]], Tensor],
        preprocessing: Preprocessing,
        device: torch.device,
        version: str = "",
    ) -> None:
        """Wrap a network with `encode_image` and `encode_text`; it is frozen and put on the device.

        Raises:
            IvideoError: a weight is no finite number.
        """
        check_finite(network.state_dict(), f"reward {name}: its weights are damaged")
        self.name, self.label, self.version = name, label, version
        self.network: Any = network.requires_grad_(False).eval().to(device)
        self.tokenize, self.preprocessing, self.device = tokenize, preprocessing, device
        self._text_features: dict[str, Tensor] = {}

    def score(self, frames: Tensor, prompts: Sequence[str], times: Tensor | None = None) -> Tensor:
        """Cosine of each frame with its clip's prompt, (batch, num_frames), each in [-1, 1]; times do not matter."""
        return self.score_with_features(frames, prompts)[0]

    def score_with_features(
        self, frames: Tensor, prompts: Sequence[str], times: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The same, and the features of `encode_frames` that it comes from."""
        features = self.encode_frames(frames)
        return self.score_features(features, prompts), features

    def encode_frames(self, frames: Tensor) -> Tensor:
        """Image features of each frame: what the scores come from, and what `score_features` takes.

        Args:
            frames: (batch, num_frames, 3, height, width) float in [0, 1], any size.

        Returns:
            (batch, num_frames, dim) float32, of length 1, on the model's device.
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


def find_given_file(name: str, source: str) -> Path:
    """The file that a reward names.

    Raises:
        IvideoError: there is none.
    """
    path = Path(source).expanduser()
    if not path.is_file():
        raise IvideoError(f"reward {name}: {path} {'is a folder' if path.is_dir() else 'does not exist'}")
    return path


def load_clip_tokenizer(location: str, context_length: int) -> Callable[[list[str]], Tensor]:
    """CLIP's tokenizer as open_clip has it: texts to token ids (len(texts), context_length), padded and cut.

    Raises:
        OSError, ValueError: what reading damaged files raises.
    """
    tokenizer = load_tokenizer(import_quietly("transformers").CLIPTokenizer, location)

    def tokenize(texts: list[str]) -> Tensor:
        padded = {"padding": "max_length", "max_length": context_length, "truncation": True}
        ids: Tensor = tokenizer(texts, return_tensors="pt", **padded).input_ids
        return ids

    return tokenize
