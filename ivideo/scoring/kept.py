"""Records of `ivideo score` in a file that a later call goes on with: each video has one, in the order of the call."""

from __future__ import annotations

import json
import os
import secrets
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from filelock import FileLock, Timeout

from ivideo.errors import IvideoError, UsageError
from ivideo.files.atomic import TEMPORARY, explain_os_error, prepare_folder
from ivideo.files.records import JsonLines
from ivideo.files.run_folder import NO_LOCKS_HERE

Listed = tuple[str, str | None]
"""A video's path, and what it should show; None: what it says itself."""


@dataclass(frozen=True)
class Kept:
    """What of a call is in its file already.

    Attributes:
        places: of each video's record in the file, in bytes; -1 where it has none that can be kept.
        end: of the last whole record.
        is_start: whether the records are those of the first videos, in order, so that others can follow them.
    """

    places: list[int]
    end: int = 0
    is_start: bool = True

    @property
    def last(self) -> int:
        """Place in the list of the last video that need not be scored; -1: all are to be."""
        return max((i for i, place in enumerate(self.places) if place >= 0), default=-1)


def check_output(output: Path) -> None:
    """Hold the name of a file of records against what it can be.

    Raises:
        UsageError: it is no JSON lines file.
    """
    if output.suffix.lower() != ".jsonl":
        raise UsageError(f"`output` {output}: records are kept as JSON lines, in a .jsonl; stdout has other `format`s")
    if output.exists() and not output.is_file():
        raise UsageError(f"`output` {output} is no regular file; name a new one")


@contextmanager
def lock_records(output: Path) -> Iterator[None]:
    """Keep other processes from writing the file inside the block; where a file system knows no locks, nobody is.

    Raises:
        IvideoError: another process is writing it, or its folder can't be written to.
    """
    prepare_folder(output.parent)
    path = output.with_name(f".{output.name}.lock")
    lock = FileLock(path, blocking=False)
    try:
        lock.acquire()
    except Timeout:
        raise IvideoError(f"{output} is being written by another process: wait, or choose another `output`") from None
    except OSError as error:
        if error.errno not in NO_LOCKS_HERE:
            raise explain_os_error("lock", output, error) from error
    try:
        yield
    finally:
        if lock.is_locked:
            path.unlink(missing_ok=True)
        lock.release()


def find_kept(output: Path, videos: Sequence[Listed], settings: Mapping[str, Any], *, overwrite: bool) -> Kept:
    """Look for the records that an earlier call left; a last line that was cut off is none.

    What could not be scored then, or has changed since the file was written, is to be scored again.

    Args:
        output: the file, which need not exist.
        videos: those of this call.
        settings: what its records say of their settings.
        overwrite: whether a file that is there makes way.

    Raises:
        IvideoError: the file holds something else than records of these videos with these settings.
    """
    places = dict.fromkeys(videos, -1)
    order: list[Listed] = []
    end = 0
    try:
        if overwrite or not output.exists():
            return Kept([-1] * len(videos), is_start=not output.exists())
        written = output.stat().st_mtime
        with output.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                record = _read(line)
                if record is None and _is_cut_off(line):
                    break
                video = _find_video(record, places, settings)
                if video is None:
                    why = _tell_difference(record, settings)
                    raise IvideoError(f"{output} is of another call (line {number}: {why}): {ADVICE}")
                if record is not None and record["error"] is None and not _is_newer(Path(video[0]), written):
                    places[video] = end
                order.append(video)
                end += len(line)
    except OSError as error:
        raise explain_os_error("read", output, error) from error
    if order == list(videos[: len(order)]) and all(places[video] >= 0 for video in order):
        return Kept([places[video] for video in order] + [-1] * (len(videos) - len(order)), end)
    return Kept([places[video] for video in videos], end, is_start=False)


BEGINNING = b'{"schema_version": '
ADVICE = "choose another `output`, or `overwrite` True"


def _read(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line) if line.endswith(b"\n") else None
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _is_cut_off(line: bytes) -> bool:
    """Whether a line is the beginning of a record, or what a power cut leaves; only the last one can be."""
    is_ours = line.startswith(BEGINNING[: len(line)]) or not line.strip(b"\0")
    return is_ours and not line.endswith(b"\n")


def _find_video(
    record: Mapping[str, Any] | None, videos: Mapping[Listed, int], settings: Mapping[str, Any]
) -> Listed | None:
    if record is None or record.get("settings") != settings or "error" not in record:
        return None
    path = str(record.get("path"))
    return next((video for video in ((path, record.get("prompt")), (path, None)) if video in videos), None)


def _tell_difference(record: Mapping[str, Any] | None, settings: Mapping[str, Any]) -> str:
    if record is None or not isinstance(said := record.get("settings"), dict):
        return "no record of ivideo score"
    if different := [name for name in settings if said.get(name) != settings[name]]:
        return f"{different[0]} {json.dumps(said.get(different[0]))}"
    return f"{record.get('path')} for {json.dumps(record.get('prompt'), ensure_ascii=False)}"


def _is_newer(video: Path, written: float) -> bool:
    try:
        return video.stat().st_mtime > written
    except OSError:
        return True  # it is gone: scoring it tells


def go_on(output: Path, kept: Kept, fresh: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """The records of all videos in order, each in the file before it is given.

    Where records of an earlier call do not just go on, they are written anew beside the file, which takes its place as
    soon as it has all that the file had.

    Args:
        output: the file.
        kept: what it has already.
        fresh: the other videos' records, in order.

    Raises:
        IvideoError: the file can't be read or written.
    """
    try:
        if kept.is_start:
            if output.exists():
                os.truncate(output, kept.end)
            yield from _follow(output, kept, fresh)
        else:
            yield from _merge(output, kept, fresh)
    except OSError as error:
        raise explain_os_error("write", output, error) from error


def _follow(output: Path, kept: Kept, fresh: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    with JsonLines(output) as log:
        if kept.end:
            with output.open("rb") as old:
                yield from (_recall(old, place) for place in kept.places if place >= 0)
        for record in fresh:
            log.write(record)
            yield record


def _merge(output: Path, kept: Kept, fresh: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    temporary = output.with_name(f"{TEMPORARY}{secrets.token_hex(8)}{output.suffix}")
    left = deque(kept.places[: kept.last + 1])  # what is written before the new file has all that the old one had
    with ExitStack() as opened:
        opened.callback(temporary.unlink, missing_ok=True)
        log, old = opened.enter_context(JsonLines(temporary)), opened.enter_context(output.open("rb"))
        try:
            while left:
                place = left.popleft()
                record = _recall(old, place) if place >= 0 else next(fresh)
                log.write(record)
                yield record
        finally:
            for place in left:
                if place >= 0:
                    log.write(_recall(old, place))
            os.replace(temporary, output)
        for record in fresh:
            log.write(record)
            yield record


def _recall(file: BinaryIO, place: int) -> dict[str, Any]:
    file.seek(place)
    record: dict[str, Any] = json.loads(file.readline())
    return record
