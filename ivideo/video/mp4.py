"""What an mp4 (or .m4v, .mov) file says about itself, read from its boxes.

It is a list of boxes: 4 bytes size, 4 bytes kind, content, which may be boxes again. Decoders forgive a file that
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
    """What the container announces.

    Attributes:
        num_frames: of the video track; None where the file is fragmented, its frames being listed piece by piece.
        fps: their average rate in 1/s; None where num_frames is.
        height: of a frame as shown, upright, in pixels.
        width: the same.
        tags: text by box kind, such as "©cmt" (comment) or "©nam" (title).
    """

    num_frames: int | None
    fps: float | None
    height: int
    width: int
    tags: dict[str, str]


def is_mp4(head: bytes) -> bool:
    """Tell from a file's first 8 bytes whether it begins with a box of an mp4."""
    return head[4:8] in _FIRST_BOXES


def read_mp4_header(path: Path) -> Mp4Header:
    """Read number of frames, frame rate, size and tags of an mp4 without decoding it.

    fps = timescale * num_frames / sum of the frames' durations.

    Args:
        path: an existing file that `is_mp4`.

    Returns:
        The header.

    Raises:
        IvideoError: cut off, or without frames.
        OSError: the file can't be opened.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        try:
            header = _parse(data)
        except (struct.error, EOFError) as error:
            raise IvideoError(f"{path} is truncated: its mp4 structure ends early; get a whole copy") from error
    if header is None:
        raise IvideoError(f"{path} has no video frames")
    return header


def _parse(data: mmap.mmap) -> Mp4Header | None:
    """Read the first video track; None where there is none, or it has no frames."""
    top = {kind: (start, end) for kind, start, end in _walk(data, 0, len(data))}
    if b"moov" not in top:
        raise EOFError("no index")
    moov = data[slice(*top[b"moov"])]
    for track in _find(moov, b"trak"):
        media = _first(track, b"mdia")
        if _first(media, b"hdlr")[8:12] == b"vide":
            num_frames, fps = _read_timing(media)
            height, width = _read_size(media, _first(track, b"tkhd"))
            if num_frames:
                return Mp4Header(num_frames, fps, height, width, _read_tags(moov))
            if b"moof" in top:
                return Mp4Header(None, None, height, width, _read_tags(moov))
    return None


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


def _read_size(media: bytes, track_header: bytes) -> tuple[int, int]:
    """Height and width as shown: those of the coded picture, swapped where the track is turned by a quarter."""
    description = _first(media, b"minf", b"stbl", b"stsd")
    width, height = struct.unpack_from(">HH", description, 8 + 8 + 24)
    (x_scale,) = struct.unpack_from(">i", track_header, 52 if track_header[0] == 1 else 40)
    is_turned = x_scale == 0
    return (width, height) if is_turned else (height, width)


def _read_tags(moov: bytes) -> dict[str, str]:
    """Read moov/udta/meta/ilst/<tag>/data; type 1 is UTF-8 text. QuickTime has moov/udta/<tag>: length, language, text.

    Other makers' tags, laid out otherwise, are left.
    """
    tags: dict[str, str] = {}
    try:
        user_data = _first(moov, b"udta")
        for kind, start, end in _walk(user_data, 0, len(user_data)):
            if kind.startswith(b"\xa9"):
                length, text = int.from_bytes(user_data[start : start + 2], "big"), user_data[start + 4 : end]
                tags[kind.decode("latin-1")] = text[:length].decode("utf-8", "replace")
        items = _first(_first(user_data, b"meta")[4:], b"ilst")
        for kind, start, end in _walk(items, 0, len(items)):
            for value in _find(items[start:end], b"data"):
                if value[:4] == b"\0\0\0\1":
                    tags[kind.decode("latin-1")] = value[8:].decode("utf-8", "replace")
    except EOFError:
        pass
    return tags
