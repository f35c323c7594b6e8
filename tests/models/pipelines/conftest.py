"""Tiny pipelines as folders, written once a session, and opened by diffusers and by the house."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ivideo.models.families import load_model
from tests.models.pipelines import tiny

PROMPT, NEGATIVE = "a red cat runs", "blurry"
GUIDANCE = 5.0


@pytest.fixture(scope="session")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """`folder_of(name)` is the folder of a tiny pipeline."""
    root = tmp_path_factory.mktemp("pipelines")
    return lambda name: root / name if (root / name).is_dir() else tiny.write(name, root / name)


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where embeddings are kept from test to test."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def use_cache(monkeypatch: pytest.MonkeyPatch, shared_cache: Path) -> None:
    """Every test finds the embeddings of those before it."""
    monkeypatch.setenv("IVIDEO_CACHE", str(shared_cache))


@pytest.fixture(autouse=True)
def quiet() -> None:
    """No progress bars of diffusers."""
    import diffusers

    diffusers.utils.logging.disable_progress_bar()
    diffusers.utils.logging.set_verbosity_error()


@pytest.fixture
def open_tiny(folder_of: Callable[[str], Path]) -> Callable[..., Any]:
    """`open_tiny(name, dtype=float32, **options)`: the house's model."""

    def open_it(name: str, dtype: torch.dtype = torch.float32, **options: Any) -> Any:
        texts = [PROMPT, "two birds", NEGATIVE, ""]
        return load_model(str(folder_of(name)), torch.device("cpu"), dtype, texts=texts, options=options)

    return open_it


@pytest.fixture
def open_pipeline(folder_of: Callable[[str], Path]) -> Callable[[str], Any]:
    """`open_pipeline(name)`: what diffusers makes of the folder."""

    def open_it(name: str) -> Any:
        from diffusers import DiffusionPipeline

        pipeline = DiffusionPipeline.from_pretrained(folder_of(name))
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    return open_it


def call(pipeline: Any, name: str, num_steps: int, output_type: str, seed: int = 7) -> torch.Tensor:
    """What a pipeline of diffusers makes of the prompt, called as its documentation has it."""
    num_frames, height, width = tiny.SIZES[name]
    given: dict[str, Any] = {"guidance_scale": GUIDANCE, "negative_prompt": NEGATIVE}
    if name == "hunyuan":  # guided by an embedding
        del given["negative_prompt"]
    if name == "hunyuan-1.5":  # guided by a part of the pipeline
        pipeline.guider = pipeline.guider.new(guidance_scale=given.pop("guidance_scale"))
    if name == "ltx":
        given["frame_rate"] = 8.0
    made: torch.Tensor = pipeline(
        prompt=PROMPT,
        num_frames=num_frames,
        height=height,
        width=width,
        num_inference_steps=num_steps,
        output_type=output_type,
        generator=torch.Generator().manual_seed(seed),
        **given,
    ).frames
    return made
