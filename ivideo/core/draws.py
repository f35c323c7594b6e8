"""Random draws that depend on what is drawn for, never on process state.

Each draw has a generator of its own, keyed by (seed, step, sample index, purpose). Resuming, splitting a batch over
processes or reordering it therefore cannot change what a sample sees.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from ivideo.core.segments import sample_frame_indices


def generator_for(seed: int, step: int, sample_index: int, purpose: str) -> torch.Generator:
    """Make the generator of one draw, seeded with 64 bits of `blake2b("seed/step/sample_index/purpose")`.

    PyTorch's CPU generator (mt19937) uses the low 32 bits of a seed, so among 100 000 draws about one pair coincides;
    such a pair repeats a noise and does no other harm.

    Args:
        seed: The run's seed.
        step: Which use of the sample this is: the optimiser step, or the epoch where a sample must see the same at any
            batch size (an optimiser step then holds other samples).
        sample_index: Index of the sample counted over all processes: its place in the global batch or, with the epoch
            as step, in the whole run.
        purpose: What is drawn, such as "noise"; different purposes get independent draws.

    Returns:
        A fresh CPU generator; (0, 0, 0, "noise") has the seed 0x7435771cbf94fb15.
    """
    key = f"{seed}/{step}/{sample_index}/{purpose}".encode()
    digest = hashlib.blake2b(key, digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big"))


def draw_normal(
    shape_per_sample: Sequence[int], *, seed: int, step: int, sample_indices: Sequence[int], purpose: str
) -> Tensor:
    """Draw standard normal noise; row i depends on `sample_indices[i]` alone, not on its neighbours.

    Args:
        shape_per_sample: Shape of one sample, without the batch axis, such as (C, F, H, W).
        seed: The run's seed.
        step: Step of the run.
        sample_indices: Global sample index of each row, at least one.
        purpose: What the noise is for; see `generator_for`.

    Returns:
        Noise (len(sample_indices), *shape_per_sample), float32, on the CPU (so that every device sees the same).
    """
    rows = [
        torch.randn(*shape_per_sample, generator=generator, dtype=torch.float32, device=generator.device)
        for generator in (generator_for(seed, step, sample_index, purpose) for sample_index in sample_indices)
    ]
    return torch.stack(rows)


def draw_frame_indices(
    num_frames: int, num_segments: int, *, seed: int, step: int, sample_indices: Sequence[int]
) -> Tensor:
    """Draw one frame of each segment for each sample, as `sample_frame_indices` does, a generator for each row.

    Args:
        num_frames: F, pixel frames of the clip.
        num_segments: S, from 1 to F.
        seed: The run's seed.
        step: Step of the run.
        sample_indices: Global sample index of each row, at least one.

    Returns:
        Frame indices (len(sample_indices), num_segments), int64, on the CPU.

    Raises:
        ValueError: If `num_segments` is not within 1 and `num_frames`.
    """
    rows = [
        sample_frame_indices(num_frames, num_segments, generator_for(seed, step, sample_index, "frame_indices"))
        for sample_index in sample_indices
    ]
    return torch.cat(rows)


def epoch_order(num_items: int, seed: int, epoch: int) -> list[int]:
    """Shuffle the items for one epoch: each of 0 ... num_items - 1 once.

    Args:
        num_items: Items of the data set, at least 1.
        seed: The run's seed.
        epoch: Epoch, from 0; each has its own order.
    """
    generator = generator_for(seed, epoch, 0, "epoch_order")
    order: list[int] = torch.randperm(num_items, generator=generator, device=generator.device).tolist()
    return order


def item_at(position: int, num_items: int, seed: int) -> int:
    """Find the item that the n-th sample of the whole run uses, counted over epochs and processes.

    With 5 items, position 7 is the third item (7 mod 5 = 2) of epoch 1 (7 // 5).

    Args:
        position: n, from 0: samples used before this one.
        num_items: Items of the data set, at least 1.
        seed: The run's seed.
    """
    epoch, place = divmod(position, num_items)
    return epoch_order(num_items, seed, epoch)[place]
