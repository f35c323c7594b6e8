"""What a part of the check works with: its device, its time, and where its rows go."""

from __future__ import annotations

import gc
import json
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from examples.gpu_check.results import Results


@dataclass
class Check:
    """One part at work.

    Attributes:
        part: its name.
        device: what is measured.
        is_small: whether networks and clips are tiny: the rehearsal.
        deadline: `time.monotonic()` at which the part is ended.
        results: where its rows go.
        num_failed: measurements that ended in an error, other than for want of memory or time.
    """

    part: str
    device: torch.device
    is_small: bool
    deadline: float
    results: Results
    num_failed: int = 0
    _seconds: dict[str, float] = field(default_factory=dict)

    @property
    def seconds_left(self) -> float:
        """Until the part is ended."""
        return self.deadline - time.monotonic()

    def add(self, table: str, **row: Any) -> None:
        """Add a row, and put it into the log."""
        self.results.add(self.part, table, row)
        print(f"{table}: {json.dumps(row)}", file=sys.stderr, flush=True)

    def measure(self, table: str, names: dict[str, Any], function: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Add a row of what a function measures; one that does not fit, fails or has no time left costs itself only.

        Args:
            table: title of the row's table; rows of one table are taken to need about the same time.
            names: columns that say what is measured.
            function: gives the measured columns.

        Returns:
            The row's other columns: those, or a note.
        """
        if self.seconds_left < 1.2 * self._seconds.get(table, 0.0):
            found = {"note": "no time left"}
            self.add(table, **names, **found)
            return found
        started = time.monotonic()
        try:
            found = function()
        except torch.OutOfMemoryError as error:
            found = {"note": f"does not fit: {first_line(error)}"}
        except Exception as error:
            traceback.print_exc()
            self.num_failed += 1
            found = {"note": f"failed: {type(error).__name__}: {first_line(error)}"}
        self._seconds[table] = time.monotonic() - started
        self.add(table, **names, **found)
        gc.collect()
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        return found

    def synchronize(self) -> None:
        """Wait until the device has done all that it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def reset_peak(self) -> None:
        """Count the most memory from here on."""
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)

    def read_peak(self) -> float | None:
        """The most memory that tensors took since then, in GiB; None on a CPU, which does not count."""
        if self.device.type != "cuda":
            return None
        return round(torch.cuda.max_memory_allocated(self.device) / 2**30, 2)


def first_line(error: Exception) -> str:
    """An error in one line of at most 200 characters."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:200] if lines else type(error).__name__
