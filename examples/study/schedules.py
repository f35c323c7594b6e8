"""Other timesteps for the emoji world's model, and how strongly the prediction of each step acts on the clip."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from diffusers import DDIMScheduler

from ivideo.config.merge import write_toml
from ivideo.config.presets import find_location
from ivideo.config.settings import FinetuneSettings
from ivideo.files.atomic import atomic_folder, write_text
from ivideo.files.records import write_json
from ivideo.inputs.settings import resolve_settings
from ivideo.models.unet3d.schedule import DDIMStepper, build_scheduler
from ivideo.progress import Silence

SCHEDULER_CONFIG = Path("scheduler") / "scheduler_config.json"
PRESET = "preset.toml"


class Effect(NamedTuple):
    """What a step's prediction does.

    Attributes:
        timestep: at which the network is asked.
        on_next: d x_prev / d noise_pred, the same for every latent value.
        on_clean: d x_0 / d noise_pred, when later steps run as they are and the network's answers do not change.
    """

    timestep: int
    on_next: float
    on_clean: float


def respace_model(model: str, spacing: str, folder: Path) -> Path:
    """A copy of a bundled model whose chains take other timesteps, with its preset beside it; made once.

    Args:
        model: its name.
        spacing: `leading` or `trailing`, as diffusers names them.
        folder: the copy's.

    Returns:
        The preset, a TOML file for `--config`; `--model` names the folder.

    Raises:
        IvideoError: the folder cannot be written.
    """
    if not folder.is_dir():
        settings = resolve_settings(FinetuneSettings, config=None, flags={"model": model}, progress=Silence())
        with atomic_folder(folder) as new:
            shutil.copytree(find_location(model), new, dirs_exist_ok=True)
            write_json(new / SCHEDULER_CONFIG, {**read_schedule(model), "timestep_spacing": spacing})
            write_text(new / PRESET, write_toml(settings))
    return folder / PRESET


def read_schedule(model: str) -> dict[str, object]:
    """The configuration of a bundled model's scheduler."""
    schedule: dict[str, object] = json.loads((Path(find_location(model)) / SCHEDULER_CONFIG).read_text("utf-8"))
    return schedule


def measure_effects(model: str, spacing: str, num_inference_steps: int) -> Sequence[Effect]:
    """What the prediction of each step of a chain does, the last step first.

    A step is linear in its prediction and in its latents, so that one of each tells all.
    """
    scheduler = build_scheduler(DDIMScheduler, {**read_schedule(model), "timestep_spacing": spacing})
    stepper = DDIMStepper(scheduler, num_inference_steps)
    one, zero = torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    effects, passed_on = [], 1.0
    for timestep in reversed(stepper.timesteps):
        on_next = float(stepper.step(one, timestep, zero))
        effects.append(Effect(int(timestep), on_next, passed_on * on_next))
        passed_on *= float(stepper.step(zero, timestep, one))
    return effects
