"""The environment of every test, set before any library reads it: offline, quiet, on the CPU unless asked otherwise."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")  # `CUDA_VISIBLE_DEVICES=0 pytest` runs them on a GPU
for personal_setting in ("IVIDEO_MODEL", "HPS_ROOT", "FORCE_COLOR"):
    os.environ.pop(personal_setting, None)

DATA = Path(__file__).parent / "data"
AUTHORS_UNET = {"block_out_channels": (32, 32, 64, 64), "cross_attention_dim": 1024, "attention_head_dim": 8}
SMALL = {"num_frames": 4, "num_inference_steps": 2}  # the least that has four segments and a part of the chain


@pytest.fixture(scope="session")
def small() -> list[str]:
    """Flags that make generating a clip of the bundled model take a moment."""
    return [part for name, value in SMALL.items() for part in (f"--{name.replace('_', '-')}", str(value))]


@pytest.fixture(scope="session")
def small_training(small: list[str]) -> list[str]:
    """Flags that make a fine-tuning step of the bundled model take a moment; 2 steps run 1, so K is 1."""
    return [*small, "--generation-num-inference-steps", "2", "--num-grad-steps", "1"]


@pytest.fixture(scope="session")
def ivideo() -> Callable[..., Result]:
    """`ivideo(*arguments, input=None)` runs the program in this process; a traceback fails the test."""
    from ivideo.cli.app import app

    def run(*arguments: object, input: str | None = None) -> Result:
        result = CliRunner().invoke(app, [str(argument) for argument in arguments], input=input)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a short run of the bundled model: 3 prompts, 2 steps, 2 held-out prompts; leave it as it is."""
    import ivideo

    settings = {**SMALL, "generation_num_inference_steps": 2, "num_grad_steps": 1, "model": "emoji-world"}
    return ivideo.finetune(
        ["a cat surfing", "a dog running", "a cow"],
        tmp_path_factory.mktemp("runs") / "mine",
        heldout=["a pig", "a fox surfing", "a cow"],
        max_steps=2,
        batch_size=2,
        num_warmup_steps=0,
        learning_rate=0.01,
        **settings,
    )


@pytest.fixture(scope="session")
def base_videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the bundled model's videos of two prompts, seeds 0 and 1; leave it as it is."""
    import ivideo

    folder = tmp_path_factory.mktemp("base") / "videos"
    ivideo.generate(["a pig", "a fox surfing"], folder, num_videos=2, model="emoji-world", **SMALL)
    return folder


@pytest.fixture(scope="session")
def authors_file() -> Path:
    """A checkpoint of the authors in small: the whole U-Net and LoRA pairs of rank 4, all in float16."""
    return DATA / "vgen_unet_lora_tiny.pth"


@pytest.fixture(scope="session")
def authors_base_file(authors_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same without the LoRA pairs, as their base checkpoint is."""
    import torch

    weights = torch.load(authors_file, weights_only=True)["state_dict"]
    path = tmp_path_factory.mktemp("authors") / "base.pth"
    torch.save({name: weight for name, weight in weights.items() if "_lora." not in name}, path)
    return path


@pytest.fixture(scope="session")
def authors_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random pipeline of 32 x 32 pixels whose U-Net has the sizes of that checkpoint; leave it as it is."""
    import torch
    from diffusers import AutoencoderKL, DDIMScheduler, TextToVideoSDPipeline, UNet3DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    from ivideo.models.registry import MODEL_SOURCES

    tokenizer = CLIPTokenizer.from_pretrained(Path(MODEL_SOURCES["emoji-world"]) / "tokenizer")
    special = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    widths = {"hidden_size": 1024, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 8}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        unet = UNet3DConditionModel(sample_size=8, **AUTHORS_UNET)
        vae = AutoencoderKL(
            block_out_channels=(8, 8, 8),
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
            norm_num_groups=4,
            sample_size=32,
        )
        text = CLIPTextConfig(vocab_size=len(tokenizer), max_position_embeddings=16, **special, **widths)
        text_encoder = CLIPTextModel(text)
    scheduler = DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        steps_offset=1,
        clip_sample=False,
        set_alpha_to_one=False,
    )
    parts = {"unet": unet, "vae": vae, "text_encoder": text_encoder, "tokenizer": tokenizer, "scheduler": scheduler}
    folder = tmp_path_factory.mktemp("authors") / "model"
    TextToVideoSDPipeline(**parts).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def authors_sizes() -> dict[str, Any]:
    """The sizes of that checkpoint's U-Net, for UNet3DConditionModel."""
    return AUTHORS_UNET
