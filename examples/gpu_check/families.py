"""A training step of each video model of today at its real size, with random weights: seconds, phases and memory."""

from __future__ import annotations

import gc
import time
from concurrent.futures import Future, ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import Any

import torch

from examples import published_sizes as published
from examples.gpu_check.check import Check
from examples.gpu_check.models import build_reward
from examples.gpu_check.stepping import PROMPTS, make_trainer, time_phases, time_steps
from examples.memory_budget import build_reward_model
from examples.memory_video_models import measure as count_memory
from examples.released_models import RELEASES, build, make_embeds
from ivideo.config.settings import FinetuneSettings
from ivideo.inputs.settings import resolve_settings
from ivideo.models.pipelines.model import PipelineModel
from ivideo.progress import Silence
from ivideo.rewards.cosine import CosineReward

DTYPE = torch.bfloat16
SMALL_SIDE = 64  # pixels
# Small networks first: where time runs out, the rest is left out.
ORDER = (
    *("wan2.1-1.3b", "ltx-video", "cogvideox-2b", "animatediff", "wan2.2-5b", "hunyuan-video-1.5", "cogvideox-5b"),
    *("cogvideox-1.5", "mochi", "hunyuan-video", "wan2.1-14b", "wan2.2-a14b"),
)


def measure(check: Check) -> None:
    """Every model on the second of its clips; in small, one of each family."""
    of_a_family = {RELEASES[name].kind: name for name in reversed(ORDER)}
    names = [name for name in ORDER if not check.is_small or name in of_a_family.values()]
    with ProcessPoolExecutor(1 if check.is_small else 4, mp_context=get_context("spawn")) as pool:
        counted = {name: pool.submit(predict, name, check.is_small) for name in names}
        reward = build_reward(check.device, check.is_small)
        for name in names:
            row = {"model": name, "clip": " x ".join(map(str, choose_clip(name, check.is_small)))}
            check.measure("a step", row, partial(time_model, check, name, reward, counted[name]))


def choose_clip(name: str, is_small: bool) -> tuple[int, int, int]:
    """Frames, height and width of what is measured."""
    num_frames, height, width = RELEASES[name].clips[-1 if is_small else 1]
    return (num_frames, SMALL_SIDE, SMALL_SIDE) if is_small else (num_frames, height, width)


def choose_settings(name: str, device: torch.device, is_small: bool) -> FinetuneSettings:
    """Those of its preset, for one clip at a time."""
    clip = dict(zip(("num_frames", "height", "width"), choose_clip(name, is_small), strict=True))
    flags = {"model": name, "device": str(device), "batch_size": 1, "gradient_accumulation": 1, **clip}
    if is_small:
        flags |= {"num_inference_steps": 10}
    return resolve_settings(FinetuneSettings, config=None, flags=flags, progress=Silence())


def predict(name: str, is_small: bool) -> float:
    """GiB that the step should take, as the memory page counts them."""
    settings = choose_settings(name, torch.device("cpu"), is_small)
    networks = published.TINY if is_small else published.PUBLISHED
    found = count_memory(
        name,
        choose_clip(name, is_small),
        reward_model=build_reward_model(networks),
        num_drawn=settings.num_segments,
        is_small=is_small,
    )
    return found["weights"] + found["peak"]


def time_model(check: Check, name: str, reward: CosineReward, counted: Future[float]) -> dict[str, Any]:
    """Seconds of loading, of a step in all and by phase, and its peak of memory beside the counted one."""
    started = time.perf_counter()
    settings = choose_settings(name, check.device, check.is_small)
    model = build_with_prompts(name, check.device, settings, is_small=check.is_small)
    check.synchronize()
    loading = time.perf_counter() - started
    found = time_steps(check, make_trainer(model, reward, settings))
    phases = time_phases(model, reward, settings)
    del model
    gc.collect()
    return {"loading": loading, **found, "predicted_gib": round(counted.result(), 2), **phases}


def build_with_prompts(name: str, device: torch.device, settings: FinetuneSettings, *, is_small: bool) -> PipelineModel:
    """A model with random weights that knows the prompts, by embeddings that are random, too."""
    torch.manual_seed(0)
    model = build(name, device, DTYPE, is_small=is_small)
    cpu = torch.device("cpu")
    model.texts = {text: make_embeds(name, cpu) for text in (*PROMPTS, settings.negative_prompt)}
    return model
