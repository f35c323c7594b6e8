"""What a run's logs and summary must say for ivideo to read them: a damaged or foreign one is named in one line."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from ivideo.errors import IvideoError
from ivideo.files.reading import parse_as, parse_json, read_text
from ivideo.files.records import read_json_lines
from ivideo.files.run_folder import RunFolder


class _Said(BaseModel):
    """Fields that are read; others may stand beside them."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)


class _Numbers(_Said):
    """A number by name, of the held-out reward, the motion and whatever else was measured."""

    __pydantic_extra__: dict[str, float] = Field(init=False)
    reward: float
    motion: float


class _MetricsLine(_Said):
    step: int = Field(ge=1)
    reward: float | None
    attenuated_reward: float | None


class _EvaluationLine(_Said):
    step: int = Field(ge=0)
    values: _Numbers
    by_prompt: dict[str, list[float]]

    @model_validator(mode="after")
    def _names_agree(self) -> Self:
        if self.values.model_dump().keys() != self.by_prompt.keys():
            raise ValueError("values and by_prompt have other names")
        return self


class _Change(_Said):
    n: int
    mean_a: float
    mean_b: float
    difference: float
    ci_low: float | None
    ci_high: float | None


class _Profile(_Said):
    seconds: dict[str, float]
    shares: dict[str, float]
    outside_networks: float


class _End(_Said):
    num_steps: int
    stop_reason: str | None = None


class _Summary(_End):
    run: str
    model: str
    reward: str
    reward_label: str
    judges: dict[str, str]
    chosen_step: int
    evaluations: list[_Said]
    heldout: dict[str, _Change]
    heldout_rewards: dict[str, _Change]
    profile: _Profile | None
    adapter: str
    curve: str
    videos: list[str]
    seconds: float


def read_metrics(run: RunFolder) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl, up to the first that is cut off.

    Raises:
        IvideoError: it cannot be read, or a line lacks a step or a reward.
    """
    return read_json_lines(run.metrics, _MetricsLine)


def read_evaluations(run: RunFolder) -> list[dict[str, Any]]:
    """The lines of evaluations.jsonl, up to the first that is cut off.

    Raises:
        IvideoError: it cannot be read, or a line lacks a step or its values.
    """
    return read_json_lines(run.evaluations, _EvaluationLine)


def read_summary(run: RunFolder, *, only_end: bool = False) -> dict[str, Any]:
    """What summary.json says.

    Args:
        run: whose.
        only_end: whether it need only say how the run ended.

    Raises:
        IvideoError: it cannot be read, or lacks something.
    """
    try:
        text = read_text(run.summary)
        parse_as(_End if only_end else _Summary, text, run.summary)
    except IvideoError as error:
        raise IvideoError(f"{error}; remove it to have the run's end done again") from None
    found: dict[str, Any] = parse_json(text, run.summary)
    return found
