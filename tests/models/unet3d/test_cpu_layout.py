"""The form for CPUs changes how a U-Net is computed, and nothing else."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from ivideo.models.unet3d.blocks import TemporalConv, arrange_for_cpu


@pytest.fixture
def temporal_layer():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Conv3d(4, 6, (3, 1, 1), padding=(1, 0, 0)).double()


def test_a_convolution_over_frames(temporal_layer):
    clip = torch.randn((2, 4, 5, 3, 2), dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(TemporalConv.of(temporal_layer)(clip), temporal_layer(clip))
    scattered = clip.transpose(3, 4)
    torch.testing.assert_close(TemporalConv.of(temporal_layer)(scattered), temporal_layer(scattered))


def test_its_gradients(temporal_layer):
    layer = TemporalConv.of(temporal_layer)
    clip = torch.randn((1, 4, 3, 2, 2), dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(layer, clip)
    assert layer.weight is temporal_layer.weight


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv3d(2, 2, 3, padding=1),
        nn.Conv3d(2, 2, (3, 1, 1), padding=(1, 0, 0), stride=(2, 1, 1)),
        nn.Conv3d(2, 2, (3, 1, 1), padding=(1, 0, 0), groups=2),
        nn.Conv3d(2, 2, (3, 1, 1), padding=(1, 1, 0)),
        nn.Conv3d(2, 2, (3, 1, 1), padding=(1, 0, 0), padding_mode="circular"),
    ],
)
def test_other_convolutions_stay(layer):
    assert type(arrange_for_cpu(nn.Sequential(layer))[0]) is nn.Conv3d


def test_a_unet_computes_the_same_under_the_same_names(make_unet):
    plain = make_unet()
    arranged = arrange_for_cpu(copy.deepcopy(plain))
    layers = [module for module in arranged.modules() if isinstance(module, nn.Conv3d)]
    assert layers
    assert {type(module) for module in layers} == {TemporalConv}
    assert list(arranged.state_dict()) == list(plain.state_dict())
    latents = torch.randn((2, 4, 4, 4, 4), generator=torch.Generator().manual_seed(1), requires_grad=True)
    states = torch.randn((2, 5, plain.config.cross_attention_dim), generator=torch.Generator().manual_seed(2))
    outputs = [unet(latents, 500, states).sample for unet in (plain, arranged)]
    torch.testing.assert_close(outputs[1], outputs[0], rtol=0, atol=1e-5)
    gradients = [torch.autograd.grad(output.square().sum(), latents)[0] for output in outputs]
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-4, atol=1e-4)
