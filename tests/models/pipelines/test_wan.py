"""Wan: its decoder step by step, two experts, and half precision."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from ivideo.errors import UsageError
from tests.models.pipelines.test_every_family import draw_latents


@pytest.mark.parametrize("name", ["wan", "wan-5b"])
def test_the_streams_gradient_is_that_of_the_whole_decode(name: str, open_tiny: Any) -> None:
    model = open_tiny(name)
    model.vae.double()
    latents = draw_latents(model, name).double()
    drawn = torch.tensor([[0, 2, 7]])
    gradients = []
    for recompute in (False, True):
        leaf = latents.clone().requires_grad_()
        model.decode_frames(leaf, drawn, recompute=recompute).double().square().sum().backward()
        gradients.append(leaf.grad)
    leaf = latents.clone().requires_grad_()
    video = (model.decode(model.vae, model.denormalise(leaf)) / 2 + 0.5).clamp(0, 1)
    video[:, :, drawn[0]].float().double().square().sum().backward()
    for gradient in gradients:
        assert torch.allclose(gradient, leaf.grad, rtol=1e-4, atol=1e-5)


def test_a_cut_gradient_keeps_frames_and_reaches_the_latest_latents_alone(open_tiny: Any) -> None:
    model = open_tiny("wan")
    latents = draw_latents(model, "wan")
    frames = {}
    for reach in (None, 1, 2):
        model.decoder_gradient = reach
        leaf = latents.clone().requires_grad_()
        frames[reach] = model.decode_frames(leaf, torch.tensor([[8]]), recompute=True)
        frames[reach].sum().backward()
        reached = (leaf.grad.abs().sum((0, 1, 3, 4)) > 0).nonzero().flatten().tolist()
        assert reached == {None: [0, 1, 2], 1: [2], 2: [1, 2]}[reach]
    assert torch.equal(frames[1], frames[None])
    assert torch.equal(frames[2], frames[None])


def test_the_private_parts_of_the_decoder_that_the_stream_uses_are_there(open_tiny: Any) -> None:
    vae = open_tiny("wan").vae
    assert vae._cached_conv_counts["decoder"] > 0
    assert vae.post_quant_conv.kernel_size == (1, 1, 1)


def test_late_steps_ask_the_low_noise_expert(open_tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model = open_tiny("wan-a14b")
    assert model.network is model.pipeline.transformer_2
    asked = []
    for part in ("transformer", "transformer_2"):
        network = getattr(model.pipeline, part)
        monkeypatch.setattr(
            network, "forward", lambda *_, _part=part, **given: asked.append(_part) or (given["hidden_states"],)
        )
    latents = draw_latents(model, "wan-a14b")
    denoise = model.denoiser(1.0)
    conditioning = model.encode_prompts(["a red cat runs"])
    for timestep in (875, 874):
        denoise(latents, torch.tensor(timestep), conditioning)
    assert asked == ["transformer", "transformer_2"]
    assert model.find_remarks() == [
        "the adapter goes into the low-noise expert, which is asked at timesteps below 875 (`expert`)"
    ]
    assert open_tiny("wan").find_remarks() == []
    high = open_tiny("wan-a14b", expert="high")
    assert (high.network_part, "from 875 on" in high.find_remarks()[0]) == ("transformer", True)
    with pytest.raises(UsageError, match=r"`expert` low: .* has one network, not two experts"):
        open_tiny("wan", expert="low")
    with pytest.raises(UsageError, match=r"`expert` low: .* has one network, not two experts"):
        open_tiny("ltx", expert="low")


@pytest.mark.parametrize("name", ["wan", "wan-5b"])
def test_in_bfloat16_what_must_stay_float32_does(name: str, open_tiny: Any) -> None:
    model = open_tiny(name, torch.bfloat16)
    kinds = {
        kind: {weight.dtype for path, weight in model.network.named_parameters() if kind in path}
        for kind in ("norm2", "scale_shift_table", "to_q.weight")
    }
    assert kinds["norm2"] | kinds["scale_shift_table"] == {torch.float32}
    assert kinds["to_q.weight"] == {torch.bfloat16}
    assert {weight.dtype for weight in model.vae.parameters()} == {torch.float32}
    latents = draw_latents(model, name).float()
    conditioning = model.encode_prompts(["a red cat runs"], "blurry")
    timestep = model.stepper(4).timesteps[1]
    with torch.no_grad():
        prediction = model.denoiser(5.0)(latents, timestep, conditioning)
    assert prediction.dtype == torch.float32
    assert prediction.isfinite().all()
