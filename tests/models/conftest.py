"""The bundled model, and a random one of the same classes that is small enough to be broken at will."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ivideo.config.presets import MODEL_SOURCES
from ivideo.models.families import load_model
from ivideo.models.lora import add_lora, save_lora
from ivideo.models.unet3d.model import UNet3DModel

CPU = torch.device("cpu")
UNET = {
    "sample_size": 4,
    "in_channels": 4,
    "out_channels": 4,
    "block_out_channels": (16, 32),
    "down_block_types": ("CrossAttnDownBlock3D", "DownBlock3D"),
    "up_block_types": ("UpBlock3D", "CrossAttnUpBlock3D"),
    "layers_per_block": 1,
    "norm_num_groups": 8,
    "cross_attention_dim": 8,
    "attention_head_dim": 8,
}
VAE = {
    "latent_channels": 4,
    "block_out_channels": (8, 16),
    "down_block_types": ("DownEncoderBlock2D",) * 2,
    "up_block_types": ("UpDecoderBlock2D",) * 2,
    "norm_num_groups": 4,
    "sample_size": 8,
    "scaling_factor": 0.5,
}
TEXT = {
    "hidden_size": 8,
    "intermediate_size": 16,
    "projection_dim": 8,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "max_position_embeddings": 16,
}
SCHEDULE = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "steps_offset": 1,
    "clip_sample": False,
    "set_alpha_to_one": False,
}


@pytest.fixture(scope="session")
def bundled_folder() -> Path:
    return Path(MODEL_SOURCES["emoji-world"])


@pytest.fixture(scope="session")
def bundled() -> UNet3DModel:
    """The emoji world in float32; tests must leave it as it is."""
    return load_model("emoji-world", CPU, torch.float32)


@pytest.fixture(scope="session")
def make_unet() -> Callable[..., Any]:
    """Random frozen U-Nets: the same weights for the same sizes."""
    from diffusers import UNet3DConditionModel

    def make(**sizes: Any) -> Any:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            unet = UNet3DConditionModel(**{**UNET, **sizes})
        return unet.eval().requires_grad_(False)

    return make


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory, make_unet: Callable[..., Any], bundled_folder: Path) -> Path:
    """A random pipeline in diffusers' folder format; tests must copy it before they change it."""
    from diffusers import AutoencoderKL, DDIMScheduler, TextToVideoSDPipeline
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    folder = tmp_path_factory.mktemp("tiny") / "model"
    tokenizer = CLIPTokenizer.from_pretrained(bundled_folder / "tokenizer")
    special = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        vae = AutoencoderKL(**VAE)
        text_encoder = CLIPTextModel(CLIPTextConfig(vocab_size=len(tokenizer), **special, **TEXT))
    TextToVideoSDPipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=tokenizer,
        unet=make_unet(),
        scheduler=DDIMScheduler(**SCHEDULE),
    ).save_pretrained(folder)
    return folder


@pytest.fixture
def tiny(tiny_folder: Path) -> UNet3DModel:
    """A fresh random model: 4 x 4 latents of 4 channels, 8 x 8 pixels."""
    return load_model(str(tiny_folder), CPU, torch.float32)


@pytest.fixture
def tuned(make_unet: Callable[..., Any]) -> Any:
    """A U-Net whose adapter changes its answer clearly."""
    unet = make_unet()
    add_lora(unet, rank=4, alpha=4.0, seed=1)
    generator = torch.Generator().manual_seed(2)
    for name, parameter in unet.named_parameters():
        if ".lora_B." in name:
            parameter.data.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return unet


@pytest.fixture
def adapter(tuned: Any, tmp_path: Path) -> Path:
    """The folder of that adapter."""
    save_lora(tuned, tmp_path / "adapter", "emoji-world")
    return tmp_path / "adapter"
