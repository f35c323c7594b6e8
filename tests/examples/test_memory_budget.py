"""The count of memory, by hand and on a small network."""

from __future__ import annotations

from dataclasses import replace

import open_clip
import pytest
import torch
from torch import nn

from examples import memory_budget, published_sizes
from examples.memory_budget import Arrangement, LiveMemory, Shape, fused_attention, measure_step

KIB = 1024


def test_storages_are_counted_once_and_until_they_end():
    network = nn.Linear(256, 256, device="meta")
    with LiveMemory(network) as memory:
        x = torch.empty(1, 256, device="meta")
        assert (memory.live, memory.peak) == (KIB, KIB)
        view = x.view(16, 16).t()
        assert memory.live == KIB
        y = network(x)  # the weights, seen through a view, were there before
        assert (memory.live, memory.peak) == (2 * KIB, 2 * KIB)
        del x
        assert memory.live == 2 * KIB
        del view, y
        assert memory.live == 0
        peaks: dict[str, int] = {}
        with memory.phase(peaks, "more"):
            torch.empty(3 * 256, device="meta")
        assert (peaks["more"], memory.live) == (3 * KIB, 0)


def test_fused_attention_keeps_no_matrix():
    query, key, value = (torch.empty(1, 2, 64, 16, device="meta", requires_grad=True) for _ in range(3))
    saved = []
    with (
        fused_attention(),
        torch.autograd.graph.saved_tensors_hooks(lambda tensor: saved.append(tensor.shape) or tensor, lambda t: t),
    ):
        result = nn.functional.scaled_dot_product_attention(query, key, value)
    assert result.shape == query.shape
    assert (1, 2, 64, 64) not in saved
    assert [gradient.shape for gradient in torch.autograd.grad(result.sum(), (query, key, value))] == [query.shape] * 3


def test_the_sizes_are_the_published_ones():
    assert open_clip.get_model_config("ViT-H-14") == published_sizes.REWARD
    weights = memory_budget.measure_weights(torch.bfloat16)
    assert weights["U-Net"] / 2 == pytest.approx(1.411e9, rel=1e-3)
    assert weights["autoencoder"] / 2 == pytest.approx(83.7e6, rel=1e-2)
    assert weights["text encoder (gone once prompts are encoded)"] / 2 == pytest.approx(340.4e6, rel=1e-2)
    assert weights["reward model (float32)"] / 4 == pytest.approx(986.1e6, rel=1e-3)


def test_recomputing_and_branches_in_turn_need_less():
    towers = {name: {**published_sizes.REWARD[name], "layers": 1, "width": 80} for name in ("vision_cfg", "text_cfg")}
    networks = replace(published_sizes.TINY, reward={**published_sizes.REWARD, **towers})
    shape = Shape(num_frames=4, height=64, width=128, num_segments=4)
    kept, recomputed = (
        measure_step(shape, torch.bfloat16, Arrangement(*how), networks) for how in ((False, True), (True, False))
    )
    assert recomputed["kept by U-Net"] < kept["kept by U-Net"] / 5
    assert recomputed["kept by decoder"] < kept["kept by decoder"] / 10
    name = "kept by reward model"
    assert recomputed[name] == pytest.approx(kept[name], rel=1e-4)  # constants come only once
    assert recomputed[name] > 0
    assert recomputed["no gradient"] < kept["no gradient"] * 0.7  # one branch at a time
    assert recomputed["backward"] < kept["backward"] / 2
