"""A U-Net that recomputes its blocks in the backward pass; diffusers offers this for other classes, not for this one.

Kept for the backward pass is what goes into a block, a few hundred megabytes for ModelScope's U-Net instead of many
gigabytes; what happens inside is computed again, a block at a time, when the gradient comes by.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


class Recomputed:
    """A module's forward that keeps only its inputs while a graph is built, and is the forward itself otherwise.

    Nothing here is random (dropout is off), so that no state of random generators is kept.
    """

    def __init__(self, forward: Callable[..., Any]) -> None:
        """Wrap a bound `forward`."""
        self.forward = forward

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the forward gives."""
        if not torch.is_grad_enabled():
            return self.forward(*args, **kwargs)
        return checkpoint(self.forward, *args, use_reentrant=False, preserve_rng_state=False, **kwargs)


def checkpoint_blocks(unet: nn.Module) -> None:
    """Let every block of a U-Net recompute in the backward pass; gradients stay as they are. Twice does no harm.

    Args:
        unet: changed in place: each residual block, convolution over frames and transformer of it keeps its inputs
            only. Weights and their names stay.
    """
    for block in find_blocks(unet):
        if not isinstance(block.forward, Recomputed):
            block.forward = Recomputed(block.forward)


def find_blocks(unet: Any) -> Iterator[nn.Module]:
    """The parts of a UNet3DConditionModel between which its activations pass, in no particular order."""
    yield unet.transformer_in
    for stage in [*unet.down_blocks, unet.mid_block, *unet.up_blocks]:
        for blocks in stage.children():
            yield from blocks
