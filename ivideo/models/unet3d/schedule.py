"""A model's own noise schedule as a small stateless object that the core can step through."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ivideo.errors import IvideoError

# Those whose betas are all there is to their noise levels. Not so: CogVideoX's, which shift them; LCM's, for distilled
# models, which DDIM does not sample.
KNOWN_SCHEDULERS = (
    *("DDIMScheduler", "DDIMParallelScheduler", "DDPMScheduler", "DDPMParallelScheduler", "PNDMScheduler"),
    *("DPMSolverMultistepScheduler", "DPMSolverSinglestepScheduler", "DEISMultistepScheduler"),
    *("UniPCMultistepScheduler", "EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler"),
    *("HeunDiscreteScheduler", "LMSDiscreteScheduler", "KDPM2DiscreteScheduler", "KDPM2AncestralDiscreteScheduler"),
)
PREDICTIONS = ("epsilon", "v_prediction", "sample")


def to_ddim(scheduler: Any) -> Any:
    """The DDIM scheduler with the betas, spacing and prediction type of another diffusers scheduler.

    Schedulers that do not say `clip_sample` (PNDM, DPM-Solver) do not clip; diffusers' DDIM would by default, which
    would spoil latents.

    Raises:
        IvideoError: it has no betas, is of a class that is not known, or is set to flow matching.
    """
    from diffusers import DDIMScheduler

    found = type(scheduler).__name__
    if not hasattr(scheduler, "betas"):
        raise IvideoError(f"scheduler {found} has no noise schedule of betas; supported: the DDIM/DDPM family")
    if found not in KNOWN_SCHEDULERS:
        raise IvideoError(f"scheduler {found} is not supported; supported: {', '.join(KNOWN_SCHEDULERS)}")
    prediction = scheduler.config.get("prediction_type", "epsilon")
    if scheduler.config.get("use_flow_sigmas") or prediction not in PREDICTIONS:
        raise IvideoError(
            f"scheduler {found} is set to flow matching; supported: predictions of {', '.join(PREDICTIONS)}"
        )
    return build_scheduler(DDIMScheduler, {"clip_sample": False, **scheduler.config})


def build_scheduler(kind: Any, config: Mapping[str, Any]) -> Any:
    """A diffusers scheduler of what it knows of a configuration.

    Like `from_config`, which imports every scheduler (and SciPy) to learn which are related.

    Args:
        kind: its class.
        config: of that class or another; what the other one left at its default is left to this one's default.
    """
    known = inspect.signature(kind.__init__).parameters.keys() - set(config.get("_use_default_values", ()))
    return kind(**{name: value for name, value in config.items() if name in known})


class DDIMStepper:
    """Deterministic DDIM (eta 0) over a diffusers scheduler's betas and spacing, for one number of steps.

    It keeps a scheduler of its own and never changes it after construction: `corrupt` and `step` depend on their
    arguments only, so that a step can be repeated inside activation checkpointing.

    Source: InstructVideo, section 3.2 (DDIM); the schedule is the model's, as diffusers stores it.
    """

    def __init__(self, scheduler: Any, num_inference_steps: int) -> None:
        """Take the schedule of a diffusers scheduler.

        Args:
            scheduler: any diffusers scheduler that is defined by betas (DDIM, DDPM, PNDM, DPM-Solver, ...).
            num_inference_steps: steps of the full chain, at least 1.

        Raises:
            IvideoError: the scheduler has no betas (flow matching), or cannot make that many steps.
        """
        self._scheduler = to_ddim(scheduler)
        limit = int(self._scheduler.config.num_train_timesteps)
        if num_inference_steps <= limit:
            self._scheduler.set_timesteps(num_inference_steps)
        # With an offset, as many steps as the model was trained with would start beyond the last of them.
        if num_inference_steps > limit or int(self._scheduler.timesteps[0]) >= limit:
            raise IvideoError(
                f"the model's schedule of {limit} steps cannot make {num_inference_steps} of them: ask fewer"
            )
        self.timesteps: Tensor = self._scheduler.timesteps

    def corrupt(self, latents: Tensor, noise: Tensor, timestep: Tensor) -> Tensor:
        """sqrt(alpha_bar_t) * latents + sqrt(1 - alpha_bar_t) * noise, for one timestep (0-d)."""
        # By hand: diffusers' `add_noise` moves the scheduler's own tensors to the latents' device.
        alpha_bar = self._scheduler.alphas_cumprod[int(timestep)].to(latents.dtype)
        noisy: Tensor = alpha_bar**0.5 * latents + (1 - alpha_bar) ** 0.5 * noise
        return noisy

    def step(self, noise_pred: Tensor, timestep: Tensor, latents: Tensor) -> Tensor:
        """The latents at the next lower timestep of the chain."""
        next_latents: Tensor = self._scheduler.step(noise_pred, int(timestep), latents, return_dict=False)[0]
        return next_latents

    def predict_clean(self, noise_pred: Tensor, timestep: Tensor, latents: Tensor) -> Tensor:
        """The clean latents that the prediction speaks of, of whatever type it is.

        For epsilon: (latents - sqrt(1 - alpha_bar_t) * noise_pred) / sqrt(alpha_bar_t), for one timestep (0-d).
        """
        clean_latents: Tensor = self._scheduler.step(noise_pred, int(timestep), latents).pred_original_sample
        return clean_latents
