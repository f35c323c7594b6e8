"""How the learning rate goes over the steps."""

from __future__ import annotations

import math

from ivideo.config.settings import FinetuneSettings


def learning_rate_factor(settings: FinetuneSettings, step: int) -> float:
    """Share of the learning rate at a step: linear warm-up, then constant, or down to zero after the last step.

    constant: 1; linear: 1 - u; cosine: (1 + cos(pi * u)) / 2, where u = (step - warm-up) / (max_steps - warm-up).
    With 10 warm-up steps of 60, step 4 has 0.5 and step 10 has 1; at step 35 linear and cosine have 0.5, at step 59
    linear has 0.02 and cosine 0.00099.

    Args:
        settings: schedule, number of warm-up steps and of all steps.
        step: optimiser step, from 0.
    """
    warmup = settings.num_warmup_steps
    if step < warmup:
        return (step + 1) / warmup
    if settings.lr_schedule == "constant":
        return 1.0
    done = min(1.0, (step - warmup) / max(1, settings.max_steps - warmup))
    return 1 - done if settings.lr_schedule == "linear" else (1 + math.cos(math.pi * done)) / 2
