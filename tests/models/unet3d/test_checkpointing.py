"""Blocks that recompute: the same numbers, what is kept, and when."""

from __future__ import annotations

import pytest
import torch

from ivideo.models.lora import lora_parameters
from ivideo.models.unet3d.blocks import Recomputed, checkpoint_blocks, find_blocks

TIMESTEP = torch.tensor(551)


@pytest.fixture
def inputs(tuned):
    generator = torch.Generator().manual_seed(3)
    latents = torch.randn((2, 4, 3, 4, 4), generator=generator)
    return latents, torch.randn((2, 5, tuned.config.cross_attention_dim), generator=generator)


def predict(unet, inputs):
    latents, embeds = inputs
    return unet(latents, TIMESTEP, embeds, return_dict=False)[0]


def differentiate(unet, inputs):
    """The prediction, the adapter's gradients, and the bytes that the graph kept through saved-tensor hooks."""
    saved = []

    def keep(tensor):
        saved.append(tensor.nbytes)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        prediction = predict(unet, inputs)
    gradients = torch.autograd.grad(prediction.square().sum(), lora_parameters(unet))
    return prediction, gradients, sum(saved)


def count_calls(unet):
    calls = []
    for block in find_blocks(unet):
        first = next(module for module in block.modules() if not list(module.children()))
        first.register_forward_pre_hook(lambda *_, block=block: calls.append(block))
    return calls


def test_predictions_and_gradients_are_the_same_and_far_less_is_kept(tuned, inputs):
    prediction, gradients, num_bytes = differentiate(tuned, inputs)
    checkpoint_blocks(tuned)
    recomputed, same_gradients, fewer_bytes = differentiate(tuned, inputs)
    assert torch.equal(recomputed, prediction)
    assert max(gradient.abs().max() for gradient in gradients) > 1e-3
    for gradient, same in zip(gradients, same_gradients, strict=True):
        torch.testing.assert_close(same, gradient, rtol=0, atol=1e-6)
    assert fewer_bytes < num_bytes / 10


def test_the_gradient_of_the_input_is_the_same_in_half_precision_too(tuned, inputs):
    tuned.to(torch.bfloat16)
    for parameter in lora_parameters(tuned):
        parameter.data = parameter.data.float()
    latents, embeds = (part.bfloat16() for part in inputs)
    expected = torch.autograd.grad(predict(tuned, (latents.requires_grad_(), embeds)).float().sum(), latents)
    checkpoint_blocks(tuned)
    found = torch.autograd.grad(predict(tuned, (latents, embeds)).float().sum(), latents)
    assert expected[0].abs().max() > 0
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_blocks_recompute_once_and_only_where_a_graph_is_built(tuned, inputs):
    calls = count_calls(tuned)
    num_blocks = len(list(find_blocks(tuned)))
    checkpoint_blocks(tuned)
    checkpoint_blocks(tuned)
    with torch.no_grad():
        predict(tuned, inputs)
    assert len(calls) == num_blocks
    calls.clear()
    differentiate(tuned, inputs)
    assert all(calls.count(block) == 2 for block in find_blocks(tuned))
    assert not any(isinstance(block.forward.forward, Recomputed) for block in find_blocks(tuned))


def test_nearly_every_weight_lies_in_a_block_and_keeps_its_name(tuned):
    names = [name for name, _ in tuned.named_parameters()]
    checkpoint_blocks(tuned)
    assert [name for name, _ in tuned.named_parameters()] == names
    inside = {id(parameter) for block in find_blocks(tuned) for parameter in block.parameters()}
    outside = {name.split(".")[0] for name, parameter in tuned.named_parameters() if id(parameter) not in inside}
    assert outside == {"conv_in", "time_embedding", "conv_norm_out", "conv_out"}
