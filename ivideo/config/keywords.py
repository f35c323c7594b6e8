"""Settings as typed keywords; None is "not given". `python -m examples.write_settings` writes this."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypedDict


class Keywords(TypedDict, total=False):
    """Keywords of `Settings`."""

    model: str | None
    seed: int | None
    device: str | None
    dtype: Literal["auto", "float32", "bfloat16", "float16"] | None
    reward: str | Sequence[str] | None
    num_segments: int | None
    attenuation_rate: float | str | None


class GenerationKeywords(Keywords, total=False):
    """Keywords of `GenerationSettings`."""

    unet: str | None
    variant: str | None
    expert: Literal["high", "low", "both"] | None
    vae_tiling: bool | None
    num_frames: int | None
    height: int | None
    width: int | None
    fps: float | None
    num_inference_steps: int | None
    guidance_scale: float | None
    negative_prompt: str | None
    call_arguments: str | Sequence[str] | None
    guidance_batching: bool | None


class FinetuneKeywords(GenerationKeywords, total=False):
    """Keywords of `FinetuneSettings`."""

    generation_num_inference_steps: int | None
    generation_guidance_scale: float | None
    start: Literal["clip", "noise"] | None
    strength: float | None
    gradient: Literal["last", "random", "drtune", "draft-lv"] | None
    num_grad_steps: int | None
    frame_draw: Literal["random", "first"] | None
    decoder_gradient: int | str | None
    offset_noise: float | None
    lora_rank: int | None
    lora_alpha: float | None
    learning_rate: float | None
    num_warmup_steps: int | None
    lr_schedule: Literal["constant", "linear", "cosine"] | None
    max_grad_norm: float | None
    batch_size: int | None
    gradient_accumulation: int | None
    gradient_checkpointing: bool | None
    max_steps: int | None
    evaluate: bool | None
    num_eval_prompts: int | None
    eval_every: int | None
    num_watched_prompts: int | None
    patience: int | None
    min_motion: float | None
    min_judge: float | None
    save_every: int | None
    keep_checkpoints: int | None
    max_bad_steps: int | None
    compile: bool | None
    profile: bool | None
    tracker: Literal["tensorboard", "wandb"] | None


class ScoreKeywords(Keywords, total=False):
    """Keywords of `ScoreSettings`."""

    batch_size: int | None
    temporal: bool | None
    max_curve_frames: int | None
    background: str | None
