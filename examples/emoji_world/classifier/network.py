"""A small classifier of subject, motion and place, trained on augmented renders only (`train.py`)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from examples.emoji_world.captions import MOTIONS, PLACES, SUBJECTS
from examples.emoji_world.renderer import NUM_FRAMES, SIZE

WEIGHTS = Path(__file__).parent / "weights"
FILE_NAME = "model.safetensors"
WORDS = {"subjects": SUBJECTS, "motions": MOTIONS, "places": PLACES}
FRAME_INDICES = tuple(range(0, NUM_FRAMES, 2))  # the frames that are looked at


@dataclass(frozen=True)
class Predictions:
    """What the classifier sees in each clip of a batch.

    Attributes:
        subjects: of `captions.SUBJECTS`, one a clip.
        motions: of `captions.MOTIONS`, one a clip.
        places: of `captions.PLACES`, one a clip.
        features: (batch, num_features) float, of length one: the layer before the three decisions.
    """

    subjects: list[str]
    motions: list[str]
    places: list[str]
    features: Tensor


def as_frames(clips: Tensor) -> Tensor:
    """uint8 (..., height, width, 3) to float (..., 3, height, width) in [0, 1]."""
    return clips.movedim(-1, -3).float() / 255


def _convolution(in_channels: int, out_channels: int, kernel_size: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel_size, stride, kernel_size // 2, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


class Classifier(nn.Module):
    """Frames are encoded one by one; their maps are pooled for subject and place, their course in time for motion.

    Args:
        widths: channels at 32, 16, 8 and 4 pixels.
        num_motion_channels: channels of the convolution over time.
        num_features: length of the joint features.
    """

    def __init__(
        self,
        widths: tuple[int, int, int, int] = (24, 48, 96, 160),
        num_motion_channels: int = 96,
        num_features: int = 128,
    ) -> None:
        super().__init__()
        layers = [_convolution(3, widths[0], kernel_size=5, stride=2)]
        for previous, width in pairwise(widths):
            layers += [_convolution(previous, width, stride=2), _convolution(width, width)]
        self.encoder = nn.Sequential(*layers).to(memory_format=torch.channels_last)
        self.layout = nn.Sequential(
            _convolution(widths[-1], 32, kernel_size=1),
            nn.Flatten(),
            nn.Linear(32 * 4 * 4, num_motion_channels),
            nn.ReLU(),
        )
        self.course = nn.Sequential(
            nn.Conv1d(num_motion_channels, num_motion_channels, 3, padding=1),
            nn.ReLU(),
            nn.Conv1d(num_motion_channels, num_motion_channels, 3, padding=1),
            nn.ReLU(),
        )
        self.joint = nn.Sequential(nn.Linear(2 * (widths[-1] + num_motion_channels), num_features), nn.ReLU())
        self.heads = nn.ModuleDict({name: nn.Linear(num_features, len(words)) for name, words in WORDS.items()})

    def forward(self, frames: Tensor) -> Tensor:
        """Features of clips.

        Args:
            frames: (batch, len(FRAME_INDICES), 3, 64, 64) in [0, 1].

        Returns:
            (batch, num_features), not negative.
        """
        batch, num_frames = frames.shape[:2]
        pixels = (2 * frames.flatten(0, 1) - 1).contiguous(memory_format=torch.channels_last)
        maps = self.encoder(pixels)
        cells = maps.flatten(2).unflatten(0, (batch, num_frames)).transpose(1, 2).flatten(2)
        course = self.course(self.layout(maps).unflatten(0, (batch, num_frames)).transpose(1, 2))
        return self.joint(torch.cat([cells.mean(2), cells.amax(2), course.mean(2), course.amax(2)], dim=1))

    def logits(self, features: Tensor) -> dict[str, Tensor]:
        """(batch, number of words) each, under `WORDS`' names."""
        return {name: head(features) for name, head in self.heads.items()}

    @torch.no_grad()
    def classify(self, clips: np.ndarray | Tensor, batch_size: int = 32) -> Predictions:
        """What each clip shows.

        Args:
            clips: (batch, 16, 64, 64, 3) uint8, RGB.
            batch_size: clips that are encoded at once.

        Raises:
            ValueError: clips of another shape or type.
        """
        clips = torch.as_tensor(clips)
        if clips.dtype != torch.uint8 or clips.shape[1:] != (NUM_FRAMES, SIZE, SIZE, 3):
            expected = f"uint8 clips (batch, {NUM_FRAMES}, {SIZE}, {SIZE}, 3)"
            raise ValueError(f"expected {expected}, got {clips.dtype} {tuple(clips.shape)}")
        looked_at = clips[:, list(FRAME_INDICES)]
        features = torch.cat([self(as_frames(part)) for part in looked_at.split(batch_size)])
        words = {
            name: [WORDS[name][index] for index in logits.argmax(1).tolist()]
            for name, logits in self.logits(features).items()
        }
        return Predictions(**words, features=F.normalize(features, dim=1))


def save_classifier(classifier: Classifier, folder: Path) -> None:
    """Write the weights in half precision."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {
        name: (value.half() if value.is_floating_point() else value).contiguous()
        for name, value in classifier.state_dict().items()
    }
    save_file(state, folder / FILE_NAME)


def load_classifier(folder: Path = WEIGHTS) -> Classifier:
    """The trained classifier, ready to classify.

    Raises:
        FileNotFoundError: no weights in the folder.
    """
    path = folder / FILE_NAME
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: python -m examples.emoji_world.classifier.train build/emoji_world")
    classifier = Classifier()
    classifier.load_state_dict(load_file(path))
    return classifier.eval()
