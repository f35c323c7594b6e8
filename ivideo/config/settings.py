"""The settings of each command, validated by pydantic: unknown names and impossible values are errors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

DtypeName = Literal["auto", "float32", "bfloat16", "float16"]


TrackerName = Literal["tensorboard", "wandb"]


ScheduleName = Literal["constant", "linear", "cosine"]


StartName = Literal["clip", "noise"]


GradientName = Literal["last", "random", "drtune", "draft-lv"]


FrameDrawName = Literal["random", "first"]


OWN_UNET = "none"  # as `unet`: the model's own
FAMILY_SETTINGS = ("unet",)  # what only models of one family have: foreign files with a network's weights
OWN_WEIGHTS = dict.fromkeys(FAMILY_SETTINGS, OWN_UNET)  # these settings of a model that is taken as it is


class Settings(BaseModel):
    """What every command shares."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    model: str = Field(min_length=1, description="name, local diffusers folder, or hub id")
    reward: str | tuple[str, ...] = Field(description="judge, or weighted sum; of several the first is trained on")
    seed: int = Field(0, ge=0, lt=2**63, description="fixes every draw")
    device: str = Field("auto", description="auto, cpu, cuda, cuda:1, ...")
    dtype: DtypeName = Field("auto", description="type of the U-Net")
    num_segments: int = Field(4, ge=1, description="segments of a clip; one frame of each is scored")
    attenuation_rate: float | None = Field(1.0, ge=0, description="lambda of TAR, per frame; none: no attenuation")

    @field_validator("reward", mode="before")
    @classmethod
    def _one_or_several(cls, value: object) -> object:
        several = list(value) if isinstance(value, list | tuple) else [value]
        if not several or not all(isinstance(one, str) and one.strip() for one in several):
            raise ValueError("name a judge, or several in a list")
        return several[0] if len(several) == 1 else tuple(several)

    @property
    def rewards(self) -> tuple[str, ...]:
        """The rewards that are shown; the first one is the one that is trained on."""
        return (self.reward,) if isinstance(self.reward, str) else self.reward


class ScoreSettings(Settings):
    """How ready videos are scored."""

    batch_size: int = Field(16, ge=1, description="frames that the judge looks at in one forward")
    temporal: bool = Field(True, description="whether to read every frame, for motion and the curve of the reward")
    max_curve_frames: int = Field(64, ge=1, description="the most frames of a clip that the judge looks at")


class GenerationSettings(Settings):
    """How clips are generated; frames, size, steps and guidance default by model."""

    unet: str | None = Field(None, min_length=1, description="authors' file with the U-Net; none: the model's own")
    num_frames: int = Field(ge=1, description="frames a clip")
    height: int | None = Field(None, ge=8, multiple_of=8, description="pixels; none: the model's own")
    width: int | None = Field(None, ge=8, multiple_of=8, description="pixels; none: the model's own")
    fps: float = Field(gt=0, le=240, description="frames a second")
    num_inference_steps: int = Field(ge=1, le=1000, description="DDIM steps of the full chain (D)")
    guidance_scale: float = Field(ge=0, description="classifier-free guidance; 1: none")
    negative_prompt: str = Field("", description="what the clip should not show")
    guidance_batching: bool = Field(True, description="both branches of the guidance in one forward, or in two")

    @field_validator("unet")
    @classmethod
    def _find_from_everywhere(cls, unet: str | None) -> str | None:
        """A whole path: runs and adapters that name the file are used from other folders."""
        return None if unet is None or unet.lower() == OWN_UNET else str(Path(unet).expanduser().absolute())

    @property
    def weights_file(self) -> str | None:
        """The foreign file that the network's weights come from; None for the model's own."""
        return self.unet

    @model_validator(mode="after")
    def _segments_fit(self) -> Self:
        if self.num_segments > self.num_frames:
            raise ValueError(f"num_segments {self.num_segments} is more than num_frames {self.num_frames}")
        return self


class FinetuneSettings(GenerationSettings):
    """Every quantity of the method (paper symbols in the descriptions).

    `num_inference_steps` and `guidance_scale` are those of the edit that is trained through; the clips before and after
    are generated at `generation_num_inference_steps` and `generation_guidance_scale`. The clips that are edited come
    from a full chain of `num_inference_steps` at `generation_guidance_scale`.
    """

    generation_num_inference_steps: int = Field(ge=1, le=1000, description="DDIM steps of full generations")
    generation_guidance_scale: float = Field(ge=0, description="guidance of full generations")
    start: StartName = Field("clip", description="what chains start from: a clip that is noised, or pure noise (DRaFT)")
    strength: float = Field(gt=0, le=1, description="share of the chain that is run from a clip (tau)")
    gradient: GradientName = Field(
        "last",
        description="last: through the last K steps; random: one of them, drawn (ReFL); drtune: K spread over the "
        "chain, never through the network's input; draft-lv: the last step, on K copies noised anew",
    )
    num_grad_steps: int = Field(ge=1, description="steps that gradients flow through, or copies noised anew (K)")
    frame_draw: FrameDrawName = Field("random", description="which frame of a segment is trained on")
    offset_noise: float = Field(ge=0, description="weight of the noise shared by the pixels of a frame")
    lora_rank: int = Field(ge=1, description="inner width of the adapter")
    lora_alpha: float = Field(gt=0, description="the adapter is scaled by alpha / rank")
    learning_rate: float = Field(gt=0, description="of AdamW")
    num_warmup_steps: int = Field(ge=0, description="steps of linear learning-rate warm-up")
    lr_schedule: ScheduleName = Field(description="after the warm-up: constant, or linear or cosine down to zero")
    max_grad_norm: float = Field(0.0, ge=0, description="longer gradients are shortened to this norm; 0: none are")
    batch_size: int = Field(ge=1, description="clips a step, over all processes")
    gradient_accumulation: int = Field(ge=1, description="parts that a batch goes through the network in")
    gradient_checkpointing: bool = Field(True, description="recompute blocks in the backward pass, to save memory")
    max_steps: int = Field(ge=1, description="optimiser steps")
    max_bad_steps: int = Field(5, ge=1, description="steps in a row without a finite loss and gradient that end it")
    save_every: int = Field(50, ge=1, description="steps between checkpoints")
    keep_checkpoints: int = Field(2, ge=1, description="newest checkpoints that are kept, beside the best")
    num_eval_prompts: int = Field(24, ge=1, description="held-out prompts of the before / after")
    evaluate: bool = Field(True, description="whether to score held-out prompts before, between and after")
    eval_every: int = Field(250, ge=0, description="steps between evaluations of held-out prompts; 0: none between")
    num_watched_prompts: int = Field(12, ge=1, description="held-out prompts that are generated between")
    patience: int = Field(8, ge=0, description="evaluations without a new best reward that end the run; 0: never")
    min_motion: float = Field(0.85, ge=0, le=1, description="share of the base's motion to be kept; 0: any")
    min_judge: float = Field(0.95, ge=0, le=1, description="share of the base's second judge to be kept; 0: any")
    compile: bool = Field(False, description="torch.compile for the U-Net")
    profile: bool = Field(False, description="whether to measure where the time goes")
    tracker: TrackerName | None = Field(None, description="where metrics go beside the run folder")

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


def generation_defaults(finetune_values: Mapping[str, Any]) -> dict[str, Any]:
    """The part of fine-tuning settings that full generations share, at the steps and guidance of full generations."""
    values = {key: value for key, value in finetune_values.items() if key in GenerationSettings.model_fields}
    for name in ("num_inference_steps", "guidance_scale"):
        values[name] = finetune_values[f"generation_{name}"]
    return values


def generation_settings(settings: FinetuneSettings) -> GenerationSettings:
    """How a fine-tuning run generates its clips."""
    return GenerationSettings(**generation_defaults(settings.model_dump()))
