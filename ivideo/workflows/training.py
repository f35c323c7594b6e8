"""The training loop: InstructVideo's objective on LoRA weights, a step at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from accelerate import Accelerator
from torch import Tensor

from ivideo.config.settings import FinetuneSettings
from ivideo.core.draws import draw_frame_indices, draw_normal, item_at
from ivideo.core.objective import DecodeFrames, Objective, editing_objective
from ivideo.core.sampler import add_offset_noise
from ivideo.errors import UsageError
from ivideo.models.checkpointing import checkpoint_blocks
from ivideo.models.judges import Judge, labels_of
from ivideo.models.lora import lora_parameters
from ivideo.models.text_to_video import Conditioning, TextToVideoModel
from ivideo.workflows.parallel import map_on_cores

ClipOf = Callable[[int], Tensor]
"""`clip_of(item) -> latents` (channels, num_frames, height, width) of a prompt's clip."""


@dataclass(frozen=True)
class StepMetrics:
    """One line of metrics.jsonl.

    Reward is the mean score of the drawn frames, attenuated_reward what is maximised; rewards has the reward by name
    and, where it is a weighted sum, each judge's part before its weight.
    """

    step: int
    loss: float
    reward: float
    attenuated_reward: float
    learning_rate: float
    seconds: float
    rewards: dict[str, float] = field(default_factory=dict)


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


def learning_rate_factor(settings: FinetuneSettings, step: int) -> float:
    """Share of the learning rate at a step: linear warm-up, then constant or linear to zero after the last step.

    With 10 warm-up steps, step 4 has 0.5; "linear" over 60 steps has 1 at step 10 and 0.02 at step 59.
    """
    warmup = settings.num_warmup_steps
    if step < warmup:
        return (step + 1) / warmup
    if settings.lr_schedule == "constant":
        return 1.0
    return max(0.0, (settings.max_steps - step) / max(1, settings.max_steps - warmup))


class Trainer:
    """Trains a model's adapter; everything that a sample sees comes from the seed and the sample's position."""

    def __init__(
        self,
        model: TextToVideoModel,
        judge: Judge,
        prompts: Sequence[str],
        clip_of: ClipOf,
        settings: FinetuneSettings,
        accelerator: Accelerator,
    ) -> None:
        """Encode the prompts once and make the optimiser (AdamW, no weight decay).

        Raises:
            UsageError: a batch that is too small for every process to get a clip of it.
        """
        if settings.batch_size < accelerator.num_processes:
            raise UsageError(f"--batch-size {settings.batch_size} is less than {accelerator.num_processes} processes")
        self.model, self.judge, self.prompts = model, judge, list(prompts)
        self.clip_of, self.settings, self.accelerator = clip_of, settings, accelerator
        self.reward_names = list(labels_of(judge))
        self.conditioning = model.encode_prompts(self.prompts, settings.negative_prompt)
        self.denoise = model.denoiser(settings.guidance_scale, batched=settings.guidance_batching)
        self.decode_frames: DecodeFrames = model.decode_frames
        if settings.gradient_checkpointing:
            checkpoint_blocks(model.unet)
            self.decode_frames = partial(model.decode_frames, slice_size=1)
        self.stepper = model.stepper(settings.num_inference_steps)
        self.parameters = lora_parameters(model.unet)
        self.optimizer = torch.optim.AdamW(self.parameters, lr=settings.learning_rate, weight_decay=0.0)
        # float16 gradients of the last step, which are small, underflow: the loss is scaled up for the backward pass.
        # A step that overflows is left out, and the scale halved.
        self.scaler = torch.amp.GradScaler(model.device.type, enabled=model.unet.dtype == torch.float16)

    def run(self) -> Iterator[StepMetrics]:
        """Train for `max_steps` steps, giving each one's metrics as it is done."""
        for step in range(self.settings.max_steps):
            yield self.train_step(step)

    def train_step(self, step: int) -> StepMetrics:
        """One optimiser step over the whole batch, in `gradient_accumulation` parts."""
        started = time.perf_counter()
        settings, accelerator = self.settings, self.accelerator
        samples = samples_of_step(step, settings.batch_size, len(self.prompts), settings.seed)
        own = samples[accelerator.process_index :: accelerator.num_processes]
        totals = torch.zeros(1 + len(self.reward_names), device=self.model.device)
        size = -(-len(own) // settings.gradient_accumulation)
        parts = [own[start : start + size] for start in range(0, len(own), size)]
        # Each part's loss is a mean over its own clips; their sum must be the mean over the whole batch.
        differentiate = partial(self._differentiate, num_samples=len(samples))
        for gradients, sums in map_on_cores(differentiate, parts, self.model.num_workers):
            totals += sums
            for parameter, gradient in zip(self.parameters, gradients, strict=True):
                parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
        learning_rate = settings.learning_rate * learning_rate_factor(settings, step)
        self._apply_gradients(learning_rate)
        attenuated, *means = (accelerator.reduce(totals, "sum") / len(samples)).tolist()
        rewards = dict(zip(self.reward_names, means, strict=True))
        reward = rewards[self.judge.name]
        seconds = time.perf_counter() - started
        return StepMetrics(step + 1, 1 - attenuated, reward, attenuated, learning_rate, seconds, rewards)

    def _differentiate(self, part: Sequence[Sample], num_samples: int) -> tuple[Sequence[Tensor], Tensor]:
        """The parameters' gradients of a part of a batch of `num_samples`, and the sums of its rewards."""
        seen: dict[str, Tensor] = {}
        objective = self.evaluate(part, seen)
        loss = self.scaler.scale(objective.loss * (len(part) / num_samples))
        sums = [objective.video_rewards.detach().sum(), *(seen[name].mean(1).sum() for name in self.reward_names)]
        return torch.autograd.grad(loss, self.parameters), torch.stack(sums)

    def _apply_gradients(self, learning_rate: float) -> None:
        if self.accelerator.num_processes > 1:
            for parameter in self.parameters:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
                parameter.grad = self.accelerator.reduce(parameter.grad, "sum")
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)

    def evaluate(self, samples: Sequence[Sample], seen: dict[str, Tensor] | None = None) -> Objective:
        """The objective of some samples: their clips, corrupted, edited and scored at the drawn frames.

        Args:
            samples: which clips, and their draws.
            seen: gets every score of the judge by name, (len(samples), num_segments), without its graph.
        """
        settings, model = self.settings, self.model
        latents = torch.stack([self.clip_of(sample.item) for sample in samples]).to(model.device)
        items = torch.tensor([sample.item for sample in samples], device=model.device)
        prompts = [self.prompts[sample.item] for sample in samples]

        def score_frames(frames: Tensor) -> Tensor:
            scores = self.judge.score_frames(frames, prompts)
            if seen is not None:
                seen.update({name: one.detach() for name, one in scores.items()})
            return scores[self.judge.name]

        return editing_objective(
            latents=latents,
            noise=self.draw_noise(samples, tuple(latents.shape[1:])).to(model.device),
            frame_indices=self.draw_frames(samples),
            conditioning=Conditioning(
                self.conditioning.prompt_embeds[items], self.conditioning.negative_prompt_embeds[items]
            ),
            denoise=self.denoise,
            stepper=self.stepper,
            decode_frames=self.decode_frames,
            score_frames=score_frames,
            num_frames=settings.num_frames,
            strength=settings.strength,
            num_grad_steps=settings.num_grad_steps,
            attenuation_rate=settings.attenuation_rate,
            # Blocks keep their inputs; of several steps only one at a time keeps even those.
            checkpoint=settings.gradient_checkpointing and settings.num_grad_steps > 1,
        )

    def draw_noise(self, samples: Sequence[Sample], shape: tuple[int, ...]) -> Tensor:
        """Noise (len(samples), *shape) with temporal offset noise; each row depends on its sample only."""
        rows = []
        for sample in samples:
            draw = partial(draw_normal, seed=self.settings.seed, step=sample.epoch, sample_indices=[sample.position])
            noise, offset = draw(shape, purpose="noise"), draw((*shape[:2], 1, 1), purpose="offset noise")
            rows.append(add_offset_noise(noise, offset, self.settings.offset_noise))
        return torch.cat(rows)

    def draw_frames(self, samples: Sequence[Sample]) -> Tensor:
        """One frame of each segment, (len(samples), num_segments)."""
        settings = self.settings
        rows = [
            draw_frame_indices(
                settings.num_frames,
                settings.num_segments,
                seed=settings.seed,
                step=sample.epoch,
                sample_indices=[sample.position],
            )
            for sample in samples
        ]
        return torch.cat(rows)
