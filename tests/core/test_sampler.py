from __future__ import annotations

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from ivideo.core.sampler import add_offset_noise, edit, num_steps_to_run, run_chain

DATA = Path(__file__).parent / "data"
GOLDEN = json.loads((DATA / "partial_ddim.json").read_text())
DEVICE = os.environ.get("IVIDEO_TEST_DEVICE", "cpu")  # `IVIDEO_TEST_DEVICE=cuda pytest -k golden`: on a GPU
ARRAYS = {name: torch.from_numpy(array).to(DEVICE) for name, array in np.load(DATA / "partial_ddim.npz").items()}


class Subtract:
    """The simplest stepper, `x - eps`: with `denoise = a * x`, n steps give `(1 - a)^n * x`."""

    timesteps = torch.tensor([4, 3, 2, 1])

    def __init__(self):
        self.num_step_calls = 0

    def corrupt(self, latents, noise, timestep):
        return latents + timestep * noise

    def step(self, noise_pred, timestep, latents):
        self.num_step_calls += 1
        return latents - noise_pred


class Scale:
    """`denoise = a * x`, which notes whether each call was recorded for the backward pass."""

    def __init__(self, a=0.1):
        self.a = torch.tensor(a, dtype=torch.float64, requires_grad=True)
        self.calls = []

    def __call__(self, latents, timestep, conditioning):
        self.calls.append((torch.is_grad_enabled(), int(timestep), conditioning))
        return self.a * latents


@pytest.fixture
def latents():
    return torch.linspace(-1, 2, 2 * 3 * 2, dtype=torch.float64).view(2, 1, 3, 2, 1)


@pytest.mark.parametrize(
    ("strength", "num_inference_steps", "expected"),
    [(0.6, 20, 12), (1.0, 20, 20), (0.1, 20, 2), (0.58, 50, 29), (0.01, 20, 1), (0.5, 5, 3), (0.5, 1, 1), (1, 1, 1)],
)
def test_steps_to_run(strength, num_inference_steps, expected):
    assert num_steps_to_run(strength, num_inference_steps) == expected


@pytest.mark.parametrize("strength", [0, -0.1, 1.01, float("nan")])
def test_strength_out_of_range(strength):
    with pytest.raises(ValueError, match="strength must be above 0 and at most 1"):
        num_steps_to_run(strength, 20)


def test_no_inference_steps():
    with pytest.raises(ValueError, match="num_inference_steps must be at least 1, got 0"):
        num_steps_to_run(0.5, 0)


def test_offset_noise_shifts_whole_frames():
    noise = torch.zeros(1, 2, 3, 4, 5)
    offset = torch.arange(6.0).view(1, 2, 3, 1, 1)
    shifted = add_offset_noise(noise, offset, 0.1)
    torch.testing.assert_close(shifted, 0.1 * offset.expand(1, 2, 3, 4, 5))
    assert torch.equal(add_offset_noise(noise, offset, 0.0), noise)
    assert noise.eq(0).all()


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda case: case["key"])
@pytest.mark.parametrize("checkpoint", [True, False])
def test_golden_partial_chain(case, checkpoint, ddim20):
    p, q = (torch.tensor(GOLDEN[name], dtype=torch.float64, device=DEVICE, requires_grad=True) for name in "pq")
    seen = []

    def denoise(x, timestep, conditioning):
        seen.append(int(timestep))
        cosine = math.cos(int(timestep) / 100)
        cond, uncond = (torch.tanh(p * x * cosine + q * y) + 0.1 * x for y in conditioning)
        return uncond + case["guidance_scale"] * (cond - uncond)

    out = edit(
        denoise,
        ddim20,
        ARRAYS["x0"],
        ARRAYS["noise"],
        (ARRAYS["cond"], ARRAYS["uncond"]),
        strength=case["noise_fraction"],
        num_grad_steps=case["backprop_steps"],
        checkpoint=checkpoint,
    )
    assert len(seen) == case["num_steps_run"]
    assert seen[0] == case["start_timestep"]
    torch.testing.assert_close(out, ARRAYS[f"{case['key']}_out"], rtol=0, atol=1e-10)
    loss = (out * ARRAYS["loss_weight"]).mean()
    loss.backward()
    assert loss.item() == pytest.approx(case["loss"], rel=0, abs=1e-10)
    assert p.grad.item() == pytest.approx(case["grad_p"], rel=0, abs=1e-10)
    assert q.grad.item() == pytest.approx(case["grad_q"], rel=0, abs=1e-10)


@pytest.mark.parametrize("strength", [0.05, 0.6, 1.0])
def test_a_denoiser_that_knows_the_noise_gives_the_clip_back(strength, ddim20):
    clean, noise = ARRAYS["x0"], ARRAYS["noise"]
    out = edit(lambda x, t, c: noise, ddim20, clean, noise, None, strength=strength, num_grad_steps=0)
    last = ddim20.alpha_bars[0]
    torch.testing.assert_close(out, last.sqrt() * clean + (1 - last).sqrt() * noise, rtol=0, atol=1e-12)


def test_edit_corrupts_to_the_first_of_the_steps_that_are_run(latents):
    noise = torch.ones_like(latents)
    denoise = Scale(0.0)
    out = edit(denoise, Subtract(), latents, noise, "a cat", strength=0.75, num_grad_steps=0)
    torch.testing.assert_close(out, latents + 3 * noise)
    assert denoise.calls == [(False, 3, "a cat"), (False, 2, "a cat"), (False, 1, "a cat")]


@pytest.mark.parametrize("checkpoint", [True, False])
@pytest.mark.parametrize("num_grad_steps", [1, 2, 4])
def test_value_and_truncated_gradient_in_closed_form(num_grad_steps, checkpoint, latents):
    denoise, stepper = Scale(0.1), Subtract()
    out = run_chain(
        denoise, stepper, latents, stepper.timesteps, None, num_grad_steps=num_grad_steps, checkpoint=checkpoint
    )
    torch.testing.assert_close(out, 0.9**4 * latents, rtol=0, atol=1e-14)
    out.sum().backward()
    # d/da (1 - a)^K * [(1 - a)^(4 - K) * x], the bracket held fixed
    expected = -num_grad_steps * 0.9**3 * latents.sum().item()
    assert denoise.a.grad.item() == pytest.approx(expected, abs=1e-13)


@pytest.mark.parametrize(("checkpoint", "num_recomputed"), [(True, 2), (False, 0)])
def test_only_the_last_steps_are_recorded_and_only_the_denoiser_is_recomputed(checkpoint, num_recomputed, latents):
    denoise, stepper = Scale(), Subtract()
    latents.requires_grad_()
    out = run_chain(denoise, stepper, latents, stepper.timesteps, None, num_grad_steps=2, checkpoint=checkpoint)
    assert [is_recorded for is_recorded, _, _ in denoise.calls] == [False, False, True, True]
    assert torch.autograd.grad(out.sum(), latents, allow_unused=True, retain_graph=True) == (None,)
    denoise.calls.clear()
    out.sum().backward()
    assert len(denoise.calls) == num_recomputed
    assert stepper.num_step_calls == 4


def test_checkpointing_keeps_no_activations_of_the_denoiser(latents):
    weight = torch.ones((), dtype=torch.float64, requires_grad=True)

    def num_saved(checkpoint):
        saved = []
        with torch.autograd.graph.saved_tensors_hooks(lambda tensor: saved.append(tensor.shape), lambda _: None):
            run_chain(
                lambda x, t, c: torch.tanh(torch.tanh(torch.tanh(weight * x))),
                Subtract(),
                latents,
                Subtract.timesteps,
                None,
                num_grad_steps=1,
                checkpoint=checkpoint,
            )
        return saved.count(latents.shape)

    assert num_saved(checkpoint=False) >= 3
    assert num_saved(checkpoint=True) == 1  # its input


def test_no_gradient_steps_build_no_graph_and_leave_the_input_alone(latents):
    denoise, stepper = Scale(), Subtract()
    before = latents.clone()
    out = run_chain(denoise, stepper, latents.requires_grad_(), stepper.timesteps, None)
    assert not out.requires_grad
    assert torch.equal(latents, before)


@pytest.mark.parametrize("num_grad_steps", [-1, 5])
def test_impossible_gradient_steps_are_refused_before_anything_runs(num_grad_steps, latents):
    denoise, stepper = Scale(), Subtract()
    with pytest.raises(ValueError, match=f"from 0 to the 4 steps that are run, got {num_grad_steps}"):
        run_chain(denoise, stepper, latents, stepper.timesteps, None, num_grad_steps=num_grad_steps)
    assert denoise.calls == []


@pytest.mark.parametrize("checkpoint", [True, False])
def test_gradcheck_through_the_chain(checkpoint, ddim20):
    timesteps = ddim20.timesteps[-3:]

    def chain(latents, p):
        def denoise(x, timestep, conditioning):
            return torch.tanh(p * x + conditioning)

        return run_chain(denoise, ddim20, latents, timesteps, 0.3, num_grad_steps=3, checkpoint=checkpoint)

    latents = ARRAYS["x0"][:1, :2, :2, :2, :2].clone().requires_grad_()
    p = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(chain, (latents, p))
