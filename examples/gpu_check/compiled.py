"""torch.compile of the U-Net, on and off. The last part: compiling may take all the time that is left."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import torch

from examples.gpu_check.check import Check
from examples.gpu_check.models import MODELS, MeasuredModel, build_reward
from examples.gpu_check.stepping import make_trainer, time_steps
from ivideo.models.compiling import compile_network

DTYPE = torch.bfloat16


def measure(check: Check) -> None:
    """The first model; the rehearsal captures its graphs and compiles none, which would take minutes on a CPU."""
    for recomputed in (False,) if check.is_small else (False, True):
        names = {"model": MODELS[0].name, "recomputed": recomputed}
        check.measure("a step", names, partial(time_both, check, MODELS[0], recomputed))


def time_both(check: Check, row: MeasuredModel, recomputed: bool) -> dict[str, Any]:
    """Seconds and memory of a step before and after compiling, and the seconds of compiling."""
    one = {"batch_size": 1, "gradient_accumulation": 1, "gradient_checkpointing": recomputed}
    settings = row.settings(check.device, check.is_small, **one)
    model = row.build_with_adapter(check.device, DTYPE, check.is_small)
    trainer = make_trainer(model, build_reward(check.device, check.is_small), settings)
    plain = time_steps(check, trainer)
    check.add("before compiling", model=row.name, recomputed=recomputed, **plain)
    started = time.perf_counter()
    backend = "eager" if check.is_small else "inductor"
    reason = compile_network(model.unet, lambda: trainer.train_step(10), backend=backend)
    compiling = time.perf_counter() - started
    if reason:
        return {"compiling": compiling, "note": f"not compiled: {reason}"}
    found = time_steps(check, trainer)
    return {
        "compiling": compiling,
        "plain": plain["seconds"],
        "compiled": found["seconds"],
        "ratio": found["seconds"] / plain["seconds"],
        "plain peak_gib": plain["peak_gib"],
        "compiled peak_gib": found["peak_gib"],
    }
