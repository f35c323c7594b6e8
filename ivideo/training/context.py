"""What a run is worked on with: model, reward models, prompts and processes, loaded before anything is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from accelerate import Accelerator

from ivideo.config.settings import FinetuneSettings, generation_settings
from ivideo.errors import IvideoError, UsageError
from ivideo.generating import introduce, latents_shape, open_model, tell_of_negatives
from ivideo.inputs.adapters import Adapter, adapter_of_weights_file
from ivideo.inputs.prompts import negative_of, own_of
from ivideo.models.contract import TextToVideoModel
from ivideo.models.devices import choose_device
from ivideo.models.families import check_trainable, find_lora_rank
from ivideo.progress import Progress, Silence
from ivideo.rewards.mixture import Rewards
from ivideo.rewards.registry import load_rewards
from ivideo.training.heldout import Evaluation, evaluate_heldout


@dataclass(frozen=True)
class RunContext:
    """What a run is worked on with, fresh or gone on with.

    Attributes:
        settings: of the run.
        training: prompts that are trained on.
        kept: held-out prompts.
        start: the adapter that training starts from; None for a fresh one.
        model: with `start`, if there is one.
        rewards: every reward that clips are scored by; the first is trained on.
        processes: those that work together; only the main one writes the run's folder, but for base clips.
        progress: is told what happens.
    """

    settings: FinetuneSettings
    training: list[str]
    kept: list[str]
    start: Adapter | None
    model: TextToVideoModel
    rewards: Rewards
    processes: Accelerator
    progress: Progress

    def evaluate(self, step: int, *, watched_only: bool = True, known: Evaluation | None = None) -> Evaluation:
        """The held-out prompts with the adapter as it stands, after that many steps; see `evaluate_heldout`."""
        return evaluate_heldout(
            *(self.model, self.rewards, self.kept, self.settings, self.progress, step),
            watched_only=watched_only,
            known=known,
        )


def open_context(
    settings: FinetuneSettings,
    training: Sequence[str],
    kept: Sequence[str],
    processes: Accelerator,
    progress: Progress | None,
) -> RunContext:
    """Load reward models and model, and encode every prompt.

    Args:
        settings: of the run.
        training: prompts that are trained on.
        kept: held-out prompts.
        processes: those that work together.
        progress: is told what happens, by the main process only; None: nobody.

    Raises:
        IvideoError: one cannot be loaded, or the reward gives no gradients.
    """
    told = progress if progress and processes.is_main_process else Silence()
    check_trainable(settings.model)
    start = find_start(settings)
    rewards = load_rewards(settings.rewards, choose_device(settings.device))
    if not rewards.is_differentiable:
        raise IvideoError(f"reward {rewards.name} gives no gradients and cannot be trained on")
    with processes.main_process_first():  # the others find its prompts encoded
        model = open_model(generation_settings(settings), start, [*training, *kept])
    assert isinstance(model, TextToVideoModel)
    model.stepper(settings.num_inference_steps, latents_shape(model, generation_settings(settings)))
    introduce(model, [*training, *kept], told)
    if settings.start == "noise" and any("seed" in own_of(prompt) for prompt in training):
        told.say("`start` noise makes no clips: seeds of prompts count for held-out ones alone")
    tell_of_negatives(model, training, settings, told)
    tell_of_negatives(model, kept, generation_settings(settings), told)
    for remark in model.find_remarks():
        told.say(remark)
    prompts = [*training, *kept]
    model.encode_once(prompts, [negative_of(prompt, settings.negative_prompt) for prompt in prompts])
    return RunContext(settings, list(training), list(kept), start, model, rewards, processes, told)


def find_start(settings: FinetuneSettings) -> Adapter | None:
    """The adapter that training starts from; None for a fresh one.

    Raises:
        UsageError: it has another rank or scale than the settings ask for, or the file of weights is not there.
        IvideoError: no family knows the file of weights.
    """
    start = adapter_of_weights_file(settings)
    if start is None:
        return None
    rank = find_lora_rank(start.path)
    if (settings.lora_rank, settings.lora_alpha) != (rank, rank):
        asked = f"lora_rank {settings.lora_rank}, lora_alpha {settings.lora_alpha:g}"
        raise UsageError(f"{asked}: training goes on from the LoRA in {start.path}; it has rank {rank}, alpha {rank}")
    return start
