"""Changes of a clip that leave its subject, motion and place, each at a strength from 0 (hardly any) to 1 (heavy).

All frames of a clip are changed alike. The classifier is trained on them so that its answers do not hang on sharpness,
and hangs on shapes more than on colours.
"""

from __future__ import annotations

import math

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.transforms.functional import gaussian_blur

from .network import as_frames

PROBABILITY = 0.3  # of each augmentation in `augment`


def _sign(rng: np.random.Generator) -> int:
    return 1 if rng.random() < 0.5 else -1


def move(clip: Tensor, strength: float, rng: np.random.Generator) -> Tensor:
    """Shift by up to a tenth of the side in each direction and zoom by up to a tenth; the border is repeated."""
    zoom = 1 + 0.1 * strength * _sign(rng)
    shift = 2 * 0.1 * strength * rng.uniform(-1, 1, 2)  # the side is 2 in the grid's units
    theta = torch.tensor([[zoom, 0, shift[0]], [0, zoom, shift[1]]], dtype=torch.float32)
    grid = F.affine_grid(theta[None], [1, *clip.shape[1:]], align_corners=False).expand(len(clip), -1, -1, -1)
    return F.grid_sample(clip, grid, padding_mode="border", align_corners=False)


def change_contrast(clip: Tensor, strength: float, rng: np.random.Generator) -> Tensor:
    """Flatter or harder, about the clip's mean."""
    mean = clip.mean()
    return ((clip - mean) * 1.6 ** (strength * _sign(rng)) + mean).clamp(0, 1)


def change_brightness(clip: Tensor, strength: float, rng: np.random.Generator) -> Tensor:
    """Darker or lighter by a factor, so that night stays night."""
    return (clip * 1.35 ** (strength * _sign(rng))).clamp(0, 1)


def tint(clip: Tensor, strength: float, rng: np.random.Generator) -> Tensor:
    """A factor for each colour."""
    factors = 1 + 0.2 * strength * rng.uniform(-1, 1, 3)
    return (clip * torch.from_numpy(factors.astype(np.float32))[:, None, None]).clamp(0, 1)


def change_saturation(clip: Tensor, strength: float, rng: np.random.Generator) -> Tensor:
    """Greyer, down to grey, or gaudier."""
    grey = clip.mean(1, keepdim=True)
    return (grey + (1 + strength * _sign(rng)) * (clip - grey)).clamp(0, 1)


def turn_hue(clip: Tensor, strength: float, rng: np.random.Generator) -> Tensor:
    """Turn the colours about the axis of greys by up to a seventh of the circle; Rodrigues' formula."""
    angle = 2 * math.pi / 7 * strength * _sign(rng)
    axis = torch.full((3,), 3**-0.5)
    cross = torch.linalg.cross(torch.eye(3), axis.expand(3, 3))
    turn = math.cos(angle) * torch.eye(3) + math.sin(angle) * cross + (1 - math.cos(angle)) * torch.outer(axis, axis)
    return torch.einsum("ij,fjhw->fihw", turn, clip).clamp(0, 1)


def blur(clip: Tensor, strength: float, rng: np.random.Generator) -> Tensor:
    """A Gaussian of up to 1.8 pixels."""
    return gaussian_blur(clip, kernel_size=9, sigma=0.3 + 1.5 * strength)


def lower_resolution(clip: Tensor, strength: float, rng: np.random.Generator) -> Tensor:
    """Down to as little as two fifths of the side, and back."""
    side = clip.shape[-1]
    small = F.interpolate(clip, size=round(side / (1 + 1.5 * strength)), mode="area")
    return F.interpolate(small, size=side, mode="bilinear", align_corners=False)


def add_noise(clip: Tensor, strength: float, rng: np.random.Generator) -> Tensor:
    """Pixel noise, fresh in each frame."""
    noise = torch.from_numpy(rng.standard_normal(clip.shape, dtype=np.float32))
    return (clip + (0.02 + 0.13 * strength) * noise).clamp(0, 1)


def compress(clip: Tensor, strength: float, rng: np.random.Generator) -> Tensor:
    """JPEG of quality 90 down to 20, frame by frame."""
    quality = [cv2.IMWRITE_JPEG_QUALITY, round(90 - 70 * strength)]
    frames = (clip.permute(0, 2, 3, 1) * 255).round().byte().numpy()[..., ::-1]  # OpenCV writes BGR
    coded = [cv2.imencode(".jpg", frame, quality)[1] for frame in frames]
    decoded = np.stack([cv2.imdecode(picture, cv2.IMREAD_COLOR)[..., ::-1] for picture in coded])
    return as_frames(torch.from_numpy(decoded))


AUGMENTATIONS = {
    "move": move,
    "contrast": change_contrast,
    "brightness": change_brightness,
    "tint": tint,
    "saturation": change_saturation,
    "hue": turn_hue,
    "blur": blur,
    "resolution": lower_resolution,
    "noise": add_noise,
    "compression": compress,
}


def augment(clip: Tensor, rng: np.random.Generator) -> Tensor:
    """Some of the augmentations, each at a strength drawn evenly.

    Args:
        clip: (num_frames, 3, height, width) in [0, 1].
        rng: draws which ones, how strong, and what is random in them.
    """
    for change in AUGMENTATIONS.values():
        if rng.random() < PROBABILITY:
            clip = change(clip, rng.random(), rng)
    return clip
