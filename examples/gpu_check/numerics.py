"""Is it right: the emoji world on the device against the CPU in float32, golden numbers, and repetition to the bit."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from examples.gpu_check.check import Check
from examples.gpu_check.stepping import relative_error
from ivideo.config.settings import FinetuneSettings, generation_settings
from ivideo.generating import generate_latents
from ivideo.inputs.settings import resolve_settings
from ivideo.models.families import load_model
from ivideo.models.lora import add_lora, named_lora_parameters
from ivideo.models.unet3d.model import UNet3DModel
from ivideo.processes import join_processes
from ivideo.progress import Silence
from ivideo.rewards.registry import load_rewards
from ivideo.training.draws import samples_of_step
from ivideo.training.step import Trainer

ROOT = Path(__file__).resolve().parents[2]
CPU = torch.device("cpu")
PROMPTS = ["a cat surfing on a wave", "an owl flying at night"]
SMALL = {"num_frames": 4, "num_inference_steps": 3, "generation_num_inference_steps": 3}
PRECISIONS = {
    "float32, TF32 off": (torch.float32, False),
    "float32, TF32 on": (torch.float32, True),
    "bfloat16": (torch.bfloat16, True),
    "float16": (torch.float16, True),
}


@dataclass
class Outcome:
    """What a step and a generation gave, on the CPU.

    Attributes:
        latents: of clips that were generated (2, channels, num_frames, height, width).
        frames: the first one's pixels, uint8.
        rewards: of the drawn frames of a training step (batch, num_segments).
        gradient: of the adapter, in one vector.
    """

    latents: Tensor
    frames: Tensor
    rewards: Tensor
    gradient: Tensor


def measure(check: Check) -> None:
    """Golden numbers, precisions, repetition."""
    check.measure("golden numbers of the authors", {}, partial(run_golden_tests, check.device))
    with tf32(False):
        wanted = compute(CPU, torch.float32, check.is_small)
    for name, (dtype, allow) in PRECISIONS.items():
        if check.device.type == "cpu" and name == "float32, TF32 on":
            continue  # a CPU has no TF32
        work = partial(compare_precision, check, wanted, dtype, allow)
        check.measure("emoji-world, against float32 on the CPU", {"precision": name}, work)
    for name in ("float32, TF32 off", "bfloat16"):
        dtype, allow = PRECISIONS[name]
        check.measure("the same seed twice", {"precision": name}, partial(repeat, check, wanted.latents, dtype, allow))


def run_golden_tests(device: torch.device) -> dict[str, Any]:
    """The tests that hold the authors' numbers to 1e-10 in float64, with their tensors on the device."""
    command = [sys.executable, "-m", "pytest", "tests/core", "-k", "golden", "-q", "-n", "0", "-p", "no:cacheprovider"]
    environment = {**os.environ, "IVIDEO_TEST_DEVICE": str(device)}
    if device.type == "cuda":
        environment.setdefault("CUDA_VISIBLE_DEVICES", "0")  # tests hide the GPUs unless they are named
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    print(done.stdout, done.stderr, file=sys.stderr)
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    return {"device": str(device), "agree": done.returncode == 0, "pytest": lines[-1].strip("= ") if lines else ""}


@contextmanager
def tf32(allow: bool) -> Iterator[None]:
    """Let float32 products and convolutions of the GPU round to TF32, or not."""
    backends = (torch.backends.cuda.matmul, torch.backends.cudnn)
    kept = [backend.allow_tf32 for backend in backends]
    for backend in backends:
        backend.allow_tf32 = allow
    try:
        yield
    finally:
        for backend, value in zip(backends, kept, strict=True):
            backend.allow_tf32 = value


def make_trainer(device: torch.device, dtype: torch.dtype, is_small: bool) -> Trainer:
    """A training of the emoji world without clips as yet, with an adapter whose both halves are random: all counts."""
    flags = {"model": "emoji-world", "device": str(device), "batch_size": 2, "gradient_accumulation": 1}
    flags |= {**SMALL, "num_segments": 4} if is_small else {}
    settings = resolve_settings(FinetuneSettings, config=None, flags=flags, progress=Silence())
    model = load_model("emoji-world", device, dtype)
    add_lora(model.unet, rank=4, alpha=4.0, seed=0)
    generator = torch.Generator().manual_seed(1)
    for name, parameter in named_lora_parameters(model.unet).items():
        if ".lora_B." in name:
            parameter.data.copy_(0.02 * torch.randn(parameter.shape, generator=generator))
    rewards = load_rewards("emoji-preference", device)
    return Trainer(model, rewards, PROMPTS, None, settings, join_processes(settings))


def differentiate(trainer: Trainer) -> tuple[Tensor, Tensor]:
    """Rewards of the first batch's drawn frames, and the adapter's gradient in one vector."""
    settings = trainer.settings
    objective = trainer.evaluate(samples_of_step(0, settings.batch_size, len(trainer.prompts), settings.seed))
    gradients = torch.autograd.grad(trainer.scaler.scale(objective.loss), trainer.parameters)
    gradient = torch.cat([one.flatten() for one in gradients]) / trainer.scaler.get_scale()
    return objective.frame_scores.detach(), gradient


def compute(device: torch.device, dtype: torch.dtype, is_small: bool, clips: Tensor | None = None) -> Outcome:
    """Two generations, and the gradient of a training step on given clips; else on those."""
    trainer = make_trainer(device, dtype, is_small)
    model: UNet3DModel = trainer.model
    latents = generate_latents(model, generation_settings(trainer.settings), PROMPTS, [0, 1])
    frames = model.decode_clip(latents[0])
    trainer.clip_of = list(latents.cpu() if clips is None else clips).__getitem__
    rewards, gradient = differentiate(trainer)
    return Outcome(latents.cpu(), frames, rewards.cpu(), gradient.cpu())


def compare_precision(check: Check, wanted: Outcome, dtype: torch.dtype, allow: bool) -> dict[str, Any]:
    """How far the device is from the CPU's float32: relative errors, and the largest difference of a pixel of 255."""
    with tf32(allow):
        found = compute(check.device, dtype, check.is_small, wanted.latents)
    pixels = (found.frames.int() - wanted.frames.int()).abs()
    return {
        "latents": relative_error(found.latents, wanted.latents),
        "largest latent": float((found.latents - wanted.latents).abs().max()),
        "largest pixel": int(pixels.max()),
        "mean pixel": float(pixels.double().mean()),
        "rewards": float((found.rewards - wanted.rewards).abs().max()),
        "gradient": relative_error(found.gradient, wanted.gradient),
        "its cosine": float(torch.cosine_similarity(found.gradient.double(), wanted.gradient.double(), dim=0)),
        "finite": bool(found.gradient.isfinite().all()),
    }


def repeat(check: Check, clips: Tensor, dtype: torch.dtype, allow: bool) -> dict[str, Any]:
    """Whether the same gradient comes twice to the bit, and else the first operator that gave another result."""
    with tf32(allow):
        trainer = make_trainer(check.device, dtype, check.is_small)
        trainer.clip_of = list(clips).__getitem__
        (rewards, first), (rewards_again, second) = differentiate(trainer), differentiate(trainer)
        if torch.equal(first, second) and torch.equal(rewards, rewards_again):
            return {"bit-equal": True}
        error = relative_error(second, first)
        return {
            "bit-equal": False,
            "gradient": error,
            "first operator": find_first_difference(partial(differentiate, trainer)),
        }


class Checksums(TorchDispatchMode):
    """Notes a checksum of what goes into each operator and of what comes out."""

    def __init__(self) -> None:
        """Start empty."""
        super().__init__()
        self.log: list[tuple[str, list[Tensor], list[Tensor]]] = []

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        before = add_up(args, kwargs)
        result = operation(*args, **(kwargs or {}))
        if "empty" not in str(operation):  # whose memory holds whatever was there
            self.log.append((str(operation), before, add_up(result)))
        return result


def add_up(*values: Any) -> list[Tensor]:
    """A checksum (0-d, on its device) of each tensor's bits and their places; whole numbers, so order cannot matter."""
    return [add_up_bits(value.detach()) for value in tree_leaves(values) if isinstance(value, Tensor) and value.numel()]


def add_up_bits(tensor: Tensor) -> Tensor:
    """Sum over all bytes of byte times a number that belongs to its place, modulo 2 ** 64."""
    integers = tensor.contiguous().flatten().view(torch.uint8).to(torch.int64)
    places = 0x9E3779B1 * torch.arange(1, integers.numel() + 1, device=tensor.device) % 0x7FFFFFFF
    return (integers * places).sum()


def find_first_difference(work: Callable[[], object]) -> str:
    """The first operator that gave another result for the same inputs when work was done twice."""
    logs = []
    for _ in range(2):
        with Checksums() as mode:
            work()
        logs.append(mode.log)
    for (name, before, after), (_, before_again, after_again) in zip(*logs, strict=False):
        if read(before) == read(before_again) and read(after) != read(after_again):
            return name
    return "none found"


def read(sums: list[Tensor]) -> list[int]:
    """Checksums as numbers, which waits for the device."""
    return [int(one) for one in sums]
