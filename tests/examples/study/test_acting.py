"""An adapter that acts at a part of the steps only."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from examples.study.acting import confine_adapter, confined_source
from examples.study.plan import TRAINED, UNTRAINED
from ivideo.config.settings import GenerationSettings
from ivideo.generating import generate_clip, open_model
from ivideo.inputs.adapters import find_adapter
from ivideo.inputs.settings import resolve_settings
from ivideo.models.families import load_model
from ivideo.models.lora import add_lora, lora_parameters, save_lora
from ivideo.models.unet3d.model import UNet3DModel
from ivideo.progress import Silence

CPU = torch.device("cpu")


def give_adapter(model: UNet3DModel) -> None:
    add_lora(model.unet, 4, 4.0, seed=0)
    for parameter in lora_parameters(model.unet):
        parameter.data.add_(0.05)


def test_an_adapter_acts_at_the_named_timesteps_and_the_model_is_the_base_at_others() -> None:
    model = load_model("emoji-world", CPU, torch.float32)
    latents = torch.randn(1, *model.latents_shape(2, 64, 64), generator=torch.Generator().manual_seed(0))
    conditioning = model.encode_prompts(["a cat surfing"])
    denoise = model.denoiser(7.5)

    def predict(*timesteps: int) -> list[torch.Tensor]:
        with torch.no_grad():
            return [denoise(latents, torch.tensor(timestep), conditioning) for timestep in timesteps]

    base = predict(124, 249)
    give_adapter(model)
    adapted = predict(124, 249)
    confine_adapter(model, [124])
    confined = predict(124, 249, 124)
    assert torch.equal(confined[0], adapted[0])
    assert torch.equal(confined[1], base[1])
    assert torch.equal(confined[2], adapted[0])
    assert not torch.equal(adapted[0], base[0])
    assert not torch.equal(adapted[1], base[1])


def test_steps_with_gradient_and_the_others_are_all_steps(tmp_path: Path) -> None:
    model = load_model("emoji-world", CPU, torch.float32)
    give_adapter(model)
    save_lora(model.unet, tmp_path / "adapter", "emoji-world")
    flags = {"model": "emoji-world", "num_inference_steps": 3, "num_frames": 4, "dtype": "float32"}
    settings = resolve_settings(GenerationSettings, config=None, flags=flags, progress=Silence())
    adapter = find_adapter(tmp_path / "adapter")
    for num_grad_steps in (1, 2):
        for part, acting in ((TRAINED, slice(-num_grad_steps, None)), (UNTRAINED, slice(None, -num_grad_steps))):
            source = confined_source(settings, adapter, num_grad_steps, part)
            assert source.key.endswith(f"{part.replace(' ', '-')}-{num_grad_steps}")
            assert source.num_workers == 1
            own = open_model(settings, adapter)
            confine_adapter(own, own.stepper(3).timesteps.tolist()[acting])
            wanted = generate_clip(own, settings, "a cat surfing", 0)
            assert np.array_equal(source.open()("a cat surfing", 0), wanted)
