"""The one file of a check: what each part found, written as it comes."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from examples.study.provenance import find_commit, find_processor
from ivideo.files.records import write_json

SCHEMA_VERSION = 1
FILE = "gpu_check.json"
PACKAGES = ("diffusers", "transformers", "peft", "accelerate", "open_clip_torch")


class Results:
    """`gpu_check.json`: the machine, and each part's state and tables.

    Parts run one after the other and only one process writes at a time. Every change is on the disk at once, so that
    whatever happens to a part, what it had found stays.
    """

    def __init__(self, folder: Path) -> None:
        """Use the file in a folder; it need not exist yet."""
        self.path = folder / FILE

    def read(self) -> dict[str, Any]:
        """The whole file."""
        found: dict[str, Any] = json.loads(self.path.read_text(encoding="utf-8"))
        return found

    def begin(self, machine: dict[str, Any], parts: list[str]) -> None:
        """Start anew, with every part still to come."""
        states = {name: {"state": "not run", "tables": {}} for name in parts}
        self._write({"schema_version": SCHEMA_VERSION, "machine": machine, "parts": states})

    def update(self, part: str, **values: Any) -> None:
        """Say how a part stands: `state`, `seconds`, `why`."""
        whole = self.read()
        whole["parts"][part].update(values)
        self._write(whole)

    def add(self, part: str, table: str, row: dict[str, Any]) -> None:
        """Add a row to a table of a part."""
        whole = self.read()
        whole["parts"][part]["tables"].setdefault(table, []).append(row)
        self._write(whole)

    def _write(self, whole: dict[str, Any]) -> None:
        write_json(self.path, whole)


def describe_machine(device: torch.device, size: str, commit: str | None, note: str | None = None) -> dict[str, Any]:
    """What a number depends on: card, driver, versions, processor, date and commit.

    Args:
        device: what is measured.
        size: `full` or `small`.
        commit: of the code, where there is no repository to ask.
        note: what a reader must know besides.
    """
    return {
        **describe_card(device),
        "size": size,
        "processor": f"{find_processor()}, {os.cpu_count()} cores",
        "system": platform.platform(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        **{name: find_version(name) for name in PACKAGES},
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "commit": commit or find_commit(),
        "note": note,
    }


def describe_card(device: torch.device) -> dict[str, Any]:
    """The GPU's name, memory and driver; without one the processor's name."""
    if device.type != "cuda":
        return {"device": device.type, "card": f"{find_processor()}, no GPU"}
    card = torch.cuda.get_device_properties(device)
    return {
        "device": "cuda",
        "card": card.name,
        "memory_gib": round(card.total_memory / 2**30, 1),
        "multiprocessors": card.multi_processor_count,
        "capability": f"{card.major}.{card.minor}",
        "driver": ask_driver(),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
    }


def ask_driver() -> str:
    """The driver's version, by nvidia-smi."""
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        return "unknown"


def find_version(name: str) -> str:
    """The version of an installed package."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"


def print_table(rows: list[dict[str, Any]]) -> None:
    """A table for people on stderr: columns as wide as their content."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    cells = [columns, *([format_cell(row.get(name)) for name in columns] for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    for line in cells:
        print(
            "  " + "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip(),
            file=sys.stderr,
        )


def format_cell(value: Any) -> str:
    """A value as it is shown: numbers with three or four digits that count."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
    return str(value)
