"""What a training step of each model costs at its real size: seconds by phase, and memory beside what was computed."""

from __future__ import annotations

import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from typing import Any

import torch

from examples.gpu_check.check import Check
from examples.gpu_check.models import MODELS, MeasuredModel, build_reward
from examples.gpu_check.stepping import PROMPTS, make_trainer, time_phases, time_steps
from ivideo.config.settings import FinetuneSettings
from ivideo.models.unet3d.model import UNet3DModel
from ivideo.rewards.cosine import CosineReward

ONE = {"batch_size": 1, "gradient_accumulation": 1}
KEPT = {**ONE, "gradient_checkpointing": False}
# What keeps everything comes first: blocks that recompute go on doing so.
CASES: dict[torch.dtype, tuple[tuple[str, dict[str, Any]], ...]] = {
    torch.bfloat16: (
        ("nothing recomputed", KEPT),
        ("recomputed", ONE),
        ("recomputed, guidance in turn", {**ONE, "guidance_batching": False}),
        ("recomputed, batch 2", {"batch_size": 2, "gradient_accumulation": 1}),
        ("recomputed, batch 4", {"batch_size": 4, "gradient_accumulation": 1}),
        ("preset, a clip at a time", {}),
    ),
    torch.float16: (("nothing recomputed", KEPT), ("recomputed", ONE)),
}


def measure(check: Check) -> None:
    """Every model in every case."""
    # Fresh processes: none may be forked off one that uses the GPU.
    with ProcessPoolExecutor(1 if check.is_small else 4, mp_context=get_context("spawn")) as pool:
        for model in MODELS:
            for dtype, cases in CASES.items():
                is_slow = check.is_small and dtype == torch.float16  # on a CPU, in which one case rehearses it
                measure_model(check, model, dtype, cases[-1:] if is_slow else cases, pool)


def measure_model(
    check: Check,
    row: MeasuredModel,
    dtype: torch.dtype,
    cases: tuple[tuple[str, dict[str, Any]], ...],
    pool: ProcessPoolExecutor,
) -> None:
    """One model of one type in every case."""
    settings = {name: row.settings(check.device, check.is_small, **changes) for name, changes in cases}
    counted = list(settings)[: 1 if check.is_small else None]
    predicted = {name: pool.submit(row.predict, settings[name], dtype, check.is_small) for name in counted}
    started = time.perf_counter()
    reward = build_reward(check.device, check.is_small)
    model = row.build_with_adapter(check.device, dtype, check.is_small)
    check.synchronize()
    names = {"model": row.name, "type": str(dtype).removeprefix("torch.")}
    check.add("loading", **names, seconds=time.perf_counter() - started, parameters=count_parameters(model))
    check.measure("text", names, partial(time_text, check, model))
    peaks = {}
    for name in settings:
        found = check.measure(
            "a step", {**names, "case": name}, partial(time_case, check, model, reward, settings[name])
        )
        peaks[name] = found.get("peak_gib")
    for name, future in predicted.items():
        check.add("memory", **names, case=name, peak_gib=peaks[name], predicted_gib=round(future.result(), 2))


def time_text(check: Check, model: UNet3DModel) -> dict[str, Any]:
    """Encoding two prompts, at which the text tower goes."""
    check.reset_peak()
    started = time.perf_counter()
    model.encode_once(PROMPTS)
    check.synchronize()
    return {"seconds a prompt": (time.perf_counter() - started) / len(PROMPTS), "peak_gib": check.read_peak()}


def time_case(check: Check, model: UNet3DModel, reward: CosineReward, settings: FinetuneSettings) -> dict[str, Any]:
    """A step's seconds in all and by phase, and its peak of memory."""
    return {**time_steps(check, make_trainer(model, reward, settings)), **time_phases(model, reward, settings)}


def count_parameters(model: UNet3DModel) -> int:
    """Those of the network that is trained."""
    return sum(parameter.numel() for parameter in model.unet.parameters())
