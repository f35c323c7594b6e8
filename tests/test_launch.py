"""What the processes of one launch do together: threads that meet stand for them, and two real ones over gloo."""

from __future__ import annotations

import multiprocessing
import os
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import Queue
from typing import Any

import pytest

from ivideo.errors import IvideoError, UsageError
from ivideo.launch import ALONE, Launch, ToldError, check_device, is_launched, joined


@pytest.fixture
def together(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Callable[[Launch], Any]], list[Any]]:
    """`together(count, work)`: what `work` gives or raises in each of so many processes."""

    def together(count: int, work: Callable[[Launch], Any]) -> list[Any]:
        brought: dict[int, list[Any]] = {}
        barrier = threading.Barrier(count, timeout=10)
        own = threading.local()

        def gather_object(values: list[Any]) -> list[Any]:
            brought[own.index] = values
            barrier.wait()
            met = [value for index in range(count) for value in brought[index]]
            barrier.wait()
            return met

        def run(index: int) -> Any:
            own.index = index
            launch = Launch(index, count)
            try:
                return work(launch)
            except Exception as error:
                try:
                    launch.fail(error)
                except IvideoError as told:
                    return told
                return error

        monkeypatch.setattr("accelerate.utils.gather_object", gather_object)
        with ThreadPoolExecutor(count) as pool:
            return list(pool.map(run, range(count)))

    return together


def double(items: Sequence[int]) -> Iterator[int]:
    return (2 * item for item in items)


@pytest.mark.parametrize(("count", "num_items", "at_once"), [(1, 5, 2), (2, 5, 1), (3, 7, 2), (3, 2, 16), (2, 0, 1)])
def test_every_process_gets_all_results_in_order(together, count: int, num_items: int, at_once: int) -> None:
    given = together(count, lambda launch: list(launch.share(range(num_items), double, at_once)))
    assert given == [[2 * item for item in range(num_items)]] * count


def test_items_are_dealt_in_turn_and_results_come_while_the_work_goes_on(together) -> None:
    order: list[tuple[int, Any]] = []

    def work(launch: Launch) -> None:
        def note(items: Sequence[int]) -> Iterator[int]:
            for item in items:
                order.append((launch.index, item))
                yield item

        for item in launch.share(range(6), note, 1):
            if launch.is_first:
                order.append((0, f"got {item}"))

    together(2, work)
    assert sorted(item for index, item in order if index == 1) == [1, 3, 5]
    assert order.index((0, "got 1")) < order.index((0, 4))


def test_the_first_process_speaks_for_all_and_goes_ahead(together) -> None:
    made: list[int] = []

    def work(launch: Launch) -> tuple[str, int]:
        told = launch.from_first(lambda: f"from {launch.index}")
        launch.after_first(lambda: made.append(launch.index))
        return told, launch.index

    assert together(3, work) == [("from 0", index) for index in range(3)]
    assert made[0] == 0
    assert sorted(made) == [0, 1, 2]


@pytest.mark.parametrize(
    ("error", "message", "exit_code"),
    [
        (UsageError("no such model"), "no such model (in process 1)", 2),
        (ValueError("a bug"), "process 1 failed: ValueError: a bug (in process 1)", 1),
        (BrokenPipeError(), "nobody reads what the first process prints (in process 1)", 0),
    ],
)
def test_where_one_fails_all_end(together, error: Exception, message: str, exit_code: int) -> None:
    def fail(items: Sequence[int]) -> Iterator[int]:
        yield items[0]
        raise error

    def work(launch: Launch) -> object:
        return list(launch.share(range(8), fail if launch.index == 1 else double, 1))

    ends = together(3, work)
    for index in (0, 2):
        assert isinstance(ends[index], ToldError)
        assert (str(ends[index]), ends[index].exit_code) == (message, exit_code)
    assert isinstance(ends[1], ToldError) if isinstance(error, IvideoError) else ends[1] is error


def test_an_error_of_all_is_told_as_it_is(together) -> None:
    def work(launch: Launch) -> None:
        raise UsageError("no prompt")

    assert [str(end) for end in together(2, work)] == ["no prompt"] * 2


def test_a_process_that_is_gone_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def lose(values: object) -> None:
        raise RuntimeError("Connection closed by peer")

    monkeypatch.setattr("accelerate.utils.gather_object", lose)
    with pytest.raises(ToldError, match="another process of the launch is gone"):
        Launch(0, 2).gather(1)


def test_without_a_launcher_a_process_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "3")  # some clusters set these for every task, whoever starts it
    monkeypatch.setenv("WORLD_SIZE", "8")
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert not is_launched()
    with joined() as launch:
        assert launch is ALONE
        assert launch.gather(3) == [3]


def test_one_gpu_by_its_number_is_not_for_several_processes() -> None:
    check_device("cuda:1", ALONE)
    check_device("cuda", Launch(0, 2))
    with pytest.raises(UsageError, match="`device` cuda:1 for 2 processes"):
        check_device("cuda:1", Launch(1, 2))


def work_in_process(index: int, port: int, ends: Queue[Any]) -> None:
    os.environ |= {"RANK": str(index), "LOCAL_RANK": str(index), "WORLD_SIZE": "2"}
    os.environ |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(port), "CUDA_VISIBLE_DEVICES": ""}
    results: list[int] = []
    try:
        with joined() as launch:
            results += launch.share(range(5), double, 2)
            if launch.index == 1:
                raise UsageError("no more")
            launch.gather(None)
    except ToldError as error:
        ends.put((index, results, str(error)))


def test_two_real_processes_meet_and_end_together() -> None:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("fork")
    ends: Any = context.Queue()
    processes = [context.Process(target=work_in_process, args=(index, port, ends)) for index in range(2)]
    for process in processes:
        process.start()
    found = sorted(ends.get(timeout=60) for _ in processes)
    for process in processes:
        process.join(10)
    assert found == [(index, [0, 2, 4, 6, 8], "no more (in process 1)") for index in range(2)]
