"""Where and when a number was measured."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parents[2]


def describe_origin() -> dict[str, Any]:
    """Date (UTC), machine, and commit of the code; `-dirty` after it where tracked files of the package had changed."""
    cores = f"{os.cpu_count()} cores, threads: {torch.get_num_threads()}"
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": f"{find_processor()}, {cores}; torch {torch.__version__.split('+')[0]}",
        "commit": find_commit(),
    }


def find_processor() -> str:
    """The processor's name, as the system tells it."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def find_commit() -> str:
    """The commit that the code is at; "unknown" outside a repository."""
    try:
        commit = ask_git("rev-parse", "--short=10", "HEAD")
        is_dirty = bool(ask_git("status", "--porcelain", "--untracked-files=no", "--", "ivideo"))
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return f"{commit}-dirty" if is_dirty else commit


def ask_git(*words: str) -> str:
    """What git answers."""
    return subprocess.run(["git", "-C", ROOT, *words], capture_output=True, text=True, check=True).stdout.strip()
