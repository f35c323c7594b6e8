"""A training without networks: a linear layer with an adapter, gradients drawn by step, all else as in earnest."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from ivideo.config.presets import PRESETS
from ivideo.config.settings import FinetuneSettings
from ivideo.core.draws import draw_normal
from ivideo.models.lora import add_lora, named_lora_parameters, save_lora
from ivideo.processes import StopSignals
from ivideo.progress import Silence
from ivideo.training.loop import TrainingLoop
from ivideo.training.profile import Untimed
from ivideo.training.step import StepMetrics, Trainer, learning_rate_factor

PROMPTS = ["a cat", "a dog"]
QUICK = {
    "max_steps": 7,
    "learning_rate": 0.1,
    "num_warmup_steps": 2,
    "lr_schedule": "cosine",
    "save_every": 2,
    "eval_every": 3,
    "patience": 0,
    "min_motion": 0,
}


class QuickTrainer(Trainer):
    """A trainer whose gradients are drawn, a step's own each; `bad_steps` have none that is finite."""

    def __init__(self, settings: FinetuneSettings, bad_steps: tuple[int, ...] = ()) -> None:
        unet = nn.ModuleDict({"to_q": nn.Linear(6, 5)})
        with torch.no_grad():
            unet["to_q"].weight.zero_()
        add_lora(unet, settings.lora_rank, settings.lora_alpha, settings.seed)
        self.model: Any = SimpleNamespace(
            network=unet,
            save_adapter=lambda folder: save_lora(unet, folder, settings.model),
            write_formats=lambda folder: [],
        )
        self.settings, self.captions, self.bad_steps = settings, [[prompt] for prompt in PROMPTS], bad_steps
        self.accelerator: Any = SimpleNamespace(num_processes=1, process_index=0, is_main_process=True)
        self.named_parameters = named_lora_parameters(unet)
        self.parameters = list(self.named_parameters.values())
        self.optimizer = torch.optim.AdamW(self.parameters, lr=settings.learning_rate, weight_decay=0.0)
        self.scaler = torch.amp.GradScaler("cpu", enabled=False)
        self.timer = Untimed()
        self.num_skipped = self.num_bad_in_row = 0

    def train_step(self, step: int) -> StepMetrics:
        reward = float(sum(parameter.detach().sum() for parameter in self.parameters))
        for index, parameter in enumerate(self.parameters):
            draw = draw_normal(parameter.shape, seed=0, step=step, sample_indices=[index], purpose="gradient")[0]
            parameter.grad = draw * math.nan if step in self.bad_steps else draw
        learning_rate = self.settings.learning_rate * learning_rate_factor(self.settings, step)
        norm = self._apply_gradients(learning_rate, reward)
        return StepMetrics(step + 1, 1 - reward, reward, reward, norm, learning_rate, self.num_skipped, 0.0)

    def weights(self) -> torch.Tensor:
        """All of the adapter."""
        return torch.cat([parameter.detach().flatten() for parameter in self.parameters])


def nobody(*_: object) -> None:
    """Does nothing."""


@pytest.fixture
def quick_settings() -> Callable[..., FinetuneSettings]:
    """`quick_settings(**values)`."""
    preset = PRESETS["emoji-world"]["default"]
    return lambda **values: FinetuneSettings(model="emoji-world", **{**preset, **QUICK, **values})


@pytest.fixture
def make_loop(quick_settings: Callable[..., FinetuneSettings]) -> Callable[..., TrainingLoop]:
    """`make_loop(run, bad_steps=(), signals=None, **settings)`: its evaluations tell where the adapter stands."""

    def make(
        run: Any, bad_steps: tuple[int, ...] = (), signals: StopSignals | None = None, **values: Any
    ) -> TrainingLoop:
        trainer = QuickTrainer(quick_settings(**values), bad_steps)

        def evaluate(step: int) -> Any:
            reward = -float(trainer.weights().abs().sum())
            values = {"reward": reward, "motion": 1.0}
            record = {"step": step, "values": values, "by_prompt": {name: [value] for name, value in values.items()}}
            return SimpleNamespace(step=step, record=lambda: record)

        recorder: Any = SimpleNamespace(see_step=nobody, keep_grid=nobody, see_evaluation=nobody)
        return TrainingLoop(trainer, run, evaluate, recorder, signals or StopSignals(), Silence())

    return make


@pytest.fixture
def read_folder() -> Callable[[Path], dict[str, bytes]]:
    """`read_folder(folder)`: every file below it by its path."""
    return lambda folder: {
        str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }
