"""What one optimiser step tells of itself: a line of metrics.jsonl."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class StepMetrics:
    """One line of metrics.jsonl.

    Reward is the mean score of the drawn frames, attenuated_reward what is maximised; rewards has the reward by name
    and, where it is a weighted sum, each judge's part before its weight. gradient_norm is that of the whole batch
    before it is clipped; num_skipped counts the steps so far that left the adapter as it was.
    """

    step: int
    loss: float
    reward: float
    attenuated_reward: float
    gradient_norm: float
    learning_rate: float
    num_skipped: int
    seconds: float
    rewards: dict[str, float] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """The line; None stands for what is no finite number."""
        values = {**asdict(self), "rewards": {name: finite(value) for name, value in self.rewards.items()}}
        return {name: finite(value) if isinstance(value, float) else value for name, value in values.items()}


def finite(value: float) -> float | None:
    """The value, or None for NaN and infinity, which JSON has no word for."""
    return value if math.isfinite(value) else None
