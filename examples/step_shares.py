"""Which step's prediction acts how much on the outcome, for the schedule and strength of each model's preset.

    python -m examples.step_shares

A first-order chain is linear in its predictions: x_n = A x_0 + sum_i W_i p_i. Printed are, for the edit of each preset,
where it starts as sigma / (alpha + sigma), the noise of the last step, and |W_i| / sum |W| of the last step, of the
last two and of the first. The schedulers have the settings of the released models and no weights are needed.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from ivideo.config.presets import PRESETS
from ivideo.core.sampler import Stepper, num_steps_to_run
from ivideo.models.pipelines.schedule import flow_stepper, v_stepper
from ivideo.models.unet3d.schedule import DDIMStepper


def unipc(shift: float) -> Callable[[int], Stepper]:
    """Wan's."""
    from diffusers import UniPCMultistepScheduler

    scheduler = UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=shift)
    return lambda num_steps: flow_stepper(scheduler, num_steps)


def euler(shift: float) -> Callable[[int], Stepper]:
    """HunyuanVideo's."""
    from diffusers import FlowMatchEulerDiscreteScheduler

    scheduler = FlowMatchEulerDiscreteScheduler(shift=shift)
    return lambda num_steps: flow_stepper(scheduler, sigmas=np.linspace(1.0, 0.0, num_steps + 1)[:-1])


def ltx(num_tokens: int) -> Callable[[int], Stepper]:
    """LTX-Video's, for a clip of so many tokens."""
    from diffusers import FlowMatchEulerDiscreteScheduler
    from diffusers.pipelines.ltx.pipeline_ltx import calculate_shift

    scheduler = FlowMatchEulerDiscreteScheduler(
        use_dynamic_shifting=True,
        base_shift=0.95,
        max_shift=2.05,
        base_image_seq_len=1024,
        max_image_seq_len=4096,
        shift_terminal=0.1,
    )
    shift = calculate_shift(num_tokens, 1024, 4096, 0.95, 2.05)
    return lambda num_steps: flow_stepper(scheduler, sigmas=np.linspace(1.0, 1 / num_steps, num_steps), mu=shift)


def mochi() -> Callable[[int], Stepper]:
    """Mochi's."""
    from diffusers import FlowMatchEulerDiscreteScheduler
    from diffusers.pipelines.mochi.pipeline_mochi import linear_quadratic_schedule

    scheduler = FlowMatchEulerDiscreteScheduler(invert_sigmas=True)
    return lambda num_steps: flow_stepper(
        scheduler, towards_data=True, sigmas=np.array(linear_quadratic_schedule(num_steps, 0.025))
    )


def cogvideox(snr_shift: float) -> Callable[[int], Stepper]:
    """CogVideoX's."""
    from diffusers import CogVideoXDDIMScheduler

    scheduler = CogVideoXDDIMScheduler(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        clip_sample=False,
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        snr_shift_scale=snr_shift,
    )
    return lambda num_steps: v_stepper(scheduler, num_steps)


def ddim(beta_schedule: str) -> Callable[[int], Stepper]:
    """ModelScope's and AnimateDiff's."""
    from diffusers import DDIMScheduler

    scheduler = DDIMScheduler(beta_schedule=beta_schedule, beta_start=0.00085, beta_end=0.012, clip_sample=False)
    return lambda num_steps: DDIMStepper(scheduler, num_steps)


SCHEDULES: dict[str, Callable[[int], Stepper]] = {
    "modelscope": ddim("scaled_linear"),
    "animatediff": ddim("linear"),
    "wan2.1-1.3b": unipc(3.0),
    "wan2.2-5b": unipc(5.0),
    "cogvideox-2b": cogvideox(3.0),
    "cogvideox-5b": cogvideox(1.0),
    "ltx-video": ltx(21 * 16 * 22),
    "hunyuan-video": euler(7.0),
    "hunyuan-video-1.5": euler(5.0),
    "mochi": mochi(),
}


def step_weights(stepper: Stepper, timesteps: torch.Tensor) -> list[float]:
    """W_i of each step's prediction in the outcome of a chain."""
    one, zero = torch.ones((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    weights: list[float] = []
    for timestep in timesteps:
        kept = float(stepper.step(zero, timestep, one))
        weights = [kept * weight for weight in weights] + [float(stepper.step(one, timestep, zero))]
    return weights


def noise_share(stepper: Stepper, timestep: torch.Tensor) -> float:
    """sigma / (alpha + sigma) at a timestep."""
    one, zero = torch.ones((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    alpha, sigma = float(stepper.corrupt(one, zero, timestep)), float(stepper.corrupt(zero, one, timestep))
    return sigma / (alpha + sigma)


def describe(name: str) -> list[str]:
    """A row of the table."""
    preset = PRESETS[name]["default"]
    num_steps, strength = preset["num_inference_steps"], preset["strength"]
    stepper = SCHEDULES[name](num_steps)
    timesteps = stepper.timesteps[-num_steps_to_run(strength, num_steps) :]
    weights = [abs(weight) for weight in step_weights(stepper, timesteps)]
    shares = [f"{100 * weight / sum(weights):.1f}" for weight in (weights[-1], sum(weights[-2:]), weights[0])]
    noise = [f"{noise_share(stepper, timestep):.3f}" for timestep in (timesteps[0], timesteps[-1])]
    return [f"`{name}`", f"{strength:g}", f"{len(timesteps)} of {num_steps}", *noise, *shares]


def main() -> None:
    head = ["model", "strength", "steps", "starts at", "last step at", "last %", "last two %", "first %"]
    for row in (head, ["---"] * len(head), *map(describe, SCHEDULES)):
        print(f"| {' | '.join(row)} |")


if __name__ == "__main__":
    main()
