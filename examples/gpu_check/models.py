"""The models that are measured at their real size, with random weights; a further one is a row of MODELS."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from examples import published_sizes as published
from examples.full_size import TINY, draw_weights, write_tokenizer
from examples.memory_budget import Arrangement, Shape, measure_step, measure_weights
from ivideo.config.settings import FinetuneSettings
from ivideo.inputs.settings import resolve_settings
from ivideo.models.loading import load_tokenizer
from ivideo.models.lora import add_lora
from ivideo.models.unet3d.model import UNet3DModel
from ivideo.progress import Silence
from ivideo.rewards.cosine import CosineReward, Preprocessing
from ivideo.rewards.hps import assemble_network


@dataclass(frozen=True)
class MeasuredModel:
    """A row: a model that `step_cost` and `where_time_goes` measure.

    Attributes:
        name: of its preset.
        build: `build(device, dtype, is_small)`: the model with random weights on a device, without an adapter.
        tiny: settings of the small form.
        predict: `predict(settings, dtype, is_small)`: GiB that such a step should take, weights included.
    """

    name: str
    build: Callable[[torch.device, torch.dtype, bool], UNet3DModel]
    tiny: dict[str, Any]
    predict: Callable[[FinetuneSettings, torch.dtype, bool], float]

    def settings(self, device: torch.device, is_small: bool, **flags: Any) -> FinetuneSettings:
        """The settings of its preset, with some of them changed."""
        size = self.tiny if is_small else {}
        flags = {"model": self.name, "device": str(device), **size, **flags}
        return resolve_settings(FinetuneSettings, config=None, flags=flags, progress=Silence())

    def build_with_adapter(self, device: torch.device, dtype: torch.dtype, is_small: bool) -> UNet3DModel:
        """The model as it is trained: with a fresh adapter of the paper's rank."""
        model = self.build(device, dtype, is_small)
        add_lora(model.unet, rank=4, alpha=4.0, seed=0)
        return model


def build_modelscope(device: torch.device, dtype: torch.dtype, is_small: bool) -> UNet3DModel:
    """ModelScopeT2V: U-Net of 1.41 B parameters, Stable Diffusion 2.1's autoencoder and text tower, CLIP's tokens."""
    from diffusers import AutoencoderKL, DDIMScheduler, UNet3DConditionModel
    from transformers import CLIPTokenizer

    networks = published.TINY if is_small else published.PUBLISHED
    with torch.device("meta"):
        parts: list[nn.Module] = [UNet3DConditionModel(**networks.unet), AutoencoderKL(**networks.vae)]
    for seed, part in enumerate(parts):
        part.load_state_dict(draw_weights(part, seed, dtype, str(device)), assign=True)
    unet, vae = parts
    with tempfile.TemporaryDirectory() as folder:
        write_tokenizer(Path(folder) / "tokenizer")
        tokenizer = load_tokenizer(CLIPTokenizer, folder, "tokenizer")
    text_encoder = build_random_text_encoder(networks, dtype, device)
    scheduler = DDIMScheduler(**published.SCHEDULE)
    return UNet3DModel("modelscope", unet, vae, text_encoder, tokenizer, scheduler, device)


def build_random_text_encoder(networks: published.Networks, dtype: torch.dtype, device: torch.device) -> Any:
    """The text tower on a device."""
    from transformers import CLIPTextConfig, CLIPTextModel

    with device:
        network = CLIPTextModel(CLIPTextConfig(**networks.text)).to(dtype)
    network.load_state_dict(draw_weights(network, 2, dtype, str(device)))
    return network


def build_reward(device: torch.device, is_small: bool) -> CosineReward:
    """HPSv2's ViT-H-14 in float32, as it scores."""
    import open_clip

    config = (published.TINY if is_small else published.PUBLISHED).reward
    with torch.device("meta"):
        empty = open_clip.CLIP(**config)
    network = assemble_network(config, draw_weights(empty, 7, torch.float32, str(device)))
    tokenize = open_clip.get_tokenizer("ViT-H-14")
    return CosineReward("hpsv2", "random", network, tokenize, Preprocessing(config["vision_cfg"]["image_size"]), device)


def predict_modelscope(settings: FinetuneSettings, dtype: torch.dtype, is_small: bool) -> float:
    """As the memory page has it: what stays, and the peak of one gradient step."""
    assert settings.height is not None
    assert settings.width is not None
    batch = -(-settings.batch_size // settings.gradient_accumulation)
    shape = Shape(settings.num_frames, settings.height, settings.width, settings.num_segments, batch)
    networks = published.TINY if is_small else published.PUBLISHED
    weights = measure_weights(dtype, networks)
    resident = sum(count for name, count in weights.items() if not name.startswith("text encoder"))
    arrangement = Arrangement(settings.gradient_checkpointing, settings.guidance_batching)
    steps = measure_step(shape, dtype, arrangement, networks)
    return (resident + max(count for name, count in steps.items() if not name.startswith("kept"))) / 2**30


MODELS = (
    MeasuredModel(
        "modelscope",
        build_modelscope,
        tiny={
            **{"num_frames": TINY.num_frames, "height": TINY.side, "width": TINY.side, "num_inference_steps": 3},
            **{"batch_size": 2, "gradient_accumulation": 2},
        },
        predict=predict_modelscope,
    ),
)
"""Every model of the real-size parts."""
