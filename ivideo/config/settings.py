"""The settings of each command, made of parts and validated by pydantic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from pydantic import model_validator

from ivideo.config.family import FamilyPart
from ivideo.config.parts import GenerationPart, ModelPart, RewardPart, ScoringPart
from ivideo.config.presets import PRESETS
from ivideo.config.training_parts import EditingPart, GuardPart, OptimiserPart, RunPart


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
