"""Files told apart by their content."""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path

from ivideo.io.files import explain_os_error


def hash_file(path: Path) -> str:
    """Give the SHA-256 of a file's content, in hex, as `sha256sum` does.

    Args:
        path: the file; one that did not change since the last call is not read again.

    Returns:
        64 digits.

    Raises:
        IvideoError: the file can't be read.
    """
    try:
        stat = path.stat()
        return _hash_content(path, stat.st_size, stat.st_mtime_ns)
    except OSError as error:
        raise explain_os_error("read", path, error) from error


@functools.lru_cache(maxsize=64)
def _hash_content(path: Path, _size: int, _changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
