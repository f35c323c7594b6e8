"""Forwards that are run again in the backward pass instead of keeping what they computed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch.utils.checkpoint import checkpoint

again: Callable[..., Any] = partial(checkpoint, use_reentrant=False, preserve_rng_state=False)
"""`again(function, *inputs)` gives what the function gives, and keeps its inputs only; no function here is random."""


class Recomputed:
    """A module's forward that keeps only its inputs while a graph is built, and is the forward itself otherwise.

    Nothing here is random (dropout is off), so that no state of random generators is kept.
    """

    def __init__(self, forward: Callable[..., Any]) -> None:
        """Wrap a bound `forward`."""
        self.forward = forward

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the forward gives."""
        if not torch.is_grad_enabled():
            return self.forward(*args, **kwargs)
        return again(self.forward, *args, **kwargs)
