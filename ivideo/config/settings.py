"""The settings of each command, made of parts and validated by pydantic: those of training, and the whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, model_validator

from ivideo.config.fields import Resume, clips, guard, method, resuming, setting
from ivideo.config.parts import FamilyPart, GenerationPart, ModelPart, Part, RewardPart, ScoringPart
from ivideo.config.presets import PRESETS

TrackerName = Literal["tensorboard", "wandb"]
ScheduleName = Literal["constant", "linear", "cosine"]
StartName = Literal["clip", "noise"]
GradientName = Literal["last", "random", "drtune", "draft-lv"]
FrameDrawName = Literal["random", "first"]


def exact_or_number(value: object) -> object:
    """None for the word that leaves the gradient whole."""
    return None if str(value).lower() in ("exact", "none") else value


class EditingPart(Part):
    """The chain that training goes through, and where the gradient flows in it."""

    num_inference_steps: int = method(
        ge=1, le=1000, help="D: steps of the chain that is edited through.", unit="steps", resume=Resume.CLIPS
    )
    guidance_scale: float = method(ge=0, help="Guidance of the edit that is trained through.")
    generation_num_inference_steps: int = clips(ge=1, le=1000, help="Steps of full generations.", unit="steps")
    generation_guidance_scale: float = clips(ge=0, help="Guidance of full generations.", resume=Resume.CLIPS)
    start: StartName = method(
        "clip",
        help="clip: edit clips; noise: run the whole chain from pure noise (DRaFT), without clips, `strength` and "
        "`offset_noise`.",
    )
    strength: float = method(gt=0, le=1, help="tau: share of the chain that is run from a clip.")
    gradient: GradientName = method(
        "last",
        help="Where it flows. last: through the last K steps; random: one of the last K, drawn each step, whose guess "
        "of the clean clip is scored (ReFL); drtune: K steps spread over the chain, never through the network's input "
        "(DRTune); draft-lv: the last step, on K copies noised anew (DRaFT-LV).",
    )
    num_grad_steps: int = method(
        ge=1,
        help="K: steps that the gradient flows through; random draws one of them; draft-lv: copies noised anew.",
        unit="steps",
    )
    frame_draw: FrameDrawName = method("random", help="Train on a random frame of each segment, or on its first.")
    decoder_gradient: Annotated[int | None, BeforeValidator(exact_or_number, json_schema_input_type=int | str)] = (
        method(
            None,
            ge=1,
            help="exact, or through so many of the latents that a frame needs, the latest: less memory, the same "
            "frames. Wan only.",
            metavar="exact|N",
        )
    )
    offset_noise: float = method(ge=0, help="Weight of the noise that a frame's pixels share.")

    @property
    def num_chain_steps(self) -> int:
        """Steps of the chain that is trained through: all from noise, the last `strength` of them from a clip."""
        if self.start == "noise":
            return self.num_inference_steps
        return max(1, int(self.strength * self.num_inference_steps + 0.5))

    @model_validator(mode="after")
    def _gradient_steps_fit(self) -> Self:
        steps = self.num_chain_steps
        if self.gradient != "draft-lv" and self.num_grad_steps > steps:
            share = f"strength {self.strength} of {self.num_inference_steps} runs"
            runs = "a chain from noise has" if self.start == "noise" else share
            raise ValueError(f"num_grad_steps {self.num_grad_steps} is more than the {steps} steps that {runs}")
        return self


class OptimiserPart(Part):
    """The adapter, and how its weights are changed."""

    lora_rank: int = method(ge=1, help="Inner width of the adapter.")
    lora_alpha: float = method(gt=0, help="The adapter is scaled by alpha / rank.")
    learning_rate: float = method(gt=0, help="Of AdamW.")
    num_warmup_steps: int = method(ge=0, help="Linear learning-rate warm-up.", unit="steps")
    lr_schedule: ScheduleName = method(
        help="Learning rate after the warm-up: constant, or linear or cosine down to zero."
    )
    max_grad_norm: float = method(0.0, ge=0, help="Longer gradients are shortened to this norm; 0: none are.")
    batch_size: int = method(ge=1, help="Clips a step, over all processes.", unit="clips")
    gradient_accumulation: int = method(
        ge=1, help="Parts that a batch goes through the network in.", unit="parts", resume=Resume.FREE
    )
    gradient_checkpointing: bool = method(
        True,
        help="Recompute blocks of network and decoder in the backward pass: less memory, more time.",
        resume=Resume.FREE,
    )
    max_steps: int = setting(ge=1, help="Optimiser steps.", unit="steps", resume=Resume.LONGER)


class GuardPart(Part):
    """What is looked at on held-out prompts, and when that ends the training."""

    evaluate: bool = setting(True, help="Score held-out clips before, between and after.", flags=(" /--no-eval",))
    num_eval_prompts: int = setting(24, ge=1, help="Held-out prompts at most.", unit="prompts")
    eval_every: int = guard(250, ge=0, help="Steps between evaluations of held-out prompts; 0: none.", unit="steps")
    num_watched_prompts: int = guard(12, ge=1, help="Held-out prompts that are generated then.", unit="prompts")
    patience: int = guard(
        8, ge=0, help="Stop after so many evaluations without a new best held-out reward; 0: never.", unit="evaluations"
    )
    min_motion: float = guard(0.85, ge=0, le=1, help="Stop below this share of the base's motion; 0: never.")
    min_judge: float = guard(
        0.95,
        ge=0,
        le=1,
        help="Stop where a reward that is not trained on falls below this share of the base's and by more than chance; "
        "0: never.",
    )


class RunPart(Part):
    """How a run is kept and watched; nothing of it changes the result."""

    save_every: int = resuming(50, ge=1, help="Steps between checkpoints.", unit="steps", resume=Resume.FREE)
    keep_checkpoints: int = resuming(
        2,
        ge=1,
        help="Newest checkpoints that are kept, beside the start and the best.",
        unit="checkpoints",
        resume=Resume.FREE,
    )
    max_bad_steps: int = resuming(
        5,
        ge=1,
        help="End after so many steps in a row without a finite loss and gradient; each is left out.",
        unit="steps",
        resume=Resume.FREE,
    )
    compile: bool = setting(False, help="torch.compile for the network.", resume=Resume.FREE)
    profile: bool = setting(False, help="Tell where the time of the training went.", resume=Resume.FREE)
    tracker: TrackerName | None = setting(
        None, help="Send the metrics there, too; its package must be installed.", resume=Resume.FREE
    )


class Settings(RewardPart, ModelPart):
    """What every command shares."""


class ScoreSettings(ScoringPart, Settings):
    """How ready videos are scored."""


class GenerationSettings(GenerationPart, FamilyPart, Settings):
    """How clips are generated."""

    @model_validator(mode="after")
    def _segments_fit(self) -> Self:
        if self.num_segments > self.num_frames:
            raise ValueError(f"num_segments {self.num_segments} is more than num_frames {self.num_frames}")
        return self


class FinetuneSettings(RunPart, GuardPart, OptimiserPart, EditingPart, GenerationSettings):
    """Every quantity of the method.

    `num_inference_steps` and `guidance_scale` are those of the edit that is trained through; the clips before and after
    are generated at `generation_num_inference_steps` and `generation_guidance_scale`. The clips that are edited come
    from a full chain of `num_inference_steps` at `generation_guidance_scale`.
    """


def is_by_model(kind: type[Settings], name: str) -> bool:
    """Whether a setting's default is the model's and its preset's (see `preset_for`), not the field's own."""
    takes_it = issubclass(kind, FinetuneSettings) or name in GenerationSettings.model_fields
    return takes_it and any(name in preset for named in PRESETS.values() for preset in named.values())


def generation_defaults(finetune_values: Mapping[str, Any]) -> dict[str, Any]:
    """The part of fine-tuning settings that full generations share, at the steps and guidance of full generations."""
    values = {key: value for key, value in finetune_values.items() if key in GenerationSettings.model_fields}
    for name in ("num_inference_steps", "guidance_scale"):
        values[name] = finetune_values[f"generation_{name}"]
    return values


def generation_settings(settings: FinetuneSettings) -> GenerationSettings:
    """How a fine-tuning run generates its clips."""
    return GenerationSettings(**generation_defaults(settings.model_dump()))
