from __future__ import annotations

import json
import os
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from ivideo.core.gradients import run_renoised
from ivideo.core.objective import editing_objective, segmental_objective
from ivideo.core.sampler import edit, run_chain

DATA = Path(__file__).parent / "data"
GOLDEN = json.loads((DATA / "segmental_reward.json").read_text())
DEVICE = os.environ.get("IVIDEO_TEST_DEVICE", "cpu")  # `IVIDEO_TEST_DEVICE=cuda pytest -k golden`: on a GPU
ARRAYS = {name: torch.from_numpy(array).to(DEVICE) for name, array in np.load(DATA / "segmental_reward.npz").items()}
MEAN = torch.tensor([0.48145466, 0.4578275, 0.40821073], dtype=torch.float64, device=DEVICE).view(3, 1, 1)
STD = torch.tensor([0.26862954, 0.26130258, 0.27577711], dtype=torch.float64, device=DEVICE).view(3, 1, 1)


class CountingDecoder:
    """The golden decoder, on the drawn frames alone: per pixel `W_dec @ z`, eight times larger, to [0, 1]."""

    def __init__(self):
        self.num_frames_decoded = 0

    def __call__(self, latents, frame_indices):
        rows = torch.arange(len(latents))[:, None]
        drawn = latents.movedim(2, 1)[rows, frame_indices]
        self.num_frames_decoded += drawn.shape[0] * drawn.shape[1]
        pixels = torch.einsum("rc,bschw->bsrhw", ARRAYS["W_dec"], drawn / GOLDEN["scale_factor"])
        pixels = pixels.repeat_interleave(8, dim=-2).repeat_interleave(8, dim=-1)
        return (pixels / 2 + 0.5).clamp(0, 1)


def golden_reward(tokens):
    text = functional.normalize(tokens @ ARRAYS["W_txt"], dim=-1)

    def score_frames(frames):
        batch_size, num_segments = frames.shape[:2]
        images = functional.interpolate(frames.flatten(0, 1), 224, mode="bilinear", antialias=True)
        pooled = functional.adaptive_avg_pool2d((images - MEAN) / STD, 7).flatten(1)
        features = functional.normalize(pooled @ ARRAYS["W_img"], dim=-1)
        return (features.view(batch_size, num_segments, -1) * text[:, None]).sum(dim=-1)

    return score_frames


def decode_first_pixel(latents, frame_indices):
    """A decoder for hand arithmetic: the pixel of a frame is its latent."""
    return latents.movedim(2, 1)[torch.arange(len(latents))[:, None], frame_indices]


def score_mean(frames):
    return frames.flatten(2).mean(dim=-1)


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda case: case["key"])
def test_golden_loss_gradient_and_number_of_decoded_frames(case):
    latents = ARRAYS[f"{case['key']}_latents"].clone().requires_grad_()
    frame_indices = torch.tensor(case["frame_indices"])
    decoder = CountingDecoder()
    objective = segmental_objective(
        latents,
        frame_indices,
        num_frames=case["num_frames"],
        decode_frames=decoder,
        score_frames=golden_reward(ARRAYS[f"{case['key']}_tokens"]),
        attenuation_rate=case["lambda_tar"],
    )
    objective.loss.backward()
    assert objective.loss.item() == pytest.approx(case["loss"], rel=0, abs=1e-10)
    assert objective.video_rewards.mean().item() == pytest.approx(case["reward"], rel=0, abs=1e-10)
    torch.testing.assert_close(latents.grad, ARRAYS[f"{case['key']}_grad"], rtol=0, atol=1e-10)
    assert decoder.num_frames_decoded == 2 * case["num_segments"]
    is_drawn = torch.zeros(2, case["num_frames"], dtype=torch.bool).scatter(1, frame_indices, True)
    gradient_by_frame = latents.grad.movedim(2, 1)
    assert gradient_by_frame[~is_drawn].eq(0).all()
    assert gradient_by_frame[is_drawn].flatten(1).ne(0).any(dim=1).all()


def test_unit_scores_at_the_documented_frames():
    objective = segmental_objective(
        torch.ones(1, 3, 16, 1, 1),
        torch.tensor([[2, 6, 9, 13]]),
        num_frames=16,
        decode_frames=decode_first_pixel,
        score_frames=score_mean,
        attenuation_rate=1.0,
    )
    assert objective.video_rewards.tolist() == pytest.approx([0.1281], abs=5e-5)
    assert objective.loss.item() == pytest.approx(0.8719, abs=5e-5)
    assert objective.frame_scores.tolist() == [[1, 1, 1, 1]]


def test_two_clips_by_hand():
    latents = torch.stack([torch.arange(4.0), 10 * torch.arange(4.0)]).view(2, 1, 4, 1, 1)
    objective = segmental_objective(
        latents,
        torch.tensor([[0, 2], [1, 3]]),
        num_frames=4,
        decode_frames=decode_first_pixel,
        score_frames=score_mean,
        attenuation_rate=None,
    )
    assert objective.frame_scores.tolist() == [[0, 2], [10, 30]]
    assert objective.video_rewards.tolist() == [1, 20]
    assert objective.loss.item() == 1 - 10.5


def test_the_centre_is_of_pixel_frames_not_of_latent_frames():
    objective = segmental_objective(
        torch.ones(1, 3, 2, 1, 1),
        torch.tensor([[4]]),
        num_frames=8,
        decode_frames=lambda latents, frame_indices: decode_first_pixel(latents, frame_indices // 4),
        score_frames=score_mean,
        attenuation_rate=1.0,
    )
    assert objective.video_rewards.tolist() == [1]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_scores_are_averaged_in_float32(dtype):
    objective = segmental_objective(
        torch.ones(1, 3, 16, 1, 1, dtype=dtype),
        torch.tensor([[2, 6, 9, 13]]),
        num_frames=16,
        decode_frames=decode_first_pixel,
        score_frames=score_mean,
        attenuation_rate=1.0,
    )
    assert objective.loss.dtype == torch.float32
    assert objective.loss.item() == pytest.approx(0.8718921, abs=1e-6)


def test_a_reward_that_scores_whole_clips_is_refused():
    with pytest.raises(ValueError, match="one weight per score"):
        segmental_objective(
            torch.ones(2, 3, 4, 1, 1),
            torch.tensor([[0, 2], [1, 3]]),
            num_frames=4,
            decode_frames=decode_first_pixel,
            score_frames=lambda frames: score_mean(frames).mean(dim=1, keepdim=True),
            attenuation_rate=None,
        )


def test_gradcheck_of_the_segmental_objective():
    reward_model = golden_reward(ARRAYS["case00_tokens"][:1])

    def loss(latents):
        return segmental_objective(
            latents,
            torch.tensor([[1, 2]]),
            num_frames=4,
            decode_frames=CountingDecoder(),
            score_frames=reward_model,
            attenuation_rate=0.5,
        ).loss

    # latents small enough that no pixel is clamped, where the derivative does not exist
    latents = (0.02 * ARRAYS["case00_latents"][:1, :, :4, :2, :2]).requires_grad_()
    assert torch.autograd.gradcheck(loss, (latents,))


@pytest.fixture
def editing(ddim20):
    """All arguments of `editing_objective` but the denoiser, on two golden clips of 8 frames."""
    clean = 0.1 * ARRAYS["case12_latents"]
    return {
        "latents": clean,
        "noise": 0.1 * torch.cos(torch.arange(clean.numel(), dtype=torch.float64)).view_as(clean),
        "frame_indices": torch.tensor([[0, 3, 4, 6], [1, 2, 5, 6]]),
        "conditioning": 0.1,
        "stepper": ddim20,
        "decode_frames": CountingDecoder(),
        "score_frames": golden_reward(ARRAYS["case12_tokens"]),
        "num_frames": 8,
        "strength": 0.2,
        "attenuation_rate": 1.0,
        "run": partial(run_chain, num_grad_steps=1),
    }


def tanh_denoiser(p):
    return lambda x, timestep, conditioning: torch.tanh(p * x + conditioning)


def test_editing_objective_scores_the_edited_clip(editing):
    p = torch.tensor(0.7, dtype=torch.float64)
    objective = editing_objective(denoise=tanh_denoiser(p), **editing)
    edited = edit(
        tanh_denoiser(p), editing["stepper"], editing["latents"], editing["noise"], 0.1, strength=0.2, num_grad_steps=0
    )
    scores = editing["score_frames"](CountingDecoder()(edited, editing["frame_indices"]))
    weights = torch.exp(-(editing["frame_indices"] - 4).abs().double())
    torch.testing.assert_close(objective.frame_scores, scores, rtol=0, atol=1e-12)
    torch.testing.assert_close(objective.loss, 1 - (scores * weights).mean(), rtol=0, atol=1e-8)  # weights: float32
    assert editing["decode_frames"].num_frames_decoded == 8


def test_editing_gradients_agree_with_and_without_checkpointing(editing):
    def gradient_and_calls(checkpoint):
        p = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
        calls = []

        def denoise(x, timestep, conditioning):
            calls.append(int(timestep))
            return torch.tanh(p * x + conditioning)

        run = partial(run_chain, num_grad_steps=1, checkpoint=checkpoint)
        editing_objective(denoise=denoise, **{**editing, "run": run}).loss.backward()
        return p.grad.item(), calls

    kept, calls = gradient_and_calls(checkpoint=False)
    recomputed, calls_with_recomputing = gradient_and_calls(checkpoint=True)
    assert kept == recomputed != 0
    assert calls == [151, 101, 51, 1]
    assert calls_with_recomputing == [151, 101, 51, 1, 1]


def test_gradcheck_of_the_editing_objective(editing):
    editing["run"] = partial(run_chain, num_grad_steps=4)  # all that are run: the gradient is the derivative

    def loss(p):
        return editing_objective(denoise=tanh_denoiser(p), **editing).loss

    assert torch.autograd.gradcheck(loss, (torch.tensor(0.7, dtype=torch.float64, requires_grad=True),))


def test_without_clips_the_whole_chain_runs_from_the_noise_itself(editing):
    calls = []

    def denoise(x, timestep, conditioning):
        calls.append((int(timestep), x.detach().clone()))
        return torch.tanh(0.7 * x + conditioning)

    editing["latents"] = None
    editing_objective(denoise=denoise, **editing)
    assert [timestep for timestep, _ in calls] == editing["stepper"].timesteps.tolist()
    assert torch.equal(calls[0][1], editing["noise"])


def test_several_samples_count_as_their_mean(editing):
    p = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    noise = torch.stack([editing["noise"], -editing["noise"]])

    def objective_and_gradient(noise):
        objective = editing_objective(
            denoise=tanh_denoiser(p), **{**editing, "run": partial(run_renoised, noise=noise)}
        )
        return objective, *torch.autograd.grad(objective.loss, p)

    (first, grad_first), (second, grad_second) = (objective_and_gradient(one[None]) for one in noise)
    both, grad_both = objective_and_gradient(noise)
    assert first.loss.item() != second.loss.item()
    torch.testing.assert_close(grad_both, (grad_first + grad_second) / 2, rtol=1e-6, atol=0)
    for name in ("loss", "video_rewards", "frame_scores"):
        torch.testing.assert_close(getattr(both, name), (getattr(first, name) + getattr(second, name)) / 2)
    assert both.frame_scores.shape == (2, 4)
