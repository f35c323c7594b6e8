"""The emoji world's model with other timesteps, and what a step's prediction does."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from examples.study.schedules import PRESET, measure_effects, respace_model
from ivideo.config.settings import FinetuneSettings
from ivideo.inputs.settings import resolve_settings
from ivideo.models.families import load_model
from ivideo.progress import Silence

CPU = torch.device("cpu")


def test_the_papers_last_step_hardly_acts() -> None:
    last, before = measure_effects("emoji-world", "leading", 20)[:2]
    assert (last.timestep, before.timestep) == (1, 51)
    assert last.on_next == pytest.approx(-0.012, abs=5e-4)
    assert before.on_next == pytest.approx(-0.187, abs=5e-4)


def test_effects_are_those_of_the_chain_that_follows() -> None:
    stepper = load_model("emoji-world", CPU, torch.float32).stepper(8)
    effects = measure_effects("emoji-world", "trailing", 8)
    assert [one.timestep for one in effects] == stepper.timesteps.flip(0).tolist()
    noise_pred = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    latents = torch.zeros(1, dtype=torch.float64)
    for place, timestep in enumerate(stepper.timesteps[-3:]):
        latents = stepper.step(noise_pred if place == 0 else torch.zeros_like(noise_pred), timestep, latents)
    (gradient,) = torch.autograd.grad(latents, noise_pred)
    assert effects[2].on_clean == pytest.approx(float(gradient), rel=1e-9)
    assert effects[2].on_clean != pytest.approx(effects[2].on_next, rel=1e-3)


def test_a_respaced_model_is_the_same_but_for_its_timesteps(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "leading"
    preset = respace_model("emoji-world", "leading", folder)
    assert preset == respace_model("emoji-world", "leading", folder) == folder / PRESET
    own, copy = (load_model(name, CPU, torch.float32) for name in ("emoji-world", str(folder)))
    assert copy.stepper(8).timesteps.tolist() == [876, 751, 626, 501, 376, 251, 126, 1]
    assert own.stepper(8).timesteps.tolist() == [999, 874, 749, 624, 499, 374, 249, 124]
    assert all(map(torch.equal, own.unet.parameters(), copy.unet.parameters()))

    def settings(config: Path | None, model: str) -> FinetuneSettings:
        return resolve_settings(FinetuneSettings, config=config, flags={"model": model}, progress=Silence())

    assert settings(preset, str(folder)) == settings(None, "emoji-world").model_copy(update={"model": str(folder)})
