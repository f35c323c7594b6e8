"""A model's own noise schedule as a small stateless object that the core can step through."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from ivideo.errors import IvideoError


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
        from diffusers import DDIMScheduler

        if not hasattr(scheduler, "betas"):
            found = type(scheduler).__name__
            raise IvideoError(f"scheduler {found} has no noise schedule of betas; supported: the DDIM/DDPM family")
        self._scheduler = DDIMScheduler.from_config(scheduler.config)
        try:
            self._scheduler.set_timesteps(num_inference_steps)
        except ValueError as error:
            raise IvideoError(f"the scheduler cannot make {num_inference_steps} steps: {error}") from None
        self.timesteps: Tensor = self._scheduler.timesteps

    def corrupt(self, latents: Tensor, noise: Tensor, timestep: Tensor) -> Tensor:
        """sqrt(alpha_bar_t) * latents + sqrt(1 - alpha_bar_t) * noise, for one timestep (0-d)."""
        noisy: Tensor = self._scheduler.add_noise(latents, noise, timestep.reshape(1).to(latents.device))
        return noisy

    def step(self, noise_pred: Tensor, timestep: Tensor, latents: Tensor) -> Tensor:
        """The latents at the next lower timestep of the chain."""
        next_latents: Tensor = self._scheduler.step(noise_pred, int(timestep), latents, return_dict=False)[0]
        return next_latents
