"""Which clips a step trains on, and what is drawn for them: noise, frames, and the steps that get the gradient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from ivideo.config.settings import FinetuneSettings
from ivideo.core.draws import draw_frame_indices, draw_normal, generator_for, item_at
from ivideo.core.gradients import draw_late_step, draw_spread_steps, run_detached, run_renoised, run_to_guess
from ivideo.core.sampler import RunSteps, add_offset_noise, run_chain
from ivideo.core.segments import first_frame_indices


@dataclass(frozen=True)
class Sample:
    """One clip of a step: which prompt, and the key of its draws.

    Attributes:
        item: index of the prompt.
        epoch: how often the list was gone through before.
        position: index of the sample in the whole run; draws depend on it, so they do not depend on the batch size.
    """

    item: int
    epoch: int
    position: int


def samples_of_step(step: int, batch_size: int, num_items: int, seed: int) -> list[Sample]:
    """The samples of an optimiser step, over all processes."""
    positions = range(step * batch_size, (step + 1) * batch_size)
    return [Sample(item_at(p, num_items, seed), p // num_items, p) for p in positions]


def draw_noise(samples: Sequence[Sample], shape: tuple[int, ...], settings: FinetuneSettings) -> Tensor:
    """The noise that chains start from, (len(samples), *shape); each row depends on its sample only.

    Clips are corrupted with temporal offset noise, pure noise has none.
    """
    rows = []
    for sample in samples:
        noise = draw_row(sample, shape, settings, "noise")
        if settings.start == "clip":
            offset = draw_row(sample, (*shape[:2], 1, 1), settings, "offset noise")
            noise = add_offset_noise(noise, offset, settings.offset_noise)
        rows.append(noise)
    return torch.cat(rows)


def draw_row(sample: Sample, shape: tuple[int, ...], settings: FinetuneSettings, purpose: str) -> Tensor:
    """Standard normal noise (1, *shape) for one purpose of a sample."""
    return draw_normal(shape, seed=settings.seed, step=sample.epoch, sample_indices=[sample.position], purpose=purpose)


def draw_frames(samples: Sequence[Sample], settings: FinetuneSettings) -> Tensor:
    """One frame of each segment, (len(samples), num_segments): a random one, or the first."""
    num_frames, num_segments = settings.num_frames, settings.num_segments
    if settings.frame_draw == "first":
        return first_frame_indices(num_frames, num_segments).repeat(len(samples), 1)
    draw = partial(draw_frame_indices, num_frames, num_segments, seed=settings.seed)
    return torch.cat([draw(step=sample.epoch, sample_indices=[sample.position]) for sample in samples])


def choose_run(
    samples: Sequence[Sample], shape: tuple[int, ...], settings: FinetuneSettings, device: torch.device
) -> RunSteps:
    """How the chains of some samples of an optimiser step are run, and where their gradient flows.

    Steps are drawn once for an optimiser step, the same for all of its samples, so that parts and processes agree; the
    noise of clips that are noised anew belongs to its sample.

    Args:
        samples: all of one optimiser step.
        shape: of one clip's latents (channels, num_frames, height, width).
        settings: of the run.
        device: of the latents.
    """
    num_steps, num_grad_steps = settings.num_chain_steps, settings.num_grad_steps
    # Blocks keep their inputs; of several calls of the network only one at a time keeps even those.
    checkpoint = settings.gradient_checkpointing and num_grad_steps > 1
    if settings.gradient == "last":
        return partial(run_chain, num_grad_steps=num_grad_steps, checkpoint=checkpoint)
    if settings.gradient == "draft-lv":
        copies = range(num_grad_steps)
        fresh = [torch.cat([draw_row(one, shape, settings, f"noise anew {k}") for one in samples]) for k in copies]
        return partial(run_renoised, noise=torch.stack(fresh).to(device), checkpoint=checkpoint)
    step = samples[0].position // settings.batch_size
    generator = generator_for(settings.seed, step, 0, "grad_step")
    if settings.gradient == "random":  # one call, whose blocks are enough
        return partial(run_to_guess, grad_step=draw_late_step(num_steps, num_grad_steps, generator), checkpoint=False)
    grad_steps = draw_spread_steps(num_steps, num_grad_steps, generator)
    return partial(run_detached, grad_steps=grad_steps, checkpoint=checkpoint)
