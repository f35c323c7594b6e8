"""The learning rate's course."""

from __future__ import annotations

import pytest

from ivideo.config.presets import PRESETS
from ivideo.config.settings import FinetuneSettings
from ivideo.training.step import learning_rate_factor


@pytest.mark.parametrize(
    ("schedule", "step", "factor"),
    [
        ("constant", 4, 0.5),
        ("constant", 59, 1.0),
        ("linear", 4, 0.5),
        ("linear", 10, 1.0),
        ("linear", 35, 0.5),
        ("linear", 59, 0.02),
        ("cosine", 4, 0.5),
        ("cosine", 10, 1.0),
        ("cosine", 35, 0.5),
        ("cosine", 59, 0.00099),
    ],
)
def test_learning_rate(schedule: str, step: int, factor: float) -> None:
    values = {**PRESETS["emoji-world"]["default"], "num_warmup_steps": 10, "max_steps": 60, "lr_schedule": schedule}
    settings = FinetuneSettings(model="emoji-world", **values)
    assert learning_rate_factor(settings, step) == pytest.approx(factor, rel=0.01)
