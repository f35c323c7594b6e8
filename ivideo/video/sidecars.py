"""Small files beside videos: metadata and texts, which may also be of other programs."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ivideo.errors import IvideoError
from ivideo.files.atomic import explain_os_error

_MAX_BYTES = 2**26


@dataclass(frozen=True)
class Sidecar:
    """What the `.json` beside a video says of it; else what is wrong with it, in one line, where it is there."""

    metadata: dict[str, Any] = field(default_factory=dict)
    fault: str = ""


def read_sidecar(path: Path) -> Sidecar:
    """Read the `.json` beside a video; one of another program is a fault, not an error, as it may not matter."""
    if not os.path.lexists(path):
        return Sidecar()
    try:
        metadata = read_json(path)
    except IvideoError as error:
        return Sidecar(fault=str(error))
    return Sidecar(metadata) if isinstance(metadata, dict) else Sidecar(fault=f"{path} is not a JSON object")


def read_json(path: Path, pairs: Callable[[list[tuple[str, Any]]], Any] | None = None) -> Any:
    """Read a JSON file.

    Args:
        path: the file.
        pairs: what objects become, as `json.loads` has it; None: dicts.

    Raises:
        IvideoError: unreadable, or no JSON.
    """
    try:
        return json.loads(read_text(path), object_pairs_hook=pairs)
    except ValueError as error:
        raise IvideoError(f"{path} is not JSON that can be read: {error}") from error
    except RecursionError as error:
        raise IvideoError(f"{path} is not JSON that can be read: it is nested too deeply") from error


def read_text(path: Path) -> str:
    """Read a UTF-8 text that lies beside a video; a byte order mark is tolerated.

    Raises:
        IvideoError: missing, no regular file, too large for what people write, or not UTF-8.
    """
    try:
        if not path.is_file():
            raise IvideoError(f"{path} {'is no regular file' if path.exists() else 'does not exist'}")
        if path.stat().st_size > _MAX_BYTES:
            raise IvideoError(f"{path} is larger than {_MAX_BYTES >> 20} MiB")
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise explain_os_error("read", path, error) from error
    except UnicodeDecodeError as error:
        raise IvideoError(f"{path} is not UTF-8 text (byte {error.start} does not fit)") from error
