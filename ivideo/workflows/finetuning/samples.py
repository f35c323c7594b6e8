"""Which clips a step trains on: the run's samples, numbered through over batches, epochs and processes."""

from __future__ import annotations

from dataclasses import dataclass

from ivideo.core.draws import item_at


@dataclass(frozen=True)
class Sample:
    """One clip of a step: which prompt, and the key of its draws.

    Attributes:
        item: index of the prompt.
        epoch: how often the list was gone through before.
        position: index of the sample in the whole run; draws depend on it, so they do not depend on the batch size.
    """

    item: int
    epoch: int
    position: int


def samples_of_step(step: int, batch_size: int, num_items: int, seed: int) -> list[Sample]:
    """The samples of an optimiser step, over all processes."""
    positions = range(step * batch_size, (step + 1) * batch_size)
    return [Sample(item_at(p, num_items, seed), p // num_items, p) for p in positions]
