"""Where the gradient of a chain flows other than through its last steps, and what each way costs.

| way | the gradient flows through | source | here |
|---|---|---|---|
| last | the last K steps | InstructVideo (K = 1); DRaFT-K | `ivideo.core.sampler.run_chain` |
| random | one of the last K steps, whose guess of the clean clip is scored | ReFL | `run_to_guess` |
| drtune | K evenly spread steps, never through the network's input | DRTune | `run_detached` |
| draft-lv | the last step, on K copies of the outcome that are noised anew | DRaFT-LV | `run_renoised` |
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor

from ivideo.core.sampler import Denoise, Stepper, num_steps_to_run, predict_noise, run_chain

Start: TypeAlias = Literal["clip", "noise"]
Gradient: TypeAlias = Literal["last", "random", "drtune", "draft-lv"]


class EvaluationCount(NamedTuple):
    """Calls of the guided denoiser for one clip in one optimiser step.

    Attributes:
        num_forward: Forward passes, with and without a graph; the mean where it depends on a draw.
        num_backward: How many of them are differentiated.
    """

    num_forward: float
    num_backward: int


def draw_late_step(num_steps: int, num_grad_steps: int, generator: torch.Generator) -> int:
    """Draw one of the last steps of a chain uniformly: `num_steps - K + u` with `u` in `[0, K)`.

    Args:
        num_steps: Steps of the chain that is run.
        num_grad_steps: K, from 1 to `num_steps`.
        generator: CPU generator, the only source of randomness; it is advanced.

    Returns:
        Index into the steps that are run, 0 for the noisiest.

    Raises:
        ValueError: If `num_grad_steps` is not within 1 and `num_steps`.

    Source: Xu et al. 2023 (ImageReward), "Reward Feedback Learning" (ReFL), among the last 10 of 40 steps there.
    """
    _check_grad_steps(num_steps, num_grad_steps)
    offset = int(torch.randint(num_grad_steps, (), generator=generator, device=generator.device))
    return num_steps - num_grad_steps + offset


def draw_spread_steps(num_steps: int, num_grad_steps: int, generator: torch.Generator) -> list[int]:
    """Draw steps that are evenly spread over a chain: `(j * num_steps + o) // K` for j in [0, K).

    The offset `o` is uniform in [0, num_steps), so that each step is drawn equally often, also where K does not divide
    the number of steps. Of 12 steps and K = 3: 0, 4, 8 or 1, 5, 9 or 2, 6, 10 or 3, 7, 11.

    Args:
        num_steps: Steps of the chain that is run.
        num_grad_steps: K, from 1 to `num_steps`.
        generator: CPU generator, the only source of randomness; it is advanced.

    Returns:
        K different indices into the steps that are run, ascending, 0 for the noisiest.

    Raises:
        ValueError: If `num_grad_steps` is not within 1 and `num_steps`.

    Source: Wu et al. 2024, "Deep Reward Supervisions for Tuning Text-to-Image Diffusion Models" (DRTune), method.
    """
    _check_grad_steps(num_steps, num_grad_steps)
    offset = int(torch.randint(num_steps, (), generator=generator, device=generator.device))
    return [(j * num_steps + offset) // num_grad_steps for j in range(num_grad_steps)]


def run_to_guess(
    denoise: Denoise,
    stepper: Stepper,
    latents: Tensor,
    timesteps: Tensor,
    conditioning: Any,
    *,
    grad_step: int,
    checkpoint: bool = True,
) -> Tensor:
    """Denoise up to one step without a graph and guess the clean latents there, with one (ReFL).

    x0_hat = (x_t - sqrt(1 - alpha_bar_t) * noise_pred) / sqrt(alpha_bar_t), where the network predicts noise.

    Args:
        denoise: Guided network; the parameters that it closes over get the gradient.
        stepper: Update rule.
        latents: Noisy latents (B, C, F, H, W) at the level of `timesteps[0]`; they are not changed.
        timesteps: Timesteps of the chain (num_steps,), descending; those after `grad_step` are not run.
        conditioning: Handed to `denoise` as it is.
        grad_step: Index of the step with gradient, from 0 to num_steps - 1; see `draw_late_step`.
        checkpoint: Recompute the `denoise` call in the backward pass instead of keeping its activations.

    Returns:
        Guessed clean latents (B, C, F, H, W).

    Raises:
        ValueError: If `grad_step` is no step of the chain.

    Source: Xu et al. 2023 (ImageReward), "Reward Feedback Learning" (ReFL), without its pre-training loss.
    """
    if not 0 <= grad_step < len(timesteps):
        raise ValueError(f"grad_step must be from 0 to {len(timesteps) - 1}, got {grad_step}")
    latents = run_chain(denoise, stepper, latents, timesteps[:grad_step], conditioning).detach()
    timestep = timesteps[grad_step]
    noise_pred = predict_noise(denoise, latents, timestep, conditioning, checkpoint=checkpoint)
    return stepper.predict_clean(noise_pred, timestep, latents)


def run_detached(
    denoise: Denoise,
    stepper: Stepper,
    latents: Tensor,
    timesteps: Tensor,
    conditioning: Any,
    *,
    grad_steps: Collection[int],
    checkpoint: bool = True,
) -> Tensor:
    """Denoise with the network's input detached at every step, and a graph of its prediction at some (DRTune).

    The gradient reaches a prediction through the update rule of the later steps alone, which is linear in latents and
    predictions, so that early steps are trained without a product of the network's Jacobians.

    Args:
        denoise: Guided network; the parameters that it closes over get the gradient.
        stepper: Update rule.
        latents: Noisy latents (B, C, F, H, W) at the level of `timesteps[0]`; they are not changed.
        timesteps: Timesteps to run (num_steps,), descending.
        conditioning: Handed to `denoise` as it is.
        grad_steps: Indices of the steps with gradient, from 0 to num_steps - 1; see `draw_spread_steps`.
        checkpoint: Recompute each of their `denoise` calls in the backward pass instead of keeping its activations.

    Returns:
        Latents (B, C, F, H, W) after the last step.

    Raises:
        ValueError: If one of `grad_steps` is no step of the chain.

    Source: Wu et al. 2024, "Deep Reward Supervisions for Tuning Text-to-Image Diffusion Models" (DRTune), method; its
    early stop of the chain is left out.
    """
    if outside := sorted(set(grad_steps) - set(range(len(timesteps)))):
        raise ValueError(f"grad_steps must be from 0 to {len(timesteps) - 1}, got {outside}")
    for step, timestep in enumerate(timesteps):
        inputs = latents.detach()
        if step in grad_steps:
            noise_pred = predict_noise(denoise, inputs, timestep, conditioning, checkpoint=checkpoint)
        else:
            with torch.no_grad():
                noise_pred = denoise(inputs, timestep, conditioning)
        latents = stepper.step(noise_pred, timestep, latents)
    return latents


def run_renoised(
    denoise: Denoise,
    stepper: Stepper,
    latents: Tensor,
    timesteps: Tensor,
    conditioning: Any,
    *,
    noise: Tensor,
    checkpoint: bool = True,
) -> Tensor:
    """Denoise without a graph, then noise the outcome anew K times to the last timestep and take it again (DRaFT-LV).

    Args:
        denoise: Guided network; the parameters that it closes over get the gradient.
        stepper: Schedule and update rule.
        latents: Noisy latents (B, C, F, H, W) at the level of `timesteps[0]`; they are not changed.
        timesteps: Timesteps to run (num_steps,), descending.
        conditioning: Handed to `denoise` as it is.
        noise: Fresh standard normal noise (K, B, C, F, H, W); K here counts samples, not steps.
        checkpoint: Recompute each `denoise` call with gradient in the backward pass.

    Returns:
        Clean latents (K * B, C, F, H, W), one batch after the other; their mean loss has less variance than one's.

    Source: Clark et al. 2023, "Directly Fine-Tuning Diffusion Models on Differentiable Rewards", DRaFT-LV.
    """
    clean_latents = run_chain(denoise, stepper, latents, timesteps, conditioning)
    last = timesteps[-1]
    samples = []
    for fresh in noise:
        noisy_latents = stepper.corrupt(clean_latents, fresh, last)
        noise_pred = predict_noise(denoise, noisy_latents, last, conditioning, checkpoint=checkpoint)
        samples.append(stepper.step(noise_pred, last, noisy_latents))
    return torch.cat(samples)


def count_evaluations(
    *, start: Start, gradient: Gradient, num_inference_steps: int, strength: float, num_grad_steps: int
) -> EvaluationCount:
    """Count the calls of the guided denoiser that one clip takes in one optimiser step.

    With n steps that are run: last and drtune (n, K), random (n - (K - 1) / 2, 1), which ends its chain at the drawn
    step, draft-lv (n + K, K). D = 20, strength 0.6 and K = 1 give (12, 1), from noise (20, 1).

    A call is both branches of the guidance. Making the clip that is edited is not counted, which happens once in a run,
    nor are calls that are recomputed in the backward pass.

    Args:
        start: `clip` for edits, `noise` for whole chains.
        gradient: Where the gradient flows, see the table above.
        num_inference_steps: D, steps of a full chain.
        strength: tau, share of the chain that an edit runs, in (0, 1]; not used from noise.
        num_grad_steps: K.

    Raises:
        ValueError: If `strength` or `num_grad_steps` is out of its range.
    """
    num_steps = num_inference_steps if start == "noise" else num_steps_to_run(strength, num_inference_steps)
    if gradient == "draft-lv":
        return EvaluationCount(num_steps + num_grad_steps, num_grad_steps)
    _check_grad_steps(num_steps, num_grad_steps)
    if gradient == "random":
        return EvaluationCount(num_steps - (num_grad_steps - 1) / 2, 1)
    return EvaluationCount(num_steps, num_grad_steps)


def _check_grad_steps(num_steps: int, num_grad_steps: int) -> None:
    if not 1 <= num_grad_steps <= num_steps:
        raise ValueError(f"num_grad_steps must be from 1 to the {num_steps} steps that are run, got {num_grad_steps}")
