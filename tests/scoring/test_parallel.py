from __future__ import annotations

import os
import threading
import time
from contextlib import suppress

import pytest
import torch

from ivideo.models.devices import map_on_cores
from ivideo.scoring.videos import leave_a_core, read_ahead


@pytest.fixture(autouse=True)
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_results_come_in_order_and_each_worker_has_one_thread():
    def look(item: int) -> tuple[int, int]:
        time.sleep(0.05 * (item == 0))  # the first one ends last
        return item, torch.get_num_threads()

    assert list(map_on_cores(look, range(4), 2)) == [(item, 1) for item in range(4)]
    assert torch.get_num_threads() == 2
    assert list(map_on_cores(look, range(2), 1)) == [(0, 2), (1, 2)]


def test_two_items_are_worked_on_at_once():
    meeting = threading.Barrier(2, timeout=20)
    assert sorted(map_on_cores(lambda _: meeting.wait(), range(2), 2)) == [0, 1]


def test_a_failure_comes_through_and_cancels_the_rest():
    done = []

    def work(item: int) -> None:
        if item == 0:
            raise ValueError("item 0")
        time.sleep(0.02)
        done.append(item)

    with pytest.raises(ValueError, match="item 0"):
        list(map_on_cores(work, range(100), 2))
    assert len(done) < 50
    assert torch.get_num_threads() == 2


def test_gradients_of_a_shared_weight_are_those_of_one_worker():
    weight = torch.randn((64, 64), generator=torch.Generator().manual_seed(0), requires_grad=True)
    inputs = [torch.full((8, 64), float(value)) for value in range(6)]

    def differentiate(x: torch.Tensor) -> torch.Tensor:
        return torch.autograd.grad((x @ weight).tanh().sum(), weight)[0]

    alone, together = (list(map_on_cores(differentiate, inputs, workers)) for workers in (1, 2))
    for one, other in zip(alone, together, strict=True):
        torch.testing.assert_close(one, other)


def test_reading_ahead_keeps_the_order_and_runs_no_further_than_asked():
    started: list[int] = []

    def count():
        for number in range(6):
            started.append(number)
            yield number

    items = read_ahead(count(), 2)
    assert next(items) == 0
    time.sleep(0.05)
    assert len(started) <= 4  # the one that was taken, two that wait, and one more asked for
    assert list(items) == [1, 2, 3, 4, 5]


def test_reading_ahead_happens_in_another_thread_meanwhile():
    is_second_begun = threading.Event()

    def numbers():
        yield 1
        is_second_begun.set()
        yield threading.current_thread()

    items = read_ahead(numbers(), 1)
    assert next(items) == 1
    assert is_second_begun.wait(5)
    assert next(items) is not threading.current_thread()


def test_what_reading_raises_comes_after_what_was_read():
    def numbers():
        yield 1
        raise OSError("damaged")

    items = read_ahead(numbers(), 3)
    assert next(items) == 1
    with pytest.raises(OSError, match="damaged"):
        next(items)


def test_reading_ends_where_nobody_wants_more():
    closed: list[bool] = []

    def numbers():
        try:
            yield from range(1000)
        finally:
            closed.append(True)

    items = read_ahead(numbers(), 2)
    assert next(items) == 0
    items.close()
    assert closed == [True]


@pytest.mark.parametrize(("num_cores", "num_threads"), [(1, 1), (2, 1), (3, 2), (8, 2)])
def test_a_core_is_left_for_reading(monkeypatch: pytest.MonkeyPatch, num_cores: int, num_threads: int) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(num_cores)))
    with suppress(OSError), leave_a_core():
        assert torch.get_num_threads() == num_threads
        raise OSError("damaged")
    assert torch.get_num_threads() == 2
