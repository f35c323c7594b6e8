"""Where the time of a step goes: kernels, idle time, transfers; and what batch, layout and torch.compile change."""

from __future__ import annotations

import time
import traceback
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from examples.gpu_check.check import Check
from examples.gpu_check.models import MODELS, MeasuredModel, build_reward
from examples.gpu_check.stepping import make_trainer, time_steps
from ivideo.models.devices import compile_network
from ivideo.models.unet3d.model import UNet3DModel
from ivideo.rewards.cosine import CosineReward
from ivideo.training.step import Trainer

DTYPE = torch.bfloat16
NUM_TOP = 10
BATCHES = (1, 2, 4, 8)
ROOT = Path(__file__).resolve().parents[2]


def measure(check: Check) -> None:
    """Every model."""
    if check.device.type == "cpu":
        torch.set_num_threads(1)  # else small clips are worked on in threads of their own, which nobody watches
    for row in MODELS:
        measure_model(check, row)


def measure_model(check: Check, row: MeasuredModel) -> None:
    """One model: a profile of a step, the card's use, its transfers; then batches, channels-last and torch.compile.

    Compiling comes last: it may take all the time that is left.
    """
    reward = build_reward(check.device, check.is_small)
    model = row.build_with_adapter(check.device, DTYPE, check.is_small)
    settings = row.settings(check.device, check.is_small, batch_size=1, gradient_accumulation=1)
    trainer = make_trainer(model, reward, settings)
    seconds = time_steps(check, trainer)["seconds"]
    names = {"model": row.name}
    check.measure("busy and idle", names, partial(profile_step, check, trainer, names))
    check.measure("use of the device", names, partial(measure_use, check, trainer, seconds))
    check.measure("waits of the host", names, partial(count_waits, check, trainer))
    for batch in BATCHES[: 2 if check.is_small else None]:
        work = partial(time_variant, check, row, model, reward, batch)
        check.measure("variants", {**names, "layout": "as it is", "batch": batch}, work)
    arrange(model, torch.channels_last)
    for batch in BATCHES[:2]:
        work = partial(time_variant, check, row, model, reward, batch)
        check.measure("variants", {**names, "layout": "channels last", "batch": batch}, work)
    arrange(model, torch.contiguous_format)
    check.measure("torch.compile", {**names, "blocks": "recomputed"}, partial(time_compiled, check, row, model, reward))
    if not check.is_small:
        del model, trainer
        fresh = row.build_with_adapter(check.device, DTYPE, check.is_small)
        work = partial(time_compiled, check, row, fresh, reward, gradient_checkpointing=False)
        check.measure("torch.compile", {**names, "blocks": "kept"}, work)


def arrange(model: UNet3DModel, order: torch.memory_format) -> None:
    """Put the weights of 2-d convolutions in an order; others have no such orders."""
    for layer in model.unet.modules():
        if isinstance(layer, nn.Conv2d):
            layer.to(memory_format=order)


def time_variant(
    check: Check, row: MeasuredModel, model: UNet3DModel, reward: CosineReward, batch: int
) -> dict[str, Any]:
    """A step with so many clips together."""
    settings = row.settings(check.device, check.is_small, batch_size=batch, gradient_accumulation=1)
    found = time_steps(check, make_trainer(model, reward, settings))
    return {"seconds a clip": found["seconds"] / batch, "peak_gib": found["peak_gib"]}


def time_compiled(
    check: Check, row: MeasuredModel, model: UNet3DModel, reward: CosineReward, **flags: Any
) -> dict[str, Any]:
    """A step before and after compiling the U-Net, and the seconds of compiling.

    The rehearsal runs one step of the chain, and compiles nothing of the graphs that it captures: a CPU takes minutes.
    """
    flags |= {"num_inference_steps": 1} if check.is_small else {}
    settings = row.settings(check.device, check.is_small, batch_size=1, gradient_accumulation=1, **flags)
    trainer = make_trainer(model, reward, settings)
    plain = time_steps(check, trainer)
    started = time.perf_counter()
    backend = "eager" if check.is_small else "inductor"
    reason = compile_network(model.unet, lambda: trainer.train_step(10), backend=backend)
    compiling = time.perf_counter() - started
    if reason:
        return {"plain": plain["seconds"], "compiling": compiling, "note": f"not compiled: {reason}"}
    found = time_steps(check, trainer)
    return {
        "plain": plain["seconds"],
        "compiling": compiling,
        "compiled": found["seconds"],
        "ratio": found["seconds"] / plain["seconds"],
        "plain peak_gib": plain["peak_gib"],
        "compiled peak_gib": found["peak_gib"],
    }


def profile_step(check: Check, trainer: Trainer, names: dict[str, Any]) -> dict[str, Any]:
    """The share of a step's time without any kernel, and its copies by kind; adds a table of the longest kernels."""
    is_cuda = check.device.type == "cuda"
    check.synchronize()
    with profile(activities=[ProfilerActivity.CUDA if is_cuda else ProfilerActivity.CPU], acc_events=True) as found:
        started = time.perf_counter()
        trainer.train_step(10)
        check.synchronize()
        seconds = time.perf_counter() - started
    events = [event for event in found.events() if not event.is_user_annotation]
    kernels = [event for event in events if (event.device_type == torch.autograd.DeviceType.CUDA) == is_cuda]
    add_top_kernels(check, found.key_averages(), names)
    idle = 1 - cover((event.time_range.start, event.time_range.end) for event in kernels) / 1e6 / seconds
    copies = Counter(event.name for event in kernels if event.name.startswith("Memcpy"))
    return {"seconds": seconds, "idle share": idle, "kernels": len(kernels), **copies}


def add_top_kernels(check: Check, averages: Iterable[Any], names: dict[str, Any]) -> None:
    """The kernels (on a CPU: operators) that take longest."""
    own_time = "self_device_time_total" if check.device.type == "cuda" else "self_cpu_time_total"
    microseconds = {one: getattr(one, own_time) for one in averages}
    for one in sorted(microseconds, key=microseconds.__getitem__, reverse=True)[:NUM_TOP]:
        found = {"calls": one.count, "milliseconds": microseconds[one] / 1e3}
        check.add(
            "top kernels", **names, kernel=one.key[:100], **found, share=microseconds[one] / sum(microseconds.values())
        )


def cover(intervals: Iterable[tuple[float, float]]) -> float:
    """Length of the union of intervals: (0, 2), (1, 3), (5, 6) cover 4."""
    covered, reached = 0.0, float("-inf")
    for start, end in sorted(intervals):
        covered += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return covered


def measure_use(check: Check, trainer: Trainer, seconds: float) -> dict[str, Any]:
    """Arithmetic of a step, its rate, and its share of what a large bf16 product reaches on this device."""
    with FlopCounterMode(display=False) as counter:
        trainer.train_step(20)
    rate = counter.get_total_flops() / seconds
    peak = measure_peak_rate(check)
    return {
        "tflop a step": counter.get_total_flops() / 1e12,
        "tflop/s": rate / 1e12,
        "tflop/s of a bf16 product": peak / 1e12,
        "share": rate / peak,
    }


def measure_peak_rate(check: Check) -> float:
    """Operations a second of a square product of random bfloat16 matrices."""
    side = 512 if check.is_small else 8192
    a, b = (torch.randn(side, side, device=check.device, dtype=DTYPE) for _ in range(2))
    times = 10
    for _ in range(3):
        a @ b
    check.synchronize()
    started = time.perf_counter()
    for _ in range(times):
        a @ b
    check.synchronize()
    return times * 2 * side**3 / (time.perf_counter() - started)


def count_waits(check: Check, trainer: Trainer) -> dict[str, Any]:
    """How often a step makes the host wait for the GPU, by the line of ours that does; a CPU never does."""
    if check.device.type != "cuda":
        return {"waits": None, "note": "only on a GPU"}
    places = Counter[str]()
    with note_waits(places):
        trainer.train_step(30)
    return {"waits": sum(places.values()), "where": ", ".join(f"{place} x {n}" for place, n in places.most_common())}


@contextmanager
def note_waits(places: Counter[str]) -> Iterator[None]:
    """Count torch's warnings of waiting by place."""

    def note(message: Warning | str, *_: Any, **__: Any) -> None:
        if "synchroniz" in str(message):
            places[find_own_line()] += 1

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = note
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield
        finally:
            torch.cuda.set_sync_debug_mode("default")


def find_own_line() -> str:
    """The innermost line of ivideo that is running."""
    own = [frame for frame in traceback.extract_stack() if Path(frame.filename).is_relative_to(ROOT / "ivideo")]
    return f"{Path(own[-1].filename).relative_to(ROOT)}:{own[-1].lineno}" if own else "elsewhere"
