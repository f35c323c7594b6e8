"""Where things are kept that several runs share and any of them can make again."""

from __future__ import annotations

import os
from pathlib import Path


def find_cache_folder() -> Path:
    """`IVIDEO_CACHE`, else `ivideo` in `XDG_CACHE_HOME`, else `~/.cache/ivideo`; it need not exist."""
    if own := os.environ.get("IVIDEO_CACHE"):
        return Path(own).expanduser()
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path("~/.cache").expanduser()) / "ivideo"
