"""Any first-order noise schedule as a table: x_i = alpha_i * x0 + sigma_i * noise, and what the network predicts of it.

| prediction | the network gives | clean latents |
|---|---|---|
| epsilon | noise | (x - sigma * p) / alpha |
| v_prediction | alpha * noise - sigma * x0 | alpha * x - sigma * p |
| flow | noise - x0, with alpha = 1 - sigma | x - sigma * p |
| flow_to_data | x0 - noise, with alpha = 1 - sigma | x + sigma * p |

A scheduler is read once for its timesteps and levels, and never called: several keep state from step to step.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor

from ivideo.errors import IvideoError

Prediction: TypeAlias = Literal["epsilon", "v_prediction", "flow", "flow_to_data"]
FLOW_SCHEDULERS = ("FlowMatchEulerDiscreteScheduler", "UniPCMultistepScheduler", "DPMSolverMultistepScheduler")
V_SCHEDULERS = ("CogVideoXDDIMScheduler", "CogVideoXDPMScheduler")


class Level(NamedTuple):
    """A step's noise level and the one that it leads to: the shares of the clean latents and of the noise."""

    alpha: float
    sigma: float
    next_alpha: float
    next_sigma: float


class AffineStepper:
    """First-order steps over a table of noise levels, without state; exact for DDIM (eta 0) and Euler in flow models.

    Source: InstructVideo, section 3.2 (DDIM); Lipman et al. 2022, "Flow Matching for Generative Modeling".
    """

    def __init__(self, timesteps: Tensor, levels: Sequence[Level], prediction: Prediction) -> None:
        """Take a schedule.

        Args:
            timesteps: (num_steps,), as the network is told them, no two alike.
            levels: one a step.
            prediction: what the network gives.

        Raises:
            IvideoError: two steps share a timestep: the schedule cannot make that many.
        """
        self.timesteps = timesteps.detach().cpu()
        self._levels = dict(zip(map(float, self.timesteps.tolist()), levels, strict=True))
        self._prediction = prediction
        if len(self._levels) < len(levels):
            raise IvideoError(f"the model's schedule cannot make {len(levels)} different steps: ask fewer")

    def level(self, timestep: Tensor) -> Level:
        """The noise level at one of `timesteps` (0-d), and the next one."""
        return self._levels[float(timestep)]

    def corrupt(self, latents: Tensor, noise: Tensor, timestep: Tensor) -> Tensor:
        """Alpha * latents + sigma * noise, for one timestep (0-d)."""
        level = self.level(timestep)
        return level.alpha * latents + level.sigma * noise

    def step(self, noise_pred: Tensor, timestep: Tensor, latents: Tensor) -> Tensor:
        """The latents at the next level: next_alpha * x0 + next_sigma * noise, both as the prediction tells them."""
        level = self.level(timestep)
        if self._prediction == "flow":
            return latents + (level.next_sigma - level.sigma) * noise_pred
        if self._prediction == "flow_to_data":
            return latents + (level.sigma - level.next_sigma) * noise_pred
        clean_latents = self.predict_clean(noise_pred, timestep, latents)
        is_noise = self._prediction == "epsilon"
        noise = noise_pred if is_noise else level.sigma * latents + level.alpha * noise_pred
        return level.next_alpha * clean_latents + level.next_sigma * noise

    def predict_clean(self, noise_pred: Tensor, timestep: Tensor, latents: Tensor) -> Tensor:
        """The clean latents that the prediction speaks of, see the table above."""
        level = self.level(timestep)
        if self._prediction == "epsilon":
            return (latents - level.sigma * noise_pred) / level.alpha
        if self._prediction == "v_prediction":
            return level.alpha * latents - level.sigma * noise_pred
        sign = -1 if self._prediction == "flow" else 1
        return latents + sign * level.sigma * noise_pred


def flow_stepper(
    scheduler: Any, num_inference_steps: int | None = None, *, towards_data: bool = False, **schedule: Any
) -> AffineStepper:
    """Euler steps over the sigmas of a flow model's own scheduler.

    Args:
        scheduler: of diffusers; it is not changed.
        num_inference_steps: steps of the full chain; None where `schedule` has the sigmas.
        towards_data: the network predicts x0 - noise, and the scheduler counts 1 - sigma (Mochi).
        schedule: what the pipeline hands to `set_timesteps` beside the number of steps: sigmas, mu.

    Raises:
        IvideoError: a scheduler that is not known, or not set to flow matching, or too many steps.
    """
    check_flow(scheduler)
    own = copy.deepcopy(scheduler)
    own.set_timesteps(*([] if num_inference_steps is None else [num_inference_steps]), **schedule)
    sigmas = [1 - sigma if towards_data else sigma for sigma in own.sigmas.double().tolist()]
    levels = [Level(1 - here, here, 1 - there, there) for here, there in pairwise(sigmas)]
    return AffineStepper(own.timesteps, levels, "flow_to_data" if towards_data else "flow")


def check_flow(scheduler: Any) -> None:
    """Refuse a scheduler that does not step through a flow.

    Raises:
        IvideoError: its class is not known, or it is set to noise prediction.
    """
    found = type(scheduler).__name__
    if found not in FLOW_SCHEDULERS:
        raise IvideoError(f"scheduler {found} is not supported here; supported: {', '.join(FLOW_SCHEDULERS)}")
    is_flow = found == FLOW_SCHEDULERS[0] or scheduler.config.get("use_flow_sigmas")
    if not is_flow or scheduler.config.get("prediction_type", "flow_prediction") != "flow_prediction":
        raise IvideoError(f"scheduler {found} is not set to flow matching, which this model was trained by")


def v_stepper(scheduler: Any, num_inference_steps: int) -> AffineStepper:
    """Deterministic DDIM steps of a scheduler with betas, its shift of the signal-to-noise ratio included (CogVideoX).

    Args:
        scheduler: of diffusers; it is not changed.
        num_inference_steps: steps of the full chain.

    Raises:
        IvideoError: a scheduler or prediction that is not known, or too many steps.
    """
    found, prediction = type(scheduler).__name__, scheduler.config.get("prediction_type", "epsilon")
    if found not in V_SCHEDULERS:
        raise IvideoError(f"scheduler {found} is not supported here; supported: {', '.join(V_SCHEDULERS)}")
    if prediction not in ("epsilon", "v_prediction"):
        raise IvideoError(f"scheduler {found} predicts {prediction}; supported: epsilon, v_prediction")
    num_train = int(scheduler.config.num_train_timesteps)
    if num_inference_steps > num_train:
        raise IvideoError(f"the model's schedule of {num_train} steps cannot make {num_inference_steps}: ask fewer")
    own = copy.deepcopy(scheduler)
    own.set_timesteps(num_inference_steps)
    timesteps, gap = own.timesteps, num_train // num_inference_steps
    shares = own.alphas_cumprod.double()
    last = torch.as_tensor(float(own.final_alpha_cumprod), dtype=torch.float64)
    levels = []
    for timestep in timesteps.tolist():
        here, there = shares[timestep], shares[timestep - gap] if timestep >= gap else last
        levels.append(Level(*(float(one) for share in (here, there) for one in (share.sqrt(), (1 - share).sqrt()))))
    return AffineStepper(timesteps, levels, prediction)
