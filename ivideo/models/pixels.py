"""Frames as people see them, and whose fault it is where they are no numbers."""

from __future__ import annotations

import torch
from torch import Tensor

from ivideo.errors import IvideoError
from ivideo.models.loading import is_finite


def to_pixels(frames: Tensor, name: str, parts: str, latents: Tensor | None = None) -> Tensor:
    """Frames of a clip as uint8 (num_frames, height, width, 3) on the CPU.

    Args:
        frames: (num_frames, 3, height, width) in [0, 1].
        name: of the model, for errors.
        parts: of the model, that made the latents.
        latents: what the frames were decoded from, if that is known.

    Raises:
        IvideoError: a frame is no number; names the part that went wrong.
    """
    if not is_finite(frames):
        is_decoder = latents is not None and bool(is_finite(latents))
        part, made = ("vae", "frames") if is_decoder else (parts, "latents" if latents is not None else "frames")
        raise IvideoError(
            f"model {name!r} makes no clip: its {part} gives {made} that are no finite numbers; schedule, guidance, "
            "adapter and type decide how far numbers grow (`dtype` float32 goes farthest)"
        )
    return (frames.float() * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu()
