"""What a fine-tuning run is worked on with: model, judges, prompts and processes, loaded before anything is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from accelerate import Accelerator

from ivideo.config.settings import FinetuneSettings
from ivideo.errors import IvideoError, UsageError
from ivideo.io.clip_lists import ListedClip
from ivideo.models.authors_weights import find_lora_rank
from ivideo.models.judges import Judge, load_judges
from ivideo.models.registry import choose_device
from ivideo.models.text_to_video import TextToVideoModel
from ivideo.workflows.finetuning.heldout import Evaluation, evaluate_heldout
from ivideo.workflows.finetuning.real_clips import RealClips
from ivideo.workflows.generation import open_model, warn_of_prompts
from ivideo.workflows.progress import Progress, Silence
from ivideo.workflows.resolve import Adapter, adapter_of_unet, generation_settings


@dataclass(frozen=True)
class Workshop:
    """What a run is worked on with, fresh or gone on with.

    Attributes:
        settings: of the run.
        training: prompts that are trained on.
        kept: held-out prompts.
        start: the adapter that training starts from; None for a fresh one.
        model: with `start`, if there is one.
        judge: every judge that looks.
        processes: those that work together; only the main one writes the run's folder, but for base clips.
        progress: is told what happens.
    """

    settings: FinetuneSettings
    training: list[str]
    kept: list[str]
    start: Adapter | None
    model: TextToVideoModel
    judge: Judge
    processes: Accelerator
    progress: Progress

    def evaluate(self, step: int, *, watched_only: bool = True, known: Evaluation | None = None) -> Evaluation:
        """The held-out prompts with the adapter as it stands, after that many steps."""
        return evaluate_heldout(
            *(self.model, self.judge, self.kept, self.settings, self.progress, step),
            watched_only=watched_only,
            known=known,
        )


def open_workshop(
    settings: FinetuneSettings,
    training: Sequence[str],
    kept: Sequence[str],
    processes: Accelerator,
    progress: Progress | None,
) -> Workshop:
    """Load judge and model, and encode every prompt.

    Raises:
        IvideoError: one cannot be loaded, or the judge gives no gradients.
    """
    told = progress if progress and processes.is_main_process else Silence()
    start = find_start(settings)
    judge = load_trainable_judge(settings)
    model = open_model(generation_settings(settings), start)
    warn_of_prompts(model, [*training, *kept], told)
    model.encode_once([*training, *kept], settings.negative_prompt)
    return Workshop(settings, list(training), list(kept), start, model, judge, processes, told)


def prepare_real_clips(shop: Workshop, listed: Sequence[ListedClip]) -> RealClips:
    """Encode the clips that are trained on, the main process before the others, which then find them in the cache.

    Raises:
        IvideoError: too many cannot be used.
    """
    real = RealClips(shop.model, listed, shop.training, shop.settings)
    with shop.processes.main_process_first():
        real.prepare(shop.progress)
    return real


def find_start(settings: FinetuneSettings) -> Adapter | None:
    """The adapter that training starts from; None for a fresh one.

    Raises:
        UsageError: it has another rank or scale than the settings ask for, or the U-Net file is not there.
        IvideoError: the U-Net file is no checkpoint of the authors.
    """
    start = adapter_of_unet(settings)
    if start is None:
        return None
    rank = find_lora_rank(start.path)
    if (settings.lora_rank, settings.lora_alpha) != (rank, rank):
        asked = f"lora_rank {settings.lora_rank}, lora_alpha {settings.lora_alpha:g}"
        raise UsageError(f"{asked}: training goes on from the LoRA in {start.path}; it has rank {rank}, alpha {rank}")
    return start


def load_trainable_judge(settings: FinetuneSettings) -> Judge:
    """The settings' judges; the first reward is trained on, further ones only see the held-out prompts.

    Raises:
        IvideoError: the first gives no gradients, or one cannot be loaded.
    """
    judge = load_judges(settings.rewards, choose_device(settings.device))
    if not judge.is_differentiable:
        raise IvideoError(f"reward {judge.name} gives no gradients and cannot be trained on")
    return judge
