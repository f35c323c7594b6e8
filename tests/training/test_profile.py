"""Seconds go to the phase that spent them, once."""

from __future__ import annotations

import threading

import pytest
import torch
from torch import Tensor

from ivideo.training import profile as phases
from ivideo.training.profile import (
    DECODING,
    ELSE,
    EVALUATION,
    KEEPING,
    OPTIMISER,
    PHASES,
    REWARD,
    WITH_GRAPH,
    WITHOUT_GRAPH,
    PhaseTimer,
    Untimed,
)


class Clock:
    """Time that goes on only when told to."""

    now = 0.0

    def perf_counter(self) -> float:
        return self.now

    def spend(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(phases, "time", clock)
    return clock


def make_timer(num_workers: int = 1) -> PhaseTimer:
    return PhaseTimer(torch.device("cpu"), num_workers)


def test_a_block_inside_another_one_counts_once(clock: Clock) -> None:
    timer = make_timer()
    clock.spend(1)
    with timer.phase(EVALUATION):
        clock.spend(10)
        with timer.phase(KEEPING):
            clock.spend(2)
        clock.spend(5)
    with timer.phase(OPTIMISER):
        clock.spend(2)
    report = timer.report()
    assert list(report["seconds"]) == list(PHASES)
    spent = {name: seconds for name, seconds in report["seconds"].items() if seconds}
    assert spent == {EVALUATION: 15, KEEPING: 2, OPTIMISER: 2, ELSE: 1}
    assert report["shares"][EVALUATION] == 0.75
    assert report["outside_networks"] == 1.0


def test_half_of_what_two_workers_do_is_time_on_the_clock(clock: Clock) -> None:
    timer = make_timer(num_workers=2)

    def work() -> None:
        with timer.phase(REWARD):
            clock.spend(3)

    for _ in range(2):
        worker = threading.Thread(target=work)
        worker.start()
        worker.join()
    assert timer.report()["seconds"][REWARD] == 3


class Slow(torch.autograd.Function):
    """Multiplies by a factor; takes some time forward, and some backward."""

    @staticmethod
    def forward(ctx, values: Tensor, factor: Tensor, clock: Clock, forward: float, backward: float) -> Tensor:
        ctx.save_for_backward(values, factor)
        ctx.clock, ctx.seconds = clock, backward
        clock.spend(forward)
        return values * factor

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        ctx.clock.spend(ctx.seconds)
        values, factor = ctx.saved_tensors
        return gradient * factor, (gradient * values).sum(), None, None, None


def test_a_backward_pass_is_split_where_its_networks_begin(clock: Clock) -> None:
    timer = make_timer()
    weight, one = torch.tensor(2.0, requires_grad=True), torch.tensor(1.0)
    denoise = timer.watch(lambda x: Slow.apply(x, weight, clock, 100, 200), WITH_GRAPH)
    decode = timer.watch(lambda x: Slow.apply(x, one, clock, 10, 20), DECODING, before=WITH_GRAPH)
    score = timer.watch(lambda x: Slow.apply(x, one, clock, 1, 2), REWARD, before=DECODING)
    latents = torch.ones(3)
    with torch.no_grad():
        latents = denoise(latents)
    loss = score(decode(denoise(latents))).sum()
    with timer.phase(REWARD):
        (gradient,) = torch.autograd.grad(loss, [weight])
    assert gradient == 6
    spent = {name: seconds for name, seconds in timer.report()["seconds"].items() if seconds}
    assert spent == {WITHOUT_GRAPH: 100, WITH_GRAPH: 300, DECODING: 30, REWARD: 3}
    assert timer.report()["outside_networks"] == 0


def test_nothing_is_timed_unless_asked_for() -> None:
    timer = Untimed()
    with timer.phase(REWARD):
        pass
    assert timer.watch(len, REWARD) is len
    assert timer.report() is None
