"""How rewards are asked for: `JUDGE`, or `JUDGE=WEIGHT,JUDGE=WEIGHT` for their weighted sum."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ivideo.errors import UsageError

# A part of a mix ends with its weight, so that a file's name may have commas and equals signs of its own.
PART = re.compile(r"(?P<judge>.+?)=(?P<weight>[^=,]*)(?:,|$)")


@dataclass(frozen=True)
class Reward:
    """A reward that was asked for.

    Attributes:
        name: as it was asked for; key of its scores.
        weights: of each judge's score in their sum; None for a judge by itself.
    """

    name: str
    weights: Mapping[str, float] | None = None

    @property
    def judges(self) -> tuple[str, ...]:
        """The names of its judges."""
        return (self.name,) if self.weights is None else tuple(self.weights)


def parse_rewards(texts: Sequence[str]) -> list[Reward]:
    """The rewards that were asked for; the first one is the one that is trained on and counts.

    Raises:
        UsageError: see `parse_reward`; or the same one twice.
    """
    rewards = [parse_reward(text) for text in texts]
    names = [reward.name for reward in rewards]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"--reward {name} was given twice")
    return rewards


def parse_reward(text: str) -> Reward:
    """A judge's name, or a weighted sum: `hpsv2=1,pickscore=0.5`.

    Raises:
        UsageError: an empty name, a judge without a weight, a weight that is no positive number, or a judge twice.
    """
    text = text.strip()
    parts = [(match["judge"].strip(), match["weight"].strip()) for match in PART.finditer(text)]
    is_mix = bool(parts) and (len(parts) > 1 or is_number(parts[0][1]))
    if not text:
        raise UsageError("--reward is empty: name a judge")
    if not is_mix:
        return Reward(text)
    if PART.sub("", text):
        raise UsageError(f"--reward {text}: every judge of a sum needs a weight, as in hpsv2=1,pickscore=0.5")
    weights: dict[str, float] = {}
    for judge, weight in parts:
        if judge in weights:
            raise UsageError(f"--reward {text}: {judge} stands there twice")
        weights[judge] = parse_weight(text, judge, weight)
    return Reward(text, weights)


def parse_weight(text: str, judge: str, weight: str) -> float:
    """The weight of a judge in a sum.

    Raises:
        UsageError: it is no positive number.
    """
    if not is_number(weight):
        raise UsageError(f"--reward {text}: the weight {weight!r} of {judge} is no number (a file is {judge}:FILE)")
    value = float(weight)
    if not (math.isfinite(value) and value > 0):
        raise UsageError(
            f"--reward {text}: the weight {weight} of {judge} must be a positive number; "
            "to lower a score, negate it in a function of your own (FILE.py:function)"
        )
    return value


def is_number(text: str) -> bool:
    """Whether Python reads it as a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True
