from __future__ import annotations

import json
import math
from pathlib import Path

import diffusers
import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from torch.utils.checkpoint import checkpoint

from ivideo.core.sampler import edit
from ivideo.errors import IvideoError
from ivideo.models.unet3d.schedule import KNOWN_SCHEDULERS, DDIMStepper

DATA = Path(__file__).parents[2] / "core" / "data"
GOLDEN = json.loads((DATA / "partial_ddim.json").read_text())
ARRAYS = {name: torch.from_numpy(array) for name, array in np.load(DATA / "partial_ddim.npz").items()}
BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
SCHEDULE = {**BETAS, "steps_offset": 1, "clip_sample": False, "set_alpha_to_one": False}


@pytest.fixture
def stepper():
    return DDIMStepper(DDIMScheduler(**SCHEDULE), 20)


@pytest.fixture
def tensors():
    generator = torch.Generator().manual_seed(0)
    return [torch.randn((2, 4, 3, 2, 2), generator=generator) for _ in range(2)]


def test_twenty_steps_run_from_951_to_1(stepper):
    assert stepper.timesteps.tolist() == list(range(951, 0, -50))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"prediction_type": "v_prediction"},
        {"timestep_spacing": "trailing"},
        {"set_alpha_to_one": True, "clip_sample": True},
        {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing", "prediction_type": "v_prediction"},
    ],
)
def test_equals_diffusers_step_by_step(changes, tensors):
    scheduler = DDIMScheduler(**{**SCHEDULE, **changes})
    stepper = DDIMStepper(scheduler, 7)
    scheduler.set_timesteps(7)
    assert torch.equal(stepper.timesteps, scheduler.timesteps)
    noise_pred, latents = tensors
    for timestep in scheduler.timesteps:
        expected = scheduler.step(noise_pred, timestep, latents).prev_sample
        assert torch.equal(stepper.step(noise_pred, timestep, latents), expected)
        corrupted = stepper.corrupt(latents, noise_pred, timestep)
        assert torch.equal(corrupted, scheduler.add_noise(latents, noise_pred, timestep[None]))
        guess = scheduler.step(noise_pred, timestep, latents).pred_original_sample
        assert torch.equal(stepper.predict_clean(noise_pred, timestep, latents), guess)
        latents = expected


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
def test_the_right_prediction_gives_the_clean_latents_back(prediction_type, tensors):
    noise, clean = tensors
    stepper = DDIMStepper(DDIMScheduler(**SCHEDULE, prediction_type=prediction_type), 20)
    timestep = stepper.timesteps[7]
    alpha_bar = torch.cumprod(1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2, 0)[timestep]
    velocity = alpha_bar.sqrt() * noise - (1 - alpha_bar).sqrt() * clean
    right = (noise if prediction_type == "epsilon" else velocity).clone().requires_grad_()
    guess = stepper.predict_clean(right, timestep, stepper.corrupt(clean, noise, timestep))
    torch.testing.assert_close(guess, clean, rtol=1e-4, atol=1e-5)
    scale = alpha_bar.sqrt() if prediction_type == "epsilon" else 1.0
    (gradient,) = torch.autograd.grad(guess.sum(), right)
    torch.testing.assert_close(gradient, torch.full_like(gradient, -(1 - alpha_bar).sqrt() / scale), rtol=1e-4, atol=0)


def test_keeps_no_state(stepper, tensors):
    noise_pred, latents = tensors
    before = [tensor.clone() for tensor in tensors]
    down = [stepper.step(noise_pred, timestep, latents) for timestep in stepper.timesteps]
    stepper.corrupt(latents, noise_pred, stepper.timesteps[3])
    up = [stepper.step(noise_pred, timestep, latents) for timestep in stepper.timesteps.flip(0)]
    assert all(torch.equal(a, b) for a, b in zip(down, reversed(up), strict=True))
    assert all(torch.equal(a, b) for a, b in zip(tensors, before, strict=True))


def test_leaves_the_models_scheduler_alone():
    scheduler = DDIMScheduler(**SCHEDULE)
    DDIMStepper(scheduler, 20)
    assert scheduler.num_inference_steps is None


def test_gradient_flows_through_a_recomputed_step(stepper, tensors):
    noise_pred, latents = tensors
    noise_pred.requires_grad_()
    out = checkpoint(stepper.step, noise_pred, stepper.timesteps[0], latents, use_reentrant=False)
    (gradient,) = torch.autograd.grad(out.sum(), noise_pred)
    alpha_bars = torch.cumprod(1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2, 0)
    now, then = alpha_bars[951], alpha_bars[901]
    expected = (1 - then).sqrt() - (then * (1 - now) / now).sqrt()
    torch.testing.assert_close(gradient, torch.full_like(gradient, expected), rtol=1e-4, atol=0)


def run_golden(case, stepper):
    """The golden chain through our stepper: latents, loss and the gradients of p and q."""
    p, q = (torch.tensor(GOLDEN[name], dtype=torch.float64, requires_grad=True) for name in "pq")

    def denoise(x, timestep, conditioning):
        cosine = math.cos(int(timestep) / 100)
        cond, uncond = (torch.tanh(p * x * cosine + q * y) + 0.1 * x for y in conditioning)
        return uncond + case["guidance_scale"] * (cond - uncond)

    out = edit(
        denoise,
        stepper,
        ARRAYS["x0"],
        ARRAYS["noise"],
        (ARRAYS["cond"], ARRAYS["uncond"]),
        strength=case["noise_fraction"],
        num_grad_steps=case["backprop_steps"],
    )
    loss = (out * ARRAYS["loss_weight"]).mean()
    loss.backward()
    return out.detach(), loss.item(), p.grad.item(), q.grad.item()


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda case: case["key"])
def test_golden_partial_chain(case):
    # diffusers keeps its alphas in float32: with them the numbers agree to about 1e-5, with float64 ones to 1e-10.
    scheduler = DDIMScheduler(**SCHEDULE)
    rough = DDIMStepper(scheduler, case["num_inference_steps"])
    exact = DDIMStepper(scheduler, case["num_inference_steps"])
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    exact._scheduler.alphas_cumprod = torch.cumprod(1 - betas, dim=0)
    exact._scheduler.final_alpha_cumprod = exact._scheduler.alphas_cumprod[0]
    expected = case["loss"], case["grad_p"], case["grad_q"]
    for stepper, tolerance in ((rough, 2e-5), (exact, 1e-10)):
        out, *numbers = run_golden(case, stepper)
        torch.testing.assert_close(out, ARRAYS[f"{case['key']}_out"], rtol=0, atol=tolerance)
        assert numbers == pytest.approx(expected, rel=0, abs=tolerance)


@pytest.mark.parametrize("name", ["PNDMScheduler", "DPMSolverMultistepScheduler", "EulerDiscreteScheduler"])
def test_takes_the_schedule_of_others_without_clipping(name, stepper):
    own = DDIMStepper(getattr(diffusers, name)(**BETAS, steps_offset=1), 20)
    assert torch.equal(own.timesteps, stepper.timesteps)
    latents, noise = torch.full((1, 4, 2, 2, 2), 7.0), torch.full((1, 4, 2, 2, 2), -3.0)
    for timestep in own.timesteps[:-1]:  # what follows the last one differs by set_alpha_to_one
        torch.testing.assert_close(own.corrupt(latents, noise, timestep), stepper.corrupt(latents, noise, timestep))
        torch.testing.assert_close(own.step(noise, timestep, latents), stepper.step(noise, timestep, latents))


def test_flow_matching_is_refused():
    with pytest.raises(IvideoError, match=r"^scheduler FlowMatchEulerDiscreteScheduler has no noise schedule of betas"):
        DDIMStepper(diffusers.FlowMatchEulerDiscreteScheduler(), 20)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("UniPCMultistepScheduler", {"prediction_type": "flow_prediction", "use_flow_sigmas": True}, "flow matching"),
        (
            "UniPCMultistepScheduler",
            {"prediction_type": "flow_prediction"},
            "set to flow matching; supported: .*epsilon",
        ),
        ("DPMSolverMultistepScheduler", {"use_flow_sigmas": True}, "set to flow matching"),
        ("CogVideoXDDIMScheduler", {"snr_shift_scale": 3.0}, "is not supported; supported: DDIMScheduler, "),
        ("LCMScheduler", {}, "is not supported"),
    ],
)
def test_betas_that_do_not_say_all_are_refused(name, changes, message):
    with pytest.raises(IvideoError, match=rf"^scheduler {name} .*{message}"):
        DDIMStepper(getattr(diffusers, name)(**changes), 20)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of NumPy, in the constructors of some
def test_every_known_scheduler_lends_its_betas():
    for name in KNOWN_SCHEDULERS:
        stepper = DDIMStepper(getattr(diffusers, name)(**BETAS), 20)
        assert len(stepper.timesteps) == 20, name


@pytest.mark.parametrize("num_inference_steps", [1000, 1001, 5000])
def test_more_steps_than_the_schedule_has_are_refused(num_inference_steps):
    with pytest.raises(IvideoError, match=f"schedule of 1000 steps cannot make {num_inference_steps}"):
        DDIMStepper(DDIMScheduler(**SCHEDULE), num_inference_steps)


@pytest.mark.parametrize("num_inference_steps", [1, 3, 500, 999])
def test_every_step_that_is_made_can_be_taken(num_inference_steps, tensors):
    stepper = DDIMStepper(DDIMScheduler(**SCHEDULE), num_inference_steps)
    assert len(stepper.timesteps) == num_inference_steps
    assert stepper.step(*tensors[:1], stepper.timesteps[0], tensors[1]).isfinite().all()
    assert stepper.step(*tensors[:1], stepper.timesteps[-1], tensors[1]).isfinite().all()
