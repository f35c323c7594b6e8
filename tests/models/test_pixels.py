"""A clip of no numbers is an error that names the part that made it so."""

from __future__ import annotations

import pytest
import torch

from ivideo.errors import IvideoError
from ivideo.models.pixels import to_pixels

FRAMES = torch.tensor([0.0, 0.5, 1.0]).repeat(2, 3, 4, 1)  # (num_frames, 3, height, width)
LATENTS = torch.zeros(4, 2, 2, 2)


def test_frames_become_bytes_with_the_channels_last() -> None:
    pixels = to_pixels(FRAMES, "m", "unet", LATENTS)
    assert (pixels.shape, pixels.dtype) == ((2, 4, 3, 3), torch.uint8)
    assert pixels[0, 0, :, 0].tolist() == [0, 128, 255]


@pytest.mark.parametrize(
    ("latents", "said"),
    [
        (LATENTS, "its vae gives frames that are no finite numbers"),
        (LATENTS * torch.nan, "its unet gives latents that are no finite numbers"),
        (LATENTS + torch.inf, "its unet gives latents that are no finite numbers"),
        (None, "its unet gives frames that are no finite numbers"),
    ],
)
def test_the_part_that_went_wrong_is_named(latents: torch.Tensor | None, said: str) -> None:
    frames = FRAMES.clone()
    frames[1, 2, 3, 0] = torch.nan
    with pytest.raises(IvideoError, match=f"^model 'm' makes no clip: {said}"):
        to_pixels(frames, "m", "unet", latents)
