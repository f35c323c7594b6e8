"""Reward fine-tuning as editing: corrupt a clip, then run only the last part of the sampling chain.

| paper | here |
|---|---|
| tau, share of the chain that is run | `strength` |
| D, inference steps | `num_inference_steps`, the length of `stepper.timesteps` |
| K, last steps with gradient | `num_grad_steps` |
| epsilon_theta with guidance | `denoise` |
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol, TypeAlias

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint as checkpoint_call

Denoise: TypeAlias = Callable[[Tensor, Tensor, Any], Tensor]
"""`denoise(latents, timestep, conditioning) -> noise_pred`: guidance included, `timestep` 0-d, conditioning opaque."""


class Stepper(Protocol):
    """A model's noise schedule and update rule, without state: the same arguments always give the same result."""

    @property
    def timesteps(self) -> Tensor:
        """All timesteps of a full chain (num_inference_steps,), descending."""

    def corrupt(self, latents: Tensor, noise: Tensor, timestep: Tensor) -> Tensor:
        """Take clean latents (B, C, F, H, W) to the noise level of `timestep` (0-d) by the forward process."""

    def step(self, noise_pred: Tensor, timestep: Tensor, latents: Tensor) -> Tensor:
        """Go from `timestep` (0-d) to the next lower one; no in-place edits, gradients flow."""

    def predict_clean(self, noise_pred: Tensor, timestep: Tensor, latents: Tensor) -> Tensor:
        """Guess the clean latents (B, C, F, H, W) behind those at `timestep` (0-d); gradients flow."""


RunSteps: TypeAlias = Callable[[Denoise, Stepper, Tensor, Tensor, Any], Tensor]
"""`run(denoise, stepper, latents, timesteps, conditioning) -> clean latents`: a chain and where its gradient flows.

From noisy latents (B, C, F, H, W) at the level of `timesteps[0]` to n samples of the batch, one batch after the other
(n * B, C, F, H, W); n is 1 but for `run_renoised`. `run_chain` with its `num_grad_steps` bound is one.
"""


def num_steps_to_run(strength: float, num_inference_steps: int) -> int:
    """Count the steps of a partial chain: `max(1, floor(tau * D + 0.5))`.

    Strength 0.6 of 20 steps is 12 steps; 0.58 of 50 is 29.

    Args:
        strength: tau, share of the chain that is run, in (0, 1].
        num_inference_steps: D, steps of the full chain, at least 1.

    Returns:
        Steps to run, from 1 to `num_inference_steps`.

    Raises:
        ValueError: If either argument is out of its range.

    Source: InstructVideo, "Reward fine-tuning as editing". The authors' code truncates, `int(tau * D)`, and runs 28
    of 50 steps at 0.58.
    """
    if not 0 < strength <= 1:
        raise ValueError(f"strength must be above 0 and at most 1, got {strength}")
    if num_inference_steps < 1:
        raise ValueError(f"num_inference_steps must be at least 1, got {num_inference_steps}")
    return max(1, math.floor(strength * num_inference_steps + 0.5))


def add_offset_noise(noise: Tensor, offset: Tensor, offset_noise: float) -> Tensor:
    """Shift the noise of each channel and frame as a whole: `noise + offset_noise * offset`.

    Args:
        noise: Standard normal noise (B, C, F, H, W).
        offset: Standard normal draws (B, C, F, 1, 1).
        offset_noise: Standard deviation of the shift, 0 for none.

    Source: the authors' code, with 0.1 and in training only; the paper does not mention it.
    """
    return noise + offset_noise * offset


def start_chain(stepper: Stepper, latents: Tensor | None, noise: Tensor, strength: float) -> tuple[Tensor, Tensor]:
    """Choose where a chain starts and which steps it runs: those of an edit, or all of them from pure noise.

    Args:
        stepper: Schedule.
        latents: Clean latents (B, C, F, H, W) that are corrupted; None to start from the noise itself.
        noise: Standard normal noise of the same shape; for an edit see `add_offset_noise`.
        strength: tau, share of the chain that an edit runs, in (0, 1]; not used without `latents`.

    Returns:
        Noisy latents (B, C, F, H, W), and the timesteps to run from them (num_steps,), descending.

    Raises:
        ValueError: If `strength` is out of its range.

    Source: InstructVideo, "Reward fine-tuning as editing"; from pure noise: Clark et al. 2023, "Directly Fine-Tuning
    Diffusion Models on Differentiable Rewards" (DRaFT).
    """
    if latents is None:
        return noise, stepper.timesteps
    timesteps = stepper.timesteps[-num_steps_to_run(strength, len(stepper.timesteps)) :]
    return stepper.corrupt(latents, noise, timesteps[0]), timesteps


def predict_noise(
    denoise: Denoise, latents: Tensor, timestep: Tensor, conditioning: Any, *, checkpoint: bool
) -> Tensor:
    """Call the network with a graph, which keeps its activations or only its inputs.

    Args:
        denoise: Guided network.
        latents: Noisy latents (B, C, F, H, W).
        timestep: Their timestep (0-d).
        conditioning: Handed to `denoise` as it is.
        checkpoint: Recompute the call in the backward pass instead of keeping its activations.
    """
    if checkpoint:
        noise_pred: Tensor = checkpoint_call(denoise, latents, timestep, conditioning, use_reentrant=False)
        return noise_pred
    return denoise(latents, timestep, conditioning)


def run_chain(
    denoise: Denoise,
    stepper: Stepper,
    latents: Tensor,
    timesteps: Tensor,
    conditioning: Any,
    *,
    num_grad_steps: int = 0,
    checkpoint: bool = True,
) -> Tensor:
    """Denoise through the given timesteps, with a graph in the last `num_grad_steps` only.

    Args:
        denoise: Guided network; the parameters that it closes over get the gradient.
        stepper: Update rule.
        latents: Noisy latents (B, C, F, H, W) at the level of `timesteps[0]`; they are not changed.
        timesteps: Timesteps to run (num_steps,), descending.
        conditioning: Handed to `denoise` as it is.
        num_grad_steps: K, from 0 (no graph at all) to num_steps.
        checkpoint: Recompute each `denoise` call in the backward pass instead of keeping its activations.

    Returns:
        Latents (B, C, F, H, W) after the last step.

    Raises:
        ValueError: If `num_grad_steps` is not within 0 and num_steps.

    Source: InstructVideo, "Reward fine-tuning as editing", K = 1. Only the network is recomputed here, never the
    stepper, which may be a scheduler that can't run twice.
    """
    num_steps = len(timesteps)
    if not 0 <= num_grad_steps <= num_steps:
        raise ValueError(f"num_grad_steps must be from 0 to the {num_steps} steps that are run, got {num_grad_steps}")
    first_grad_step = num_steps - num_grad_steps
    with torch.no_grad():
        for timestep in timesteps[:first_grad_step]:
            noise_pred = denoise(latents, timestep, conditioning)
            latents = stepper.step(noise_pred, timestep, latents)
    for timestep in timesteps[first_grad_step:]:
        noise_pred = predict_noise(denoise, latents, timestep, conditioning, checkpoint=checkpoint)
        latents = stepper.step(noise_pred, timestep, latents)
    return latents


def edit(
    denoise: Denoise,
    stepper: Stepper,
    latents: Tensor,
    noise: Tensor,
    conditioning: Any,
    *,
    strength: float,
    num_grad_steps: int,
    checkpoint: bool = True,
) -> Tensor:
    """Corrupt a clean clip to the start timestep and run the rest of the chain.

    With 20 inference steps, strength 0.6 runs 12 of them, from timestep 551.

    Args:
        denoise: Guided network.
        stepper: Schedule and update rule.
        latents: Clean latents (B, C, F, H, W), scaled as the network expects.
        noise: Noise of the same shape, see `add_offset_noise`.
        conditioning: Handed to `denoise` as it is.
        strength: tau, share of the chain that is run, in (0, 1].
        num_grad_steps: K, last steps with gradient, at most the steps that are run.
        checkpoint: Recompute each `denoise` call in the backward pass.

    Returns:
        Edited clean latents (B, C, F, H, W).

    Raises:
        ValueError: If `strength` or `num_grad_steps` is out of its range.

    Source: InstructVideo, "Reward fine-tuning as editing".
    """
    noisy_latents, timesteps = start_chain(stepper, latents, noise, strength)
    return run_chain(
        denoise,
        stepper,
        noisy_latents,
        timesteps,
        conditioning,
        num_grad_steps=num_grad_steps,
        checkpoint=checkpoint,
    )
