"""One optimiser step: InstructVideo's objective on LoRA weights, and what the step tells of itself."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from ivideo.config.settings import FinetuneSettings, generation_settings
from ivideo.core.objective import DecodeFrames, Objective, editing_objective
from ivideo.errors import UsageError
from ivideo.generating import latents_shape
from ivideo.inputs.prompts import negative_of
from ivideo.models.contract import TextToVideoModel
from ivideo.models.devices import map_on_cores
from ivideo.models.lora import named_lora_parameters
from ivideo.processes import own_share
from ivideo.rewards.mixture import Rewards, Score
from ivideo.training.draws import (
    BatchScorer,
    Sample,
    add_whole_clips,
    choose_run,
    draw_caption,
    draw_frames,
    draw_noise,
    samples_of_step,
)
from ivideo.training.profile import DECODING, OPTIMISER, REWARD, WITH_GRAPH, Untimed


def learning_rate_factor(settings: FinetuneSettings, step: int) -> float:
    """Share of the learning rate at a step: linear warm-up, then constant, or down to zero after the last step.

    constant: 1; linear: 1 - u; cosine: (1 + cos(pi * u)) / 2, where u = (step - warm-up) / (max_steps - warm-up).
    With 10 warm-up steps of 60, step 4 has 0.5 and step 10 has 1; at step 35 linear and cosine have 0.5, at step 59
    linear has 0.02 and cosine 0.00099.

    Args:
        settings: schedule, number of warm-up steps and of all steps.
        step: optimiser step, from 0.
    """
    warmup = settings.num_warmup_steps
    if step < warmup:
        return (step + 1) / warmup
    if settings.lr_schedule == "constant":
        return 1.0
    done = min(1.0, (step - warmup) / max(1, settings.max_steps - warmup))
    return 1 - done if settings.lr_schedule == "linear" else (1 + math.cos(math.pi * done)) / 2


@dataclass(frozen=True)
class StepMetrics:
    """One line of metrics.jsonl.

    Reward is the mean score of the drawn frames, or that of whole clips, attenuated_reward what is maximised; rewards
    has the reward by name and, where it is a weighted sum, each part before its weight. gradient_norm is that of the
    whole batch before it is clipped; num_skipped counts the steps so far that left the adapter as it was.
    """

    step: int
    loss: float
    reward: float
    attenuated_reward: float
    gradient_norm: float
    learning_rate: float
    num_skipped: int
    seconds: float
    rewards: dict[str, float] = field(default_factory=dict)

    def record(self) -> dict[str, Any]:
        """The line; None stands for what is no finite number."""
        values = {**asdict(self), "rewards": {name: finite(value) for name, value in self.rewards.items()}}
        return {name: finite(value) if isinstance(value, float) else value for name, value in values.items()}


def finite(value: float) -> float | None:
    """The value, or None for NaN and infinity, which JSON has no word for."""
    return value if math.isfinite(value) else None


ClipOf = Callable[[int], Tensor]
"""`clip_of(item) -> latents` (channels, num_frames, height, width) of a prompt's clip."""


class CutGraph:
    """A graph that is cut between the chain and the decoder, and differentiated in two parts.

    The reward's and the decoder's part has gone before the chain's begins: what both keep is not there at a time.
    """

    def __init__(self) -> None:
        """Begin without a graph."""
        self._sides: list[tuple[Tensor, Tensor]] = []

    def before_decoding(self, clean_latents: Tensor) -> Tensor:
        """The same latents, at which the graph is cut."""
        leaf = clean_latents.detach().requires_grad_()
        self._sides.append((clean_latents, leaf))
        return leaf

    def differentiate(self, loss: Tensor, parameters: Sequence[nn.Parameter]) -> tuple[Tensor, ...]:
        """The parameters' gradients of a loss, the same as without a cut."""
        chains, leaves = zip(*self._sides, strict=True)
        gradients = torch.autograd.grad(loss, leaves)
        del loss, leaves
        return torch.autograd.grad(chains, parameters, gradients)


class Trainer:
    """Trains a model's adapter; everything that a sample sees comes from the seed and the sample's position."""

    def __init__(
        self,
        model: TextToVideoModel,
        rewards: Rewards,
        prompts: Sequence[str | Sequence[str]],
        clip_of: ClipOf | None,
        settings: FinetuneSettings,
        accelerator: Accelerator,
        timer: Untimed | None = None,
    ) -> None:
        """Encode the prompts once and make the optimiser (AdamW, no weight decay).

        Args:
            model: has the adapter that is trained.
            rewards: all score every step; the first is maximised.
            prompts: one an item, or several, of which every sample draws one.
            clip_of: loads an item's clip; None where chains start from noise.
            settings: of the run.
            accelerator: the processes that share each batch.
            timer: is told of every phase; None: nobody.

        Raises:
            UsageError: a batch that is too small for every process to get a clip of it.
        """
        if settings.batch_size < accelerator.num_processes:
            raise UsageError(f"`batch_size` {settings.batch_size} is less than {accelerator.num_processes} processes")
        self.model, self.rewards = model, rewards
        self.captions = [[one] if isinstance(one, str) else list(one) for one in prompts]  # of each item
        self.prompts = [prompt for captions in self.captions for prompt in captions]
        places = iter(range(len(self.prompts)))
        self.places = [[next(places) for _ in captions] for captions in self.captions]  # among all prompts
        self.clip_of, self.settings, self.accelerator = clip_of, settings, accelerator
        self.reward_names = list(rewards.labels)
        negatives = [negative_of(prompt, settings.negative_prompt) for prompt in self.prompts]
        self.conditioning = model.encode_prompts(self.prompts, negatives)
        self.timer = timer or Untimed()
        denoise = model.denoiser(settings.guidance_scale, batched=settings.guidance_batching, fps=settings.fps)
        if settings.decoder_gradient is not None:
            model.limit_decoder_gradient(settings.decoder_gradient)
        decode_frames: DecodeFrames = model.decode_frames
        if settings.gradient_checkpointing:
            model.recompute_blocks()
            decode_frames = partial(model.decode_frames, recompute=True)
        self.denoise = self.timer.watch(denoise, WITH_GRAPH)
        self.decode_frames = self.timer.watch(decode_frames, DECODING, before=WITH_GRAPH)
        shape = latents_shape(model, generation_settings(settings))
        self.stepper = model.stepper(settings.num_inference_steps, shape)
        self.named_parameters = named_lora_parameters(model.network)
        self.parameters = list(self.named_parameters.values())
        self.optimizer = torch.optim.AdamW(self.parameters, lr=settings.learning_rate, weight_decay=0.0)
        # float16 gradients of the last step, which are small, underflow: the loss is scaled up for the backward pass.
        # A step that overflows is left out, and the scale halved.
        self.scaler = torch.amp.GradScaler(model.device.type, enabled=model.dtype == torch.float16)
        self.num_skipped = self.num_bad_in_row = 0

    def train_step(self, step: int) -> StepMetrics:
        """One optimiser step over the whole batch, in `gradient_accumulation` parts."""
        started = time.perf_counter()
        settings, accelerator = self.settings, self.accelerator
        samples = samples_of_step(step, settings.batch_size, len(self.captions), settings.seed)
        own = own_share(samples, accelerator)
        totals = torch.zeros(1 + len(self.reward_names), device=self.model.device)
        size = -(-len(own) // settings.gradient_accumulation)
        parts = [own[start : start + size] for start in range(0, len(own), size)]
        # Each part's loss is a mean over its own clips; their sum must be the mean over the whole batch.
        differentiate = partial(self._differentiate, num_samples=len(samples))
        for gradients, sums in map_on_cores(differentiate, parts, self.model.num_workers):
            totals += sums
            for parameter, gradient in zip(self.parameters, gradients, strict=True):
                parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
        attenuated, *means = (accelerator.reduce(totals, "sum") / len(samples)).tolist()
        learning_rate = settings.learning_rate * learning_rate_factor(settings, step)
        with self.timer.phase(OPTIMISER):
            norm = self._apply_gradients(learning_rate, attenuated)
        rewards = dict(zip(self.reward_names, means, strict=True))
        return StepMetrics(
            step=step + 1,
            loss=1 - attenuated,
            reward=rewards[self.rewards.name],
            attenuated_reward=attenuated,
            gradient_norm=norm,
            learning_rate=learning_rate,
            num_skipped=self.num_skipped,
            seconds=time.perf_counter() - started,
            rewards=rewards,
        )

    def _differentiate(self, part: Sequence[Sample], num_samples: int) -> tuple[Sequence[Tensor], Tensor]:
        """The parameters' gradients of a part of a batch of `num_samples`, and the sums of its rewards."""
        scores: dict[str, Score] = {}
        cut = CutGraph()
        objective = self.evaluate(part, scores, cut)
        loss = self.scaler.scale(objective.loss * (len(part) / num_samples))
        sums = [objective.video_rewards.sum(), *(scores[name].mean().sum() for name in self.reward_names)]
        with self.timer.phase(REWARD):  # the backward pass begins there
            return cut.differentiate(loss, self.parameters), torch.stack(sums).detach()

    def _apply_gradients(self, learning_rate: float, attenuated_reward: float) -> float:
        """Step the optimiser, unless reward or gradient is no finite number; gives the norm before it is clipped."""
        self._add_up_gradients()
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.scaler.unscale_(self.optimizer)
        total_norm = torch.nn.utils.get_total_norm([p.grad for p in self.parameters if p.grad is not None])
        norm = float(total_norm)
        is_good = math.isfinite(attenuated_reward) and math.isfinite(norm)
        if is_good and self.settings.max_grad_norm:
            torch.nn.utils.clip_grads_with_norm_(self.parameters, self.settings.max_grad_norm, total_norm)
        if is_good:
            self.scaler.step(self.optimizer)
        self._count_skipped(is_good, is_overflow=math.isfinite(attenuated_reward) and self.scaler.get_scale() > 1)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        return norm

    def _add_up_gradients(self) -> None:
        """Give every process the sum of all processes' gradients; a process without a clip adds nothing."""
        if self.accelerator.num_processes == 1:
            return
        own = [torch.zeros_like(p) if p.grad is None else p.grad for p in self.parameters]
        summed = self.accelerator.reduce(torch.cat([gradient.flatten() for gradient in own]), "sum")
        parts = summed.split([p.numel() for p in self.parameters])
        for parameter, part in zip(self.parameters, parts, strict=True):
            parameter.grad = part.view_as(parameter)

    def _count_skipped(self, is_good: bool, is_overflow: bool) -> None:
        """Count steps that were left out; one that only overflowed, at a scale that can be halved, is none to stop for.

        Without float16 there is no scale (it is 1).
        """
        self.num_skipped += not is_good
        self.num_bad_in_row = 0 if is_good else self.num_bad_in_row + (not (self.scaler.is_enabled() and is_overflow))

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """What goes on from step to step beside the adapter: the optimiser's tensors by name, and the counters."""
        tensors = {
            f"{name}:{key}": value
            for name, parameter in self.named_parameters.items()
            for key, value in self.optimizer.state.get(parameter, {}).items()
        }
        counters = {"num_skipped": self.num_skipped, "num_bad_in_row": self.num_bad_in_row}
        return tensors, {**counters, "scaler": self.scaler.state_dict()}

    def restore(self, tensors: Mapping[str, Tensor], counters: Mapping[str, Any]) -> None:
        """Go on from what `state` gave.

        Args:
            tensors: the optimiser's, by the name of the parameter and of the state.
            counters: steps that were left out, and the scale of the loss.

        Raises:
            ValueError: the tensors belong to another adapter.
        """
        states: dict[int, dict[str, Tensor]] = {}
        indices = {name: index for index, name in enumerate(self.named_parameters)}
        for place, value in tensors.items():
            name, _, key = place.rpartition(":")
            if name not in indices or (value.ndim and value.shape != self.named_parameters[name].shape):
                raise ValueError(f"no parameter of the shape {tuple(value.shape)} is called {name}")
            states.setdefault(indices[name], {})[key] = value
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": states})
        self.num_skipped, self.num_bad_in_row = counters["num_skipped"], counters["num_bad_in_row"]
        if self.scaler.is_enabled():
            self.scaler.load_state_dict(counters["scaler"])

    def evaluate(
        self, samples: Sequence[Sample], scores: dict[str, Score] | None = None, cut: CutGraph | None = None
    ) -> Objective:
        """The objective of some samples: their clips, corrupted, edited and scored.

        Args:
            samples: which clips, and their draws; all of one optimiser step.
            scores: gets every reward's scores by name, means where samples are scored several times.
            cut: where the graph is cut, so that it is differentiated in two parts.
        """
        settings, model = self.settings, self.model
        rows = [draw_caption(sample, self.places[sample.item], settings.seed) for sample in samples]
        latents = None
        if self.clip_of is not None:
            latents = torch.stack([self.clip_of(sample.item) for sample in samples]).to(model.device, non_blocking=True)
        shape = latents_shape(model, generation_settings(settings)) if latents is None else tuple(latents.shape[1:])
        prompts = [self.prompts[row] for row in rows]
        scorer = BatchScorer(self.rewards, prompts, draw_frames(samples, settings), settings, model.device)
        objective = editing_objective(
            latents=latents,
            noise=draw_noise(samples, shape, settings).to(model.device, non_blocking=True),
            frame_indices=scorer.drawn,
            conditioning=self.conditioning.pick(rows),
            denoise=self.denoise,
            stepper=self.stepper,
            decode_frames=lambda clean_latents, _: self.decode_frames(
                cut.before_decoding(clean_latents) if cut else clean_latents, scorer.indices
            ),
            score_frames=self.timer.watch(scorer.score_frames, REWARD, before=DECODING),
            num_frames=settings.num_frames,
            strength=settings.strength,
            attenuation_rate=settings.attenuation_rate,
            run=choose_run(samples, shape, settings, model.device),
        )
        means = scorer.means()
        if scores is not None:
            scores |= means
        return add_whole_clips(objective, means[self.rewards.name].clip)
