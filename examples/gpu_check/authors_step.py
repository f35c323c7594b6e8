"""The authors' way of doing the step beside ours, on the same weights, in turn.

What their release does otherwise (see damo-vilab/i2vgen-xl, `train_t2v_instructvideo_entrance.py` and
`diffusion_ddim.py`): the two branches of the guidance are two calls of the network; the step with gradient is computed
again as a whole in the backward pass, and inside it every block once more; all frames are decoded with gradient, and
those that were not drawn are thrown away. Their dropout is left off here, so that both give the same loss and gradient.
They keep float32 weights under autocast: a case of its own.
"""

from __future__ import annotations

import statistics
import time
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint as checkpoint_call

from examples.gpu_check.check import Check
from examples.gpu_check.models import MODELS, build_reward
from examples.gpu_check.stepping import make_trainer, relative_error
from ivideo.config.settings import FinetuneSettings
from ivideo.models.unet3d.model import UNet3DModel
from ivideo.rewards.cosine import CosineReward
from ivideo.training.draws import samples_of_step
from ivideo.training.step import Trainer

NUM_PAIRS = 3


def measure(check: Check) -> None:
    """Both ways on half-precision weights, then theirs as released."""
    row = MODELS[0]
    reward = build_reward(check.device, check.is_small)
    ours = row.settings(check.device, check.is_small, batch_size=1, gradient_accumulation=1)
    theirs = ours.model_copy(update={"guidance_batching": False})
    half = torch.float16 if check.device.type == "cuda" else torch.bfloat16
    model = row.build_with_adapter(check.device, half, check.is_small)
    names = {"theirs": f"{str(half).removeprefix('torch.')} weights, as ours"}
    check.measure("ours / theirs", names, partial(time_pairs, check, model, model, reward, ours, theirs))
    released = row.build_with_adapter(check.device, torch.float32, check.is_small)
    names = {"theirs": "float32 weights under autocast, as released"}
    work = partial(time_pairs, check, model, released, reward, ours, theirs, autocast=half)
    check.measure("ours / theirs", names, work)


def do_as_the_authors(trainer: Trainer, autocast: torch.dtype | None = None) -> Trainer:
    """Let a trainer, whose settings have guidance in turn and recomputed blocks, do its step as the authors do."""
    denoise, decode_frames, device = trainer.denoise, trainer.model.decode_frames, trainer.model.device
    every = torch.arange(trainer.settings.num_frames, device=device)

    def precision() -> Any:
        return torch.autocast(device.type, autocast) if autocast else nullcontext()

    def denoise_again(latents: Tensor, timestep: Tensor, conditioning: Any) -> Tensor:
        with precision():
            if not torch.is_grad_enabled():
                return denoise(latents, timestep, conditioning)
            noise_pred: Tensor = checkpoint_call(denoise, latents, timestep, conditioning, use_reentrant=False)
            return noise_pred

    def decode_all(latents: Tensor, frame_indices: Tensor) -> Tensor:
        with precision():
            frames = decode_frames(latents, every.expand(len(latents), -1))
        return frames[torch.arange(len(frames), device=device)[:, None], frame_indices]

    trainer.denoise, trainer.decode_frames = denoise_again, decode_all
    if autocast == torch.float16:
        trainer.scaler = torch.amp.GradScaler(device.type)
    return trainer


def time_pairs(
    check: Check,
    model: UNet3DModel,
    their_model: UNet3DModel,
    reward: CosineReward,
    ours: FinetuneSettings,
    theirs: FinetuneSettings,
    autocast: torch.dtype | None = None,
) -> dict[str, Any]:
    """Seconds and peaks of both ways in turn, and how far their losses and gradients are from ours."""
    trainers = {
        "our": make_trainer(model, reward, ours),
        "their": do_as_the_authors(make_trainer(their_model, reward, theirs), autocast),
    }
    (loss, gradient), (their_loss, their_gradient) = (differentiate(trainer) for trainer in trainers.values())
    seconds: dict[str, list[float]] = {name: [] for name in trainers}
    models = {name: trainer.model for name, trainer in trainers.items()}
    peaks: dict[str, float | None] = {}
    for step in range(NUM_PAIRS):
        for name, trainer in trainers.items():
            check.reset_peak()
            started = time.perf_counter()
            trainer.train_step(step)
            check.synchronize()
            seconds[name].append(time.perf_counter() - started)
            peak, idle = check.read_peak(), models["their" if name == "our" else "our"]
            # The other one's weights lie beside it here, and would not where it worked alone.
            peaks[name] = peak and peak - (0 if idle is trainer.model else weigh(idle))
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    mine, other = peaks.values()
    return {
        **{f"{name} seconds": value for name, value in medians.items()},
        "time ratio": statistics.median(a / b for a, b in zip(*seconds.values(), strict=True)),
        **{f"{name} peak_gib": value for name, value in peaks.items()},
        "memory ratio": mine / other if mine and other else None,
        "loss differs by": abs(loss - their_loss),
        "gradient error": relative_error(their_gradient, gradient),
    }


def weigh(model: UNet3DModel) -> float:
    """GiB of a model's weights."""
    return sum(weight.nbytes for part in (model.unet, model.vae) for weight in part.parameters()) / 2**30


def differentiate(trainer: Trainer) -> tuple[float, Tensor]:
    """Loss and gradient, in one vector, of the first sample."""
    samples = samples_of_step(0, 1, len(trainer.prompts), trainer.settings.seed)
    loss = trainer.evaluate(samples).loss
    gradients = torch.autograd.grad(trainer.scaler.scale(loss), trainer.parameters)
    return loss.item(), torch.cat([gradient.flatten() for gradient in gradients]) / trainer.scaler.get_scale()
