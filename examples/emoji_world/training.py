"""What the three training scripts share: the optimiser, the average of weights, checkpoints and the clock."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from torch import Tensor, nn

from ivideo.models.devices import has_native_bfloat16

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)


def autocast() -> torch.autocast:
    """bfloat16 where the processor computes in it; elsewhere it would take many times as long as float32."""
    return torch.autocast("cpu", torch.bfloat16, enabled=has_native_bfloat16())


def orthogonalise(matrix: Tensor, num_iterations: int = 5) -> Tensor:
    """The nearest semi-orthogonal matrix, roughly: a quintic Newton-Schulz iteration on the singular values.

    Args:
        matrix: (rows, columns), float.
        num_iterations: five bring every singular value into about [0.7, 1.2].
    """
    a, b, c = NEWTON_SCHULZ
    x = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    x = x / (x.norm() + 1e-7)
    if has_native_bfloat16():
        x = x.bfloat16()
    for _ in range(num_iterations):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.T if matrix.shape[0] > matrix.shape[1] else x).to(matrix.dtype)


class Muon(torch.optim.Optimizer):
    """Momentum whose update is orthogonalised; convolutions count as (out, in * kernel) matrices.

    Source: Jordan et al. 2024, "Muon: an optimizer for hidden layers in neural networks".
    """

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float = 0.02, momentum: float = 0.95) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                buffer = state.setdefault("momentum_buffer", torch.zeros_like(parameter))
                buffer.lerp_(parameter.grad, 1 - group["momentum"])
                update = parameter.grad.lerp(buffer, group["momentum"]).flatten(1)
                update = orthogonalise(update) * max(1.0, update.shape[0] / update.shape[1]) ** 0.5
                parameter.add_(update.view_as(parameter), alpha=-group["lr"])


class Optimisers:
    """Muon for the hidden matrices, AdamW for the rest, one learning-rate factor for both."""

    def __init__(self, model: nn.Module, muon_lr: float, adam_lr: float, is_adam: Callable[[str], bool]) -> None:
        named = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
        adam = [p for n, p in named if p.ndim < 2 or is_adam(n)]
        muon = [p for n, p in named if p.ndim >= 2 and not is_adam(n)]
        self.parts: list[torch.optim.Optimizer] = [
            Muon(muon, lr=muon_lr),
            torch.optim.AdamW(adam, lr=adam_lr, betas=(0.9, 0.99), weight_decay=0.0),
        ]
        self.base_lrs = [muon_lr, adam_lr]

    def step(self, factor: float) -> None:
        """Take a step at `factor` of the base learning rates and clear the gradients."""
        for part, base in zip(self.parts, self.base_lrs, strict=True):
            for group in part.param_groups:
                group["lr"] = base * factor
            part.step()
            part.zero_grad(set_to_none=True)

    def state_dict(self) -> list[dict]:
        return [part.state_dict() for part in self.parts]

    def load_state_dict(self, states: list[dict]) -> None:
        for part, state in zip(self.parts, states, strict=True):
            part.load_state_dict(state)


def learning_rate_factor(step: int, num_steps: int, warmup: int = 20, decay_share: float = 0.4) -> float:
    """Short warm-up, constant, then linear to zero over the last `decay_share` of the steps."""
    return min(1.0, (step + 1) / warmup, (num_steps - step) / max(1.0, decay_share * num_steps))


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Exponential moving average of the weights, in place; buffers are copied."""
    for kept, new in zip(average.parameters(), model.parameters(), strict=True):
        kept.lerp_(new, 1 - decay)
    for kept, new in zip(average.buffers(), model.buffers(), strict=True):
        kept.copy_(new)


class Clock:
    """Seconds of training, over all sittings, and the checkpoint that carries them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.earlier = 0.0
        self.started = time.monotonic()

    @property
    def seconds(self) -> float:
        return self.earlier + time.monotonic() - self.started

    def load(self) -> dict | None:
        """The last checkpoint, or None on a fresh start."""
        if not self.path.exists():
            return None
        state = torch.load(self.path, weights_only=True)
        self.earlier = state["seconds"]
        return state

    def save(self, **state: object) -> None:
        """Write the checkpoint whole or not at all."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_suffix(".tmp")
        torch.save({**state, "seconds": self.seconds}, temporary)
        os.replace(temporary, self.path)
