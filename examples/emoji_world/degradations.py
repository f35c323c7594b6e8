"""Ways to spoil a picture, each at a strength from 0 (just visible) to 1 (heavy)."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


def blur(image: Tensor, strength: float, rng: np.random.Generator) -> Tensor:
    """Lower resolution and back."""
    height, width = image.shape[-2:]
    factor = 1.5 + 2.5 * strength
    small = F.interpolate(image[None], size=(round(height / factor), round(width / factor)), mode="area")
    return F.interpolate(small, size=(height, width), mode="bicubic", align_corners=False)[0].clamp(0, 1)


def add_noise(image: Tensor, strength: float, rng: np.random.Generator) -> Tensor:
    """Pixel noise."""
    noise = torch.from_numpy(rng.standard_normal(image.shape).astype(np.float32))
    return (image + (0.05 + 0.2 * strength) * noise).clamp(0, 1)


def change_contrast(image: Tensor, strength: float, rng: np.random.Generator) -> Tensor:
    """Washed out or overdone, about a shifted grey."""
    factor = 0.75 - 0.5 * strength if rng.random() < 0.5 else 1.35 + strength
    return ((image - 0.5) * factor + 0.5 + rng.uniform(-0.2, 0.2) * strength).clamp(0, 1)


def change_brightness(image: Tensor, strength: float, rng: np.random.Generator) -> Tensor:
    """Darker or lighter."""
    sign = 1 if rng.random() < 0.5 else -1
    return (image + sign * (0.12 + 0.28 * strength)).clamp(0, 1)


def tint(image: Tensor, strength: float, rng: np.random.Generator) -> Tensor:
    """A cast of colour."""
    direction = rng.uniform(-1, 1, 3)
    shift = (0.12 + 0.3 * strength) * direction / np.abs(direction).max()
    return (image + torch.from_numpy(shift.astype(np.float32))[:, None, None]).clamp(0, 1)


def change_saturation(image: Tensor, strength: float, rng: np.random.Generator) -> Tensor:
    """Greyed or gaudy."""
    grey = image.mean(0, keepdim=True)
    factor = 0.6 - 0.6 * strength if rng.random() < 0.5 else 1.6 + strength
    return (grey + factor * (image - grey)).clamp(0, 1)


def warp(image: Tensor, strength: float, rng: np.random.Generator) -> Tensor:
    """A smooth random displacement, of about one to five pixels."""
    height, width = image.shape[-2:]
    coarse = torch.from_numpy(rng.standard_normal((1, 2, 6, 6)).astype(np.float32)) * (0.04 + 0.1 * strength)
    offset = F.interpolate(coarse, size=(height, width), mode="bicubic", align_corners=False)[0].permute(1, 2, 0)
    rows, columns = (torch.linspace(-1 + 1 / side, 1 - 1 / side, side) for side in (height, width))
    grid = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1) + offset
    return F.grid_sample(image[None], grid[None], padding_mode="border", align_corners=False)[0]


DEGRADATIONS = {
    "blur": blur,
    "noise": add_noise,
    "contrast": change_contrast,
    "brightness": change_brightness,
    "tint": tint,
    "saturation": change_saturation,
    "warp": warp,
}


def degrade(image: Tensor, strength: float, rng: np.random.Generator, kind: str | None = None) -> Tensor:
    """Spoil one image.

    Args:
        image: (3, height, width) float in [0, 1].
        strength: in [0, 1].
        rng: draws the kind and what is random in it; the same state gives the same spoiling at another strength.
        kind: one of `DEGRADATIONS`; drawn when None.
    """
    if kind is None:
        kind = str(rng.choice(list(DEGRADATIONS)))
    return DEGRADATIONS[kind](image, strength, rng)
