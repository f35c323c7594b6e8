"""What an mp4 file says about itself, read from its boxes.

An mp4 is a list of boxes: 4 bytes size, 4 bytes kind, content, which may be boxes again. Decoders forgive a file that
ends early, so how many frames there should be has to be asked of the container itself (ISO/IEC 14496-12).
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ivideo.errors import IvideoError

_FIRST_BOXES = {b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot"}


@dataclass(frozen=True)
class Mp4Header:
    """What the container announces: frames of the video track, their average rate in 1/s, and the text tags."""

    num_frames: int
    fps: float
    tags: dict[str, str]


def read_mp4_header(path: Path) -> Mp4Header:
    """Read number of frames, frame rate and tags of an mp4 without decoding it.

    fps = timescale * num_frames / sum of the frames' durations.

    Args:
        path: an existing file.

    Returns:
        The header; `tags` maps a box kind such as "©cmt" (comment) or "©nam" (title) to its text.

    Raises:
        IvideoError: not an mp4, cut off, or without frames.
        OSError: the file can't be opened.
    """
    with path.open("rb") as file:
        if path.stat().st_size < 8:
            raise IvideoError(f"{path} is not a video: it is neither mp4 nor gif")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            if data[4:8] not in _FIRST_BOXES:
                raise IvideoError(f"{path} is not a video: it is neither mp4 nor gif")
            try:
                return _parse(path, data)
            except (struct.error, EOFError) as error:
                raise IvideoError(f"{path} is truncated: its mp4 structure ends early; get a whole copy") from error


def _parse(path: Path, data: mmap.mmap) -> Mp4Header:
    top = {kind: (start, end) for kind, start, end in _walk(data, 0, len(data))}
    if b"moov" not in top:
        raise EOFError("no index")
    moov = data[slice(*top[b"moov"])]
    for track in _find(moov, b"trak"):
        media = _first(track, b"mdia")
        if _first(media, b"hdlr")[8:12] == b"vide":
            num_frames, fps = _read_timing(media)
            break
    else:
        num_frames = 0
    if num_frames == 0:
        raise IvideoError(
            f"{path} has no video frames (a fragmented mp4 is made whole by `ffmpeg -i {path.name} -c copy whole.mp4`)"
        )
    return Mp4Header(num_frames, fps, _read_tags(moov))


def _walk(data: bytes | mmap.mmap, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, content start and content end of each box; EOFError where a box leaves its parent."""
    while start + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, start)
        header = 8
        if size == 1:
            (size,) = struct.unpack_from(">Q", data, start + 8)
            header = 16
        elif size == 0:
            size = end - start
        if size < header or start + size > end:
            raise EOFError(kind)
        yield kind, start + header, start + size
        start += size


def _find(data: bytes, kind: bytes) -> list[bytes]:
    return [data[start:end] for found, start, end in _walk(data, 0, len(data)) if found == kind]


def _first(data: bytes, *kinds: bytes) -> bytes:
    for kind in kinds:
        found = _find(data, kind)
        if not found:
            raise EOFError(kind)
        data = found[0]
    return data


def _read_timing(media: bytes) -> tuple[int, float]:
    media_header = _first(media, b"mdhd")
    (timescale,) = struct.unpack_from(">I", media_header, 20 if media_header[0] == 1 else 12)
    table = _first(media, b"minf", b"stbl")
    sizes = _find(table, b"stsz") or _find(table, b"stz2")
    (num_frames,) = struct.unpack_from(">I", sizes[0] if sizes else b"", 8)
    durations = _first(table, b"stts")
    (num_entries,) = struct.unpack_from(">I", durations, 4)
    total = sum(count * delta for count, delta in struct.iter_unpack(">II", durations[8 : 8 + 8 * num_entries]))
    return num_frames, timescale * num_frames / total if total else 1.0


def _read_tags(moov: bytes) -> dict[str, str]:
    """Read moov/udta/meta/ilst/<tag>/data; type 1 is UTF-8 text. Other makers' tags, laid out otherwise, are left."""
    tags: dict[str, str] = {}
    try:
        items = _first(_first(moov, b"udta", b"meta")[4:], b"ilst")
        for kind, start, end in _walk(items, 0, len(items)):
            for value in _find(items[start:end], b"data"):
                if value[:4] == b"\0\0\0\1":
                    tags[kind.decode("latin-1")] = value[8:].decode("utf-8", "replace")
    except EOFError:
        pass
    return tags
