"""The U-Net's blocks: recomputed in the backward pass, and arranged as a CPU computes them fastest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ivideo.models.recomputing import Recomputed


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
    """The parts of a U-Net of clips between which its activations pass, in no particular order."""
    yield from filter(None, [getattr(unet, "transformer_in", None)])
    for stage in [*unet.down_blocks, unet.mid_block, *unet.up_blocks]:
        for blocks in stage.children():
            yield from blocks


class TemporalConv(nn.Conv3d):
    """A convolution over frames alone, computed as one over a (frames, pixels) plane.

    At the emoji world's sizes, on AVX2 cores, it takes .4 to .8 of the time of torch's Conv3d, forward and backward.
    """

    @classmethod
    def of(cls, layer: nn.Conv3d) -> TemporalConv:
        """The same layer, sharing its weights."""
        with torch.device("meta"):
            made = cls(layer.in_channels, layer.out_channels, layer.kernel_size, padding=layer.padding)  # type: ignore[arg-type]
        made.weight, made.bias = layer.weight, layer.bias
        return made.train(layer.training)

    def forward(self, input: Tensor) -> Tensor:
        """(batch, channels, num_frames, height, width) to the same with `out_channels`."""
        plane = F.conv2d(input.flatten(3), self.weight.squeeze(-1), self.bias, padding=(int(self.padding[0]), 0))
        result: Tensor = plane.unflatten(3, input.shape[3:])
        return result


def is_temporal(layer: nn.Module) -> bool:
    """Whether a layer is a plain convolution over frames alone."""
    return (
        type(layer) is nn.Conv3d
        and layer.kernel_size[1:] == (1, 1)
        and layer.padding_mode == "zeros"
        and tuple(layer.padding[1:]) == (0, 0)
        and {*layer.stride, *layer.dilation, layer.groups} == {1}
    )


def arrange_for_cpu(unet: Any) -> Any:
    """Compute convolutions over frames as planes and those over pixels in channels-last order; changed in place."""
    for parent in list(unet.modules()):
        for name, child in parent.named_children():
            if is_temporal(child):
                setattr(parent, name, TemporalConv.of(child))
            elif isinstance(child, nn.Conv2d):
                child.to(memory_format=torch.channels_last)
    return unet
