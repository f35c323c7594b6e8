"""Training steps of the ordinary trainer, timed."""

from __future__ import annotations

import statistics
import time
from typing import Any

import torch
from torch import Tensor

from examples.gpu_check.check import Check
from ivideo.config.settings import FinetuneSettings, generation_settings
from ivideo.generating import latents_shape
from ivideo.models.contract import TextToVideoModel
from ivideo.models.unet3d.model import UNet3DModel
from ivideo.processes import join_processes
from ivideo.rewards.cosine import CosineReward
from ivideo.rewards.mixture import Rewards
from ivideo.training.profile import EVALUATION, KEEPING, PhaseTimer
from ivideo.training.step import Trainer

LONG_SECONDS = 5.0
PROMPTS = ["a cat is surfing on a wave", "a dog is running in the snow"]


def make_trainer(
    model: TextToVideoModel, reward: CosineReward, settings: FinetuneSettings, timer: PhaseTimer | None = None
) -> Trainer:
    """The trainer that `ivideo finetune` uses, on clips of noise that lie on the CPU as ready clips do."""
    if isinstance(model, UNet3DModel) and model.text_encoder is not None:
        model.encode_once(PROMPTS, settings.negative_prompt)
    shape = latents_shape(model, generation_settings(settings))
    clips = [torch.randn(shape, generator=torch.Generator().manual_seed(seed)) for seed in range(len(PROMPTS))]
    accelerator = join_processes(settings)
    return Trainer(model, Rewards.of(reward), PROMPTS, clips.__getitem__, settings, accelerator, timer)


def time_steps(check: Check, trainer: Trainer) -> dict[str, Any]:
    """Seconds of a step after one that is not counted (of short steps the mean of two), and its peak of memory."""
    started = time.perf_counter()
    trainer.train_step(0)
    check.synchronize()
    is_long = check.is_small or time.perf_counter() - started > LONG_SECONDS
    check.reset_peak()
    seconds = []
    for step in range(1, 2 if is_long else 3):
        started = time.perf_counter()
        trainer.train_step(step)
        check.synchronize()
        seconds.append(time.perf_counter() - started)
    return {"seconds": statistics.mean(seconds), "peak_gib": check.read_peak()}


def time_phases(model: TextToVideoModel, reward: CosineReward, settings: FinetuneSettings) -> dict[str, float]:
    """Seconds of each phase of one step, waiting for the device at every change of phase; for shapes that are warm."""
    timer = PhaseTimer(model.device, model.num_workers)
    make_trainer(model, reward, settings, timer).train_step(0)
    return {name: seconds for name, seconds in timer.report()["seconds"].items() if name not in (EVALUATION, KEEPING)}


def relative_error(found: Tensor, wanted: Tensor) -> float:
    """||found - wanted|| / ||wanted||, in float64 on the CPU."""
    a, b = (tensor.detach().cpu().double() for tensor in (found, wanted))
    return float((a - b).norm() / b.norm())
