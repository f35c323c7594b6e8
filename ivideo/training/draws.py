"""Which clips a step trains on, what is drawn for them, and which of their frames are decoded and scored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from ivideo.config.settings import FinetuneSettings
from ivideo.core.draws import draw_frame_indices, draw_normal, generator_for, item_at
from ivideo.core.gradients import draw_late_step, draw_spread_steps, run_detached, run_renoised, run_to_guess
from ivideo.core.objective import Objective
from ivideo.core.sampler import RunSteps, add_offset_noise, run_chain
from ivideo.core.segments import first_frame_indices
from ivideo.rewards.mixture import Rewards, Score, average


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
    """The samples of an optimiser step, over all processes.

    Args:
        step: optimiser step, from 0.
        batch_size: samples a step.
        num_items: prompts that are trained on.
        seed: of the run; decides the order of each epoch.
    """
    positions = range(step * batch_size, (step + 1) * batch_size)
    return [Sample(item_at(p, num_items, seed), p // num_items, p) for p in positions]


def draw_caption(sample: Sample, captions: Sequence[int], seed: int) -> int:
    """One of a clip's captions, the only one of one; it depends on the sample only.

    Args:
        sample: of the clip.
        captions: what they are called, at least one.
        seed: of the run.
    """
    if len(captions) == 1:
        return captions[0]
    generator = generator_for(seed, sample.epoch, sample.position, "caption")
    return captions[int(torch.randint(len(captions), (), generator=generator, device="cpu"))]


def draw_noise(samples: Sequence[Sample], shape: tuple[int, ...], settings: FinetuneSettings) -> Tensor:
    """The noise that chains start from, (len(samples), *shape); each row depends on its sample only.

    Clips are corrupted with temporal offset noise, pure noise has none.

    Args:
        samples: one a row.
        shape: of one clip's latents (channels, num_frames, height, width).
        settings: of the run: seed, start and weight of the offset noise.
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
    """Standard normal noise (1, *shape) of a sample.

    Args:
        sample: whose noise.
        shape: without the batch axis.
        settings: tell the seed.
        purpose: what it is for; different purposes get independent draws.
    """
    return draw_normal(shape, seed=settings.seed, step=sample.epoch, sample_indices=[sample.position], purpose=purpose)


def draw_frames(samples: Sequence[Sample], settings: FinetuneSettings) -> Tensor:
    """One frame of each segment, (len(samples), num_segments): a random one, or the first.

    Args:
        samples: one a row.
        settings: of the run: frames, segments, seed, and whether frames are drawn.
    """
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


class BatchScorer:
    """Says which frames are decoded, each once, and has every reward model score those that it looks at.

    Attributes:
        drawn: (batch_size, num_segments) int64, frames that models of single frames score, on the latents' device.
        indices: (batch_size, num_decoded) int64, all frames to decode, likewise; see `join_rows`.
    """

    def __init__(
        self, rewards: Rewards, prompts: Sequence[str], drawn: Tensor, settings: FinetuneSettings, device: torch.device
    ) -> None:
        """Find out what is looked at.

        Args:
            rewards: all that score the batch.
            prompts: one a clip.
            drawn: on the CPU.
            settings: the clips' number of frames and rate.
            device: of the latents.
        """
        self.rewards, self.prompts, self.fps = rewards, list(prompts), settings.fps
        self.drawn = self.indices = drawn.to(device, non_blocking=True)
        self._places: dict[str, Tensor] = {}
        self._found: list[dict[str, Score]] = []
        if wanted := rewards.choose_frames(settings.num_frames, settings.fps):
            rows = {name: torch.tensor(frames, device="cpu").repeat(len(drawn), 1) for name, frames in wanted.items()}
            rows |= dict.fromkeys(rewards.frame_models, drawn)
            indices = join_rows(list(rows.values()))
            self.indices = indices.to(device, non_blocking=True)
            for name, own in rows.items():
                self._places[name] = torch.searchsorted(indices, own).to(device, non_blocking=True)

    def score_frames(self, frames: Tensor) -> Tensor:
        """Score what was decoded, (batch_size, num_decoded, 3, height, width) in [0, 1].

        Returns:
            (batch_size, num_segments), the first reward of the drawn frames: 0 where it looks at whole clips only.
        """
        rows = torch.arange(len(frames), device=frames.device)[:, None]
        scores = {}
        for name, model in self.rewards.models.items():
            seen, indices = frames, self.indices
            if (places := self._places.get(name)) is not None:
                seen, indices = frames[rows, places], indices[rows, places]
            scores[name] = model.score(seen, self.prompts, indices / self.fps)
        self._found.append(self.rewards.sum_up(scores))
        drawn = self._found[-1][self.rewards.name].frame
        return frames.new_zeros(self.drawn.shape) if drawn is None else drawn

    def means(self) -> dict[str, Score]:
        """Every reward, and every model that is part of one, by name; over all samples that were scored."""
        return {name: average([found[name] for found in self._found]) for name in self.rewards.labels}


def add_whole_clips(objective: Objective, clip_scores: Tensor | None) -> Objective:
    """Reward whole clips, too: `loss = 1 - mean_b (attenuated mean over frames_b + clip score_b)`.

    Attenuated frames that give 0.25 and a clip that gives 0.5 have the loss 0.25.

    Args:
        objective: of the drawn frames.
        clip_scores: (batch_size,), weighted; None where the reward looks at single frames only.

    Raises:
        ValueError: not one score a clip.
    """
    if clip_scores is None:
        return objective
    rewards = objective.video_rewards
    if clip_scores.shape != rewards.shape:
        raise ValueError(f"a whole clip gets one score: {len(rewards)} clips, scores {tuple(clip_scores.shape)}")
    scores = clip_scores.float()
    return replace(objective, loss=objective.loss - scores.mean(), video_rewards=rewards + scores)


def join_rows(columns: Sequence[Tensor]) -> Tensor:
    """The numbers of several matrices, each once in its row, ascending; shorter rows repeat their last number.

    The rows (1, 3) and (2, 5) of one matrix with (0, 3) and (0, 4) of another become (0, 1, 3, 3) and (0, 2, 4, 5).

    Args:
        columns: (num_rows, any width) each, on the CPU.
    """
    rows = [row.unique() for row in torch.cat(list(columns), 1)]
    width = max(map(len, rows))
    return torch.stack([row[torch.arange(width, device="cpu").clamp(max=len(row) - 1)] for row in rows])
