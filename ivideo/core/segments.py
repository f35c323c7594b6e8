"""Segmental sampling: a clip is split into even segments and one frame of each is scored."""

from __future__ import annotations

import torch
from torch import Tensor


def first_frame_indices(num_frames: int, num_segments: int) -> Tensor:
    """Return the first frame of each segment, the frames that evaluation scores: `i_s = s * (F // S)`.

    For 16 frames in 4 segments these are 0, 4, 8 and 12.

    Args:
        num_frames: F, pixel frames of the clip.
        num_segments: S, from 1 to F.

    Returns:
        Frame indices (num_segments,), int64, ascending.

    Raises:
        ValueError: If `num_segments` is not within 1 and `num_frames`.
    """
    if not 1 <= num_segments <= num_frames:
        raise ValueError(f"num_segments must be from 1 to num_frames ({num_frames}), got {num_segments}")
    return torch.arange(num_segments, device="cpu") * (num_frames // num_segments)


def spread_frame_indices(num_frames: int, num_segments: int, max_frames: int) -> Tensor:
    """Return frames to look at all along a clip: every frame, or of a long clip evenly spread ones in each segment.

    With L = F // S and n = max(1, max_frames // S) of `max_frames`, these are `i_sj = s * L + (j * L) // n` for j in
    [0, n), which holds the first frame of each segment (j = 0). 32 frames in 4 segments, at most 8 of them, give 0, 4,
    8, ..., 28. Where S does not divide F, the last F - S * L frames of a long clip are left out.

    Args:
        num_frames: F, frames of the clip.
        num_segments: S, from 1 to F.
        max_frames: the most that are wanted; fewer than S give the first frame of each segment.

    Returns:
        Frame indices, at most max(S, max_frames) of them, int64, ascending.

    Raises:
        ValueError: If `num_segments` is not within 1 and `num_frames`.
    """
    starts = first_frame_indices(num_frames, num_segments)
    if num_frames <= max_frames:
        return torch.arange(num_frames, device="cpu")
    per_segment = max(1, max_frames // num_segments)
    offsets = torch.arange(per_segment, device="cpu") * (num_frames // num_segments) // per_segment
    return (starts[:, None] + offsets).flatten()


def sample_frame_indices(num_frames: int, num_segments: int, generator: torch.Generator, batch_size: int = 1) -> Tensor:
    """Draw one frame uniformly in each segment: `i_s = s * (F // S) + u` with `u` in `[0, F // S)`.

    Of 16 frames in 4 segments: one of 0-3, one of 4-7, one of 8-11, one of 12-15. Where S does not divide F, the
    last `F - S * (F // S)` frames are never drawn.

    Args:
        num_frames: F, pixel frames of the clip.
        num_segments: S, from 1 to F.
        generator: CPU generator, the only source of randomness; it is advanced.
        batch_size: B, clips that get a draw of their own.

    Returns:
        Frame indices (batch_size, num_segments), int64, ascending in each row.

    Raises:
        ValueError: If `num_segments` is not within 1 and `num_frames`.

    Source: InstructVideo, "Segmental Video Reward". The authors' code draws from the process-wide generator.
    """
    starts = first_frame_indices(num_frames, num_segments)
    shape = (batch_size, num_segments)
    offsets = torch.randint(num_frames // num_segments, shape, generator=generator, device=generator.device)
    return starts + offsets
