"""The environment of every test, set before any library reads it: offline, quiet, on the CPU unless asked otherwise."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
if "PYTEST_XDIST_WORKER" in os.environ:  # a process a core: several of many threads would wait for each other
    os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")  # `CUDA_VISIBLE_DEVICES=0 pytest` runs them on a GPU
for personal_setting in ("IVIDEO_MODEL", "HPS_ROOT", "FORCE_COLOR"):
    os.environ.pop(personal_setting, None)

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


@pytest.fixture
def bare_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine where moviepy, imageio-ffmpeg, PyAV and hpsv2 are not installed."""
    packages = ("moviepy", "imageio_ffmpeg", "av", "hpsv2")
    for name in {*packages, *(name for name in sys.modules if name.partition(".")[0] in packages)}:
        monkeypatch.setitem(sys.modules, name, None)


@pytest.fixture(scope="session")
def run_ffmpeg() -> Callable[..., str]:
    """The package's own: `run_ffmpeg(*arguments, input=b"")` gives back what ffmpeg says on stderr."""
    import imageio_ffmpeg

    def run(*arguments: object, input: bytes = b"") -> str:
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-y", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, check=False, input=input).stderr.decode()

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
def authors_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random pipeline of 16 x 16 pixels that the checkpoint `authors_file` is for; leave it as it is."""
    import torch
    from diffusers import AutoencoderKL, DDIMScheduler, TextToVideoSDPipeline, UNet3DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    from ivideo.config.presets import MODEL_SOURCES

    bundled = Path(MODEL_SOURCES["emoji-world"])
    tokenizer = CLIPTokenizer.from_pretrained(bundled / "tokenizer")
    text = CLIPTextConfig.from_pretrained(bundled / "text_encoder", num_hidden_layers=1)
    levels = {"norm_num_groups": 4, "layers_per_block": 1}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        parts = {
            "unet": UNet3DConditionModel(
                sample_size=8,
                block_out_channels=(8, 16),
                down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
                up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
                cross_attention_dim=text.hidden_size,
                attention_head_dim=8,
                **levels,
            ),
            "vae": AutoencoderKL(
                block_out_channels=(8, 8),
                down_block_types=("DownEncoderBlock2D",) * 2,
                up_block_types=("UpDecoderBlock2D",) * 2,
                sample_size=16,
                **levels,
            ),
            "text_encoder": CLIPTextModel(text),
        }
    scheduler = DDIMScheduler.from_pretrained(bundled / "scheduler")
    folder = tmp_path_factory.mktemp("authors") / "model"
    TextToVideoSDPipeline(tokenizer=tokenizer, scheduler=scheduler, **parts).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def authors_file(authors_folder: Path) -> Path:
    """A random checkpoint of the authors for that pipeline: the whole U-Net, and LoRA pairs of rank 4, in float16."""
    import torch

    from ivideo.models.unet3d.authors_weights import name_lora, name_weights
    from ivideo.models.unet3d.load import load_network

    unet = load_network("authors", str(authors_folder), torch.float32)
    shapes = {name: tuple(weight.shape) for name, weight in unet.state_dict().items()}
    for name in name_lora(unet):
        width, inputs = shapes[name.rpartition(".lora_")[0] + ".weight"]
        shapes[name] = (4, inputs) if ".lora_A." in name else (width, 4)
    generator = torch.Generator().manual_seed(1)
    weights = {
        theirs: (0.2 * torch.randn(shapes[ours], generator=generator)).half()
        for ours, theirs in {**name_weights(unet), **name_lora(unet)}.items()
    }
    path = authors_folder.with_name("tuned.pth")
    torch.save({"state_dict": weights, "step": 620000}, path)
    return path


@pytest.fixture(scope="session")
def authors_base_file(authors_file: Path) -> Path:
    """The same without the LoRA pairs, as the authors' base checkpoint is."""
    import torch

    weights = torch.load(authors_file, weights_only=True)["state_dict"]
    path = authors_file.with_name("base.pth")
    torch.save({name: weight for name, weight in weights.items() if "_lora." not in name}, path)
    return path
