"""Frames to be scored, and HPSv2's own code as the oracle."""

from __future__ import annotations

import importlib
import json
import shutil
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ivideo.rewards.cosine import CosineReward, Preprocessing

CLIP = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 224, "patch_size": 56, "width": 32, "layers": 2, "head_width": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2},
}
CPU = torch.device("cpu")


@pytest.fixture(scope="session")
def random_frames() -> Callable[..., Tensor]:
    """`random_frames(batch, num_frames, height, width)`: smooth, in [0, 1], in whole steps of 1 / 255."""

    def make(batch: int, num_frames: int, height: int, width: int) -> Tensor:
        coarse = torch.rand((batch * num_frames, 3, 5, 5), generator=torch.Generator().manual_seed(0))
        fine = F.interpolate(coarse, size=(height, width), mode="bilinear", align_corners=False)
        return (fine * 255).round().div(255).unflatten(0, (batch, num_frames))

    return make


@pytest.fixture(scope="session")
def to_image() -> Callable[[Tensor], Image.Image]:
    """A frame (3, height, width) as an 8-bit image."""
    return lambda frame: Image.fromarray((frame * 255).round().byte().permute(1, 2, 0).numpy())


@pytest.fixture(scope="session")
def official(tmp_path_factory: pytest.TempPathFactory, clip_sizes: dict[str, Any]) -> Iterator[ModuleType]:
    """The open_clip fork inside hpsv2, with the vocabulary that its wheel lacks and a ViT-H-14 that is small."""
    import open_clip

    folder = tmp_path_factory.mktemp("hpsv2")
    fork = folder / "hpsv2_fork"
    source = Path(str(importlib.import_module("hpsv2").__file__)).parent / "src" / "open_clip"
    shutil.copytree(source, fork, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(open_clip.tokenizer.default_bpe(), fork / "bpe_simple_vocab_16e6.txt.gz")
    (fork / "model_configs" / "ViT-H-14.json").write_text(json.dumps(clip_sizes))
    sys.path.insert(0, str(folder))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield importlib.import_module("hpsv2_fork")
    finally:
        sys.path.remove(str(folder))
        for name in [name for name in sys.modules if name.split(".")[0] == "hpsv2_fork"]:
            del sys.modules[name]


@pytest.fixture(scope="session")
def make_clip() -> Callable[[], Any]:
    """Random networks of open_clip in HPSv2's sizes of input, with always the same weights."""
    import open_clip

    def make() -> Any:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return open_clip.CLIP(**CLIP)

    return make


@pytest.fixture(scope="session")
def clip_sizes() -> dict[str, Any]:
    return CLIP


@pytest.fixture(scope="session")
def small_reward(make_clip: Callable[[], Any]) -> CosineReward:
    """A reward model with such a network."""
    import open_clip

    return CosineReward(
        "small", "random", make_clip(), open_clip.get_tokenizer("ViT-H-14"), Preprocessing(224, clamp=False), CPU
    )
