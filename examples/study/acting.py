"""Where along the chain a trained adapter acts: at the steps that its gradient went through, or at the others.

One LoRA serves every timestep, so that what is learned at some of them changes the answers at all.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

from torch import Tensor

from examples.emoji_world.evaluate import plan_clips
from examples.emoji_world.evaluation.report import prompt_values
from examples.emoji_world.evaluation.sources import Source, collect_clips, model_source
from examples.emoji_world.write_splits import path_of
from ivideo.config.merge import read_run_settings
from ivideo.config.settings import GenerationSettings
from ivideo.generating import generate_clip, open_model
from ivideo.inputs.adapters import Adapter
from ivideo.inputs.prompts import read_prompts
from ivideo.models.lora import adapter_off
from ivideo.models.unet3d.model import UNet3DModel

from .plan import ACTING, ACTING_TRAININGS, NUM_SEEDS, TRAINED, UNTRAINED, Training
from .provenance import describe_origin
from .trainings import Workspace, final_settings, keep_values, measure


def measure_acting(workspace: Workspace) -> dict[str, Any]:
    """The result: values on held-out captions with each adapter at a part of the steps only.

    Returns:
        name, origin, heldout: by training and part (`TRAINED`, `UNTRAINED`) the values by prompt (`keep_values`).

    Raises:
        IvideoError: a training is not done, or a clip cannot be made.
    """
    return {
        "schema_version": 1,
        "name": ACTING,
        "origin": describe_origin(),
        "heldout": {training.name: measure_parts(training, workspace) for training in ACTING_TRAININGS.values()},
    }


def measure_parts(training: Training, workspace: Workspace) -> dict[str, Any]:
    """The values with a training's adapter at the steps that its gradient went through only, and at the others only."""
    run_settings = read_run_settings(workspace.run_of(training.name))
    settings, adapter = final_settings(run_settings), workspace.adapter_of(training)
    plan, values = plan_clips(read_prompts(path_of("heldout")), NUM_SEEDS, settings.seed), {}
    for part in (TRAINED, UNTRAINED):
        source = confined_source(settings, adapter, run_settings.num_grad_steps, part)
        clips = collect_clips(source, plan, workspace.cache, workspace.progress)
        values[part] = keep_values(prompt_values(measure(source.name, clips, plan, settings, workspace)))
    return values


def confined_source(settings: GenerationSettings, adapter: Adapter, num_grad_steps: int, part: str) -> Source:
    """The model with an adapter that acts at its last steps only, as many as have a gradient, or at all others only."""

    def open_confined() -> Any:
        model = open_model(settings, adapter)
        timesteps = [int(timestep) for timestep in model.stepper(settings.num_inference_steps).timesteps]
        kept = timesteps[-num_grad_steps:] if part == TRAINED else timesteps[:-num_grad_steps]
        confine_adapter(model, kept)
        return partial(generate_clip, model, settings)

    source = model_source(f"{adapter.path.parent.name}, {part}", settings, adapter)
    key = f"{source.key}-{part}-{num_grad_steps}".replace(" ", "-")
    return replace(source, key=key, open=open_confined, num_workers=1)  # the adapter is switched for all at once


def confine_adapter(model: UNet3DModel, timesteps: Collection[int]) -> None:
    """Let a model's adapter act at some timesteps only; at the others the model is the base."""
    predict = model.unet.forward

    def forward(latents: Tensor, timestep: Tensor, *rest: Any, **options: Any) -> Any:
        with nullcontext() if int(timestep) in timesteps else adapter_off(model.unet):
            return predict(latents, timestep, *rest, **options)

    model.unet.forward = forward
