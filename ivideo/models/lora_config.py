"""What an adapter's configuration can say: PEFT takes it as it is, and fails over it, or fills memory, elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from ivideo.files.reading import Unreadable, check_as

MAX_RANK = 2**14  # a wider adapter is larger than the layer that it adapts
Rank = Annotated[int, Field(ge=1, le=MAX_RANK)]


class _Config(BaseModel):
    """The fields that decide an adapter's shapes and strength; others may stand beside them."""

    model_config = ConfigDict(extra="allow", allow_inf_nan=False)
    r: Rank = 8
    lora_alpha: float = 8
    lora_dropout: float = Field(0, ge=0, le=1)
    target_modules: list[str] | str | None = None
    rank_pattern: dict[str, Rank] | None = None
    alpha_pattern: dict[str, float] | None = None
    use_rslora: bool = False
    use_dora: bool = False


def check_lora_config(fields: Mapping[str, Any], weights: Mapping[str, Tensor], name: str) -> None:
    """Hold a configuration against what can be, and its rank against the weights beside it.

    Args:
        fields: of PEFT's `LoraConfig`.
        weights: in PEFT's names.
        name: of the configuration, for errors.

    Raises:
        Unreadable: a value that cannot be, or another rank.
    """
    config = check_as(_Config, fields, name, "says what cannot be")
    ranks = {weight.shape[0] for one, weight in weights.items() if ".lora_A." in one and weight.ndim}
    if not config.rank_pattern and ranks and ranks != {config.r}:
        raise Unreadable(f"{name} says the rank {config.r}, but the weights have {max(ranks)}")
