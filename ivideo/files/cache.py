"""Where things are remembered between runs, and content hashes that are remembered while a file is surely the same."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from ivideo.errors import IvideoError
from ivideo.files.atomic import explain_os_error
from ivideo.files.reading import parse_json, read_text
from ivideo.files.records import write_json

SETTLED_SECONDS = 2.0  # a file that changed more lately may change again under the same time stamp


def find_cache_folder() -> Path:
    """Where things are remembered: `IVIDEO_CACHE`, else `ivideo` in `XDG_CACHE_HOME`, else `~/.cache/ivideo`.

    Returns:
        The folder, which need not exist.

    Raises:
        IvideoError: nobody knows where home is.
    """
    if own := os.environ.get("IVIDEO_CACHE"):
        return Path(own).expanduser()
    shared = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(shared) if shared else Path("~/.cache").expanduser()) / "ivideo"
    except RuntimeError:
        raise IvideoError("there is no home folder to keep a cache in: IVIDEO_CACHE can name another place") from None


ListFiles = Callable[[Path], Sequence[Path]]
"""`list_files(path) -> files` whose bytes, one after another, are the content of a path."""


def itself(path: Path) -> list[Path]:
    """The path alone, which is a file."""
    return [path]


class ContentHashes:
    """Content hashes of files, each with the file's stamps when it was taken, a small file of memory for each.

    A hash is taken anew where one of the stamps differs: device, inode, size, times of the last change of content
    (mtime) and of anything (ctime, which programs cannot set). None is remembered of a file that changed within two
    seconds before, since a later change could leave its stamps as they are.
    """

    def __init__(self, folder: Path, list_files: ListFiles = itself) -> None:
        """Remember hashes in a folder, which is created where missing.

        Args:
            folder: of the memory.
            list_files: what a path's content is made of; by default it is a file.
        """
        self.folder, self.list_files = folder, list_files

    def find(self, path: Path) -> str:
        """The SHA-256 of a file's bytes, as `sha256sum` gives it; of several files, of one after another.

        Raises:
            IvideoError: missing or unreadable, or it changed meanwhile.
        """
        started = time.time_ns()
        stamps = read_stamps(path, self.list_files)
        memory = self.folder / f"{hashlib.sha256(os.fsencode(path.absolute())).hexdigest()}.json"
        known = _recall(memory)
        if known.get("stamps") == stamps:
            return str(known["sha256"])
        found = hash_content(path, self.list_files)
        if read_stamps(path, self.list_files) != stamps:
            raise IvideoError(f"{path} changed while it was read")
        last_change = max((max(one[-2:]) for one in stamps), default=started)
        if last_change < started - 1e9 * SETTLED_SECONDS:
            with suppress(IvideoError):  # what cannot be remembered is taken again
                write_json(memory, {"stamps": stamps, "sha256": found})
        return found


def read_stamps(path: Path, list_files: ListFiles = itself) -> list[list[int]]:
    """Device, inode, size in bytes, mtime and ctime in ns of each file of a content.

    Raises:
        IvideoError: missing or unreadable.
    """
    stamps = []
    try:
        for file in list_files(path):
            stat = file.stat()
            stamps.append([stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns])
    except FileNotFoundError:
        raise IvideoError(f"{path} does not exist") from None
    except (OSError, ValueError) as error:
        raise explain_os_error("read", path, error) from error
    return stamps


def hash_content(path: Path, list_files: ListFiles = itself) -> str:
    """The SHA-256 of the bytes of a content's files, one after another.

    Raises:
        IvideoError: missing or unreadable.
    """
    digest = hashlib.sha256()
    try:
        for file in list_files(path):
            with file.open("rb") as opened:
                while block := opened.read(1 << 20):
                    digest.update(block)
    except OSError as error:
        raise explain_os_error("read", path, error) from error
    return digest.hexdigest()


def _recall(memory: Path) -> dict[str, Any]:
    """What is remembered of a file; nothing where that is missing or damaged."""
    try:
        known = parse_json(read_text(memory), memory)
    except IvideoError:
        return {}
    return known if isinstance(known, dict) and isinstance(known.get("sha256"), str) else {}


def identify_files(location: str, parts: Sequence[str]) -> list[list[str]] | None:
    """What tells the files of some parts of a model from others.

    Args:
        location: a local folder, or a hub id, whose files are told by its newest local commit.
        parts: folders in it.

    Returns:
        Pairs of names and hashes; None where nothing of it is on this machine.

    Raises:
        IvideoError: a file changed while it was read.
    """
    folder = Path(location)
    if not folder.is_dir():
        from huggingface_hub import try_to_load_from_cache

        known = try_to_load_from_cache(location, "model_index.json")
        return [[location, Path(known).parent.name]] if isinstance(known, str) else None
    hashes = ContentHashes(find_cache_folder() / "hashes")
    files = sorted(file for part in parts for file in (folder / part).rglob("*") if file.is_file())
    return [[str(file.relative_to(folder)), hashes.find(file)] for file in files]
