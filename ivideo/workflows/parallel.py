"""Work side by side: several clips at once on a CPU, and reading ahead of what is computed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_on_cores(function: Callable[[Item], Result], items: Sequence[Item], num_workers: int) -> Iterator[Result]:
    """Apply a function to each item and give the results in order, as soon as each one is there.

    One small clip a core is a quarter faster than all cores on one. With several workers, each computes with one thread
    of its own; the results do not depend on their number as long as it is above one.

    Args:
        function: must not change anything that its other calls use.
        items: what to apply it to.
        num_workers: items that are worked on at once; with 1 torch keeps all its threads for the one.
    """
    if num_workers == 1:
        yield from map(function, items)
        return
    num_threads = torch.get_num_threads()

    def apply_alone(item: Item) -> Result:
        torch.set_num_threads(1)
        return function(item)

    pool = ThreadPoolExecutor(num_workers)
    try:
        yield from pool.map(apply_alone, items)
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(num_threads)


def read_ahead(items: Generator[Item, None, None], num_ahead: int) -> Generator[Item, None, None]:
    """Run a generator in a thread of its own, while its earlier items are worked on here.

    Args:
        items: what to run; it is closed at the end, also where that comes early.
        num_ahead: items that may wait, at least 1.

    Yields:
        The same items in the same order; what the generator raises is raised here, after them.
    """
    end = object()
    pool = ThreadPoolExecutor(1)
    try:
        waiting = deque(pool.submit(next, items, end) for _ in range(num_ahead))
        while (item := waiting.popleft().result()) is not end:
            waiting.append(pool.submit(next, items, end))
            yield item  # type: ignore[misc]
    finally:
        pool.shutdown(cancel_futures=True)
        items.close()
