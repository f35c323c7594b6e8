"""The bundled folder, as any program that knows diffusers reads it: without ivideo."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from safetensors import safe_open


def run_pipeline(folder, **options):
    from diffusers import DiffusionPipeline

    pipeline = DiffusionPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    torch.manual_seed(0)
    frames = np.asarray(pipeline("a cat surfing", **options).frames)
    assert frames.shape == (1, 16, 64, 64, 3)
    assert frames.min() >= 0
    assert frames.max() <= 1
    assert frames.std() > 0.01


def test_folder_runs_in_diffusers(bundled_folder):
    run_pipeline(bundled_folder, num_inference_steps=2)


@pytest.mark.slow
def test_folder_runs_in_diffusers_without_further_arguments(bundled_folder):
    run_pipeline(bundled_folder)


@pytest.mark.parametrize(
    ("file", "dtype"),
    [
        ("unet/diffusion_pytorch_model.safetensors", "F16"),
        ("vae/diffusion_pytorch_model.safetensors", "F16"),
        ("text_encoder/model.safetensors", "F32"),
    ],
)
def test_weights_are_stored_in_the_right_precision(bundled_folder, file, dtype):
    with safe_open(bundled_folder / file, framework="pt") as weights:
        assert {weights.get_slice(name).get_dtype() for name in weights.keys()} == {dtype}


def test_schedule_is_the_papers(bundled_folder):
    config = json.loads((bundled_folder / "scheduler" / "scheduler_config.json").read_text())
    expected = {
        "_class_name": "DDIMScheduler",
        "num_train_timesteps": 1000,
        "beta_schedule": "scaled_linear",
        "beta_start": 0.00085,
        "beta_end": 0.012,
        "prediction_type": "epsilon",
        "timestep_spacing": "trailing",
        "steps_offset": 1,
        "clip_sample": False,
        "set_alpha_to_one": False,
    }
    assert {name: config[name] for name in expected} == expected


def test_parts_are_of_the_classes_that_we_load(bundled_folder):
    index = json.loads((bundled_folder / "model_index.json").read_text())
    assert {part: names[1] for part, names in index.items() if not part.startswith("_")} == {
        "unet": "UNet3DConditionModel",
        "vae": "AutoencoderKL",
        "text_encoder": "CLIPTextModel",
        "tokenizer": "CLIPTokenizer",
        "scheduler": "DDIMScheduler",
    }


def test_our_loader_reads_the_same_weights(bundled, bundled_folder):
    for part, file in (
        ("unet", "diffusion_pytorch_model"),
        ("vae", "diffusion_pytorch_model"),
        ("text_encoder", "model"),
    ):
        own = getattr(bundled, part).state_dict()
        with safe_open(bundled_folder / part / f"{file}.safetensors", framework="pt") as weights:
            assert {*weights.keys()} == {*own}
            assert all(torch.equal(own[name], weights.get_tensor(name).float()) for name in own)
