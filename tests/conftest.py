"""The environment of every test, set before any library reads it: offline, quiet, on the CPU unless asked otherwise."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
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
