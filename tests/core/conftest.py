"""A float64 DDIM stepper, written from the equations and not from our code, for the golden numbers."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor


class DDIM64:
    """DDIM, eta 0: scaled-linear betas, leading spacing with offset 1, final alpha-bar = alpha-bar[0]."""

    def __init__(self, num_inference_steps: int) -> None:
        betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
        self.alpha_bars = torch.cumprod(1 - betas, dim=0)
        self.stride = 1000 // num_inference_steps
        self.timesteps = torch.arange(num_inference_steps).flip(0) * self.stride + 1

    def corrupt(self, latents: Tensor, noise: Tensor, timestep: Tensor) -> Tensor:
        alpha_bar = self.alpha_bars[timestep]
        return alpha_bar.sqrt() * latents + (1 - alpha_bar).sqrt() * noise

    def step(self, noise_pred: Tensor, timestep: Tensor, latents: Tensor) -> Tensor:
        previous = self.alpha_bars[max(int(timestep) - self.stride, 0)]
        clean = self.predict_clean(noise_pred, timestep, latents)
        return previous.sqrt() * clean + (1 - previous).sqrt() * noise_pred

    def predict_clean(self, noise_pred: Tensor, timestep: Tensor, latents: Tensor) -> Tensor:
        alpha_bar = self.alpha_bars[timestep]
        return (latents - (1 - alpha_bar).sqrt() * noise_pred) / alpha_bar.sqrt()


@pytest.fixture
def ddim20() -> DDIM64:
    return DDIM64(20)
