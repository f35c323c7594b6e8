"""What tells videos apart: the hash of their bytes, remembered in the cache while a file is certainly the same.

A video that is missing or unreadable, or changes meanwhile, is an IvideoError.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from ivideo.errors import IvideoError
from ivideo.files.atomic import explain_os_error
from ivideo.files.records import write_json
from ivideo.video.folders import list_frames

SETTLED_SECONDS = 2.0  # a file that changed more lately may change again under the same time stamp


def find_cache_folder() -> Path:
    """Where things are remembered: `IVIDEO_CACHE`, else `ivideo` in `XDG_CACHE_HOME`, else `~/.cache/ivideo`."""
    if own := os.environ.get("IVIDEO_CACHE"):
        return Path(own).expanduser()
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path("~/.cache").expanduser()) / "ivideo"


class ContentHashes:
    """Content hashes of videos, each with the file's stamps when it was taken, a small file a video.

    A hash is taken anew where one of the stamps differs: device, inode, size, times of the last change of content
    (mtime) and of anything (ctime, which programs cannot set). None is remembered of a file that changed within two
    seconds before, since a later change could leave its stamps as they are.
    """

    def __init__(self, folder: Path) -> None:
        """Remember hashes in a folder, which is created where missing."""
        self.folder = folder

    def find(self, video: Path) -> str:
        """The SHA-256 of a file's bytes, as `sha256sum` gives it; of a folder, of its pictures, one after another."""
        started = time.time_ns()
        stamps = read_stamps(video)
        memory = self.folder / f"{hashlib.sha256(os.fsencode(video.absolute())).hexdigest()}.json"
        known = _recall(memory)
        if known.get("stamps") == stamps:
            return str(known["sha256"])
        found = hash_content(video)
        if read_stamps(video) != stamps:
            raise IvideoError(f"{video} changed while it was read")
        last_change = max((max(one[-2:]) for one in stamps), default=started)
        if last_change < started - 1e9 * SETTLED_SECONDS:
            with suppress(IvideoError):  # what cannot be remembered is taken again
                write_json(memory, {"stamps": stamps, "sha256": found})
        return found


def read_stamps(video: Path) -> list[list[int]]:
    """Device, inode, size in bytes, mtime and ctime in ns of a file, or of each picture of a folder."""
    stamps = []
    try:
        for path in _files(video):
            stat = path.stat()
            stamps.append([stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns])
    except FileNotFoundError:
        raise IvideoError(f"video {video} does not exist") from None
    except OSError as error:
        raise explain_os_error("read", video, error) from error
    return stamps


def hash_content(video: Path) -> str:
    """The SHA-256 of a file's bytes, or of those of a folder's pictures, one after another."""
    digest = hashlib.sha256()
    try:
        for path in _files(video):
            with path.open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
    except OSError as error:
        raise explain_os_error("read", video, error) from error
    return digest.hexdigest()


def _files(video: Path) -> list[Path]:
    return list_frames(video) if video.is_dir() else [video]


def _recall(memory: Path) -> dict[str, Any]:
    """What is remembered of a file; nothing where that is missing or damaged."""
    try:
        known = json.loads(memory.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) and isinstance(known.get("sha256"), str) else {}
