"""Where a training's time goes (`profile`): seconds a phase, on every core."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

P = ParamSpec("P")
R = TypeVar("R")
WITHOUT_GRAPH, WITH_GRAPH = "network without graph", "network with graph"
DECODING, REWARD, OPTIMISER = "decoding", "reward", "optimiser"
EVALUATION, KEEPING, ELSE = "evaluation", "logging and saving", "everything else"
NETWORKS = (WITHOUT_GRAPH, WITH_GRAPH, DECODING, REWARD)
PHASES = (*NETWORKS, OPTIMISER, KEEPING, EVALUATION, ELSE)


class Untimed:
    """Times nothing and costs nothing."""

    def phase(self, name: str) -> AbstractContextManager[None]:
        """A block that belongs to a phase."""
        return nullcontext()

    def watch(self, function: Callable[P, R], name: str, before: str | None = None) -> Callable[P, R]:
        """A network as it is to be called."""
        return function

    def report(self) -> dict[str, Any] | None:
        """Nothing was timed."""
        return None


@dataclass
class Lane:
    """What one thread does, one thing at a time."""

    share: float
    clock: Callable[[], float]
    name: str | None = None
    since: float = 0.0
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))

    def switch(self, name: str | None) -> str | None:
        """Do something else from now on; gives what was done until now."""
        now, before = self.clock(), self.name
        if before is not None:
            self.seconds[before] += now - self.since
        self.name, self.since = name, now
        return before


def _leave(lane: Lane, before: str, gradient: Tensor) -> None:
    lane.switch(before)


class PhaseTimer(Untimed):
    """Adds up the seconds of each phase, of blocks inside others only once, from its making on.

    Where several clips are worked on at once, a second of one of the workers counts as its share of a second, so that
    all phases together are the time on the clock; a worker that waits for the others counts as everything else. A
    backward pass goes through reward model, decoder and network in one call: hooks on their inputs tell where it is.
    """

    def __init__(self, device: torch.device, num_workers: int) -> None:
        """Start the clock.

        Args:
            device: is waited for at every change of phase, if it is a GPU.
            num_workers: clips that are worked on at once.
        """
        self.device, self.num_workers = device, num_workers
        self._main = threading.get_ident()
        self._local = threading.local()
        self._lanes: list[Lane] = []
        self._started = self._clock()

    def _clock(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def _lane(self) -> Lane:
        if not hasattr(self._local, "lane"):
            share = 1.0 if threading.get_ident() == self._main else 1 / self.num_workers
            self._local.lane = Lane(share, self._clock)
            self._lanes.append(self._local.lane)
        lane: Lane = self._local.lane
        return lane

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count a block for a phase; what is around it goes on after it."""
        lane = self._lane()
        before = lane.switch(name)
        try:
            yield
        finally:
            lane.switch(before)

    def watch(self, function: Callable[P, R], name: str, before: str | None = None) -> Callable[P, R]:
        """Count calls for a phase; those of the denoising network that keep no graph have a phase of their own.

        Args:
            function: takes a tensor first.
            name: the phase of its calls.
            before: the phase that a backward pass is in once it has gone through this network.
        """

        def timed(*args: P.args, **kwargs: P.kwargs) -> R:
            lane, latents = self._lane(), args[0]
            if before is not None and isinstance(latents, Tensor) and latents.requires_grad:
                latents.register_hook(partial(_leave, lane, before))
            is_bare = name == WITH_GRAPH and not torch.is_grad_enabled()
            with self.phase(WITHOUT_GRAPH if is_bare else name):
                return function(*args, **kwargs)

        return timed

    def report(self) -> dict[str, Any]:
        """Seconds and shares of each phase so far, what a step spends outside the networks, and the peak of memory.

        `outside_networks` is the share of optimiser, logging, saving and all else in the time without evaluations;
        `peak_gpu_memory` the bytes that tensors took at most, of the process so far, or None where there is no GPU.
        """
        total = self._clock() - self._started
        seconds = {name: sum(lane.seconds[name] * lane.share for lane in self._lanes) for name in PHASES}
        seconds[ELSE] = total - sum(seconds.values())
        training = total - seconds[EVALUATION]
        networks = sum(seconds[name] for name in NETWORKS)
        return {
            "seconds": {name: round(value, 3) for name, value in seconds.items()},
            "shares": {name: round(value / total, 4) for name, value in seconds.items()},
            "outside_networks": round(1 - networks / training, 4),
            "peak_gpu_memory": torch.cuda.max_memory_allocated(self.device) if self.device.type == "cuda" else None,
        }
