"""The parts of the check, each a question; the order is that of their worth."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from examples.gpu_check.check import Check


@dataclass(frozen=True)
class Part:
    """One part.

    Attributes:
        name: its module in this folder, whose `measure(check)` it is.
        title: heading of the page.
        share: of the time that is left when it starts, against the shares of the parts after it.
    """

    name: str
    title: str
    share: float

    def load(self) -> Callable[[Check], None]:
        """Its function."""
        measure: Callable[[Check], None] = import_module(f"examples.gpu_check.{self.name}").measure
        return measure


PARTS = (
    Part("numerics", "Is it right?", 70),
    Part("main_job", "The README's first command", 170),
    Part("step_cost", "A training step at the paper's size", 100),
    Part("families", "A training step of the video models of today", 150),
    Part("authors_step", "Beside the authors' way of doing the step", 40),
    Part("where_time_goes", "Where the time of a step goes", 100),
)
BY_NAME = {part.name: part for part in PARTS}
