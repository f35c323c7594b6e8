"""Whether a container holds all the bytes that it announces: mp4, Matroska and RIFF."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from ivideo.errors import IvideoError

_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
_RIFF_OPEN_SIZES = (0, 0xFFFFFFFF)
_FIRST_BOXES = {b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot"}  # of an mp4


def check_whole(path: Path) -> None:
    """Hold a file's length against what an mp4, Matroska (.mkv, .webm) or RIFF (.avi) container in it announces.

    So a cut-off file is told, which ffmpeg, and so PyAV, reads as a short one. A recorder that could not go back to
    write the size (a live recording) leaves it open; such a file cannot be told from a cut one.

    Args:
        path: an existing file of any kind; other containers pass.

    Raises:
        IvideoError: it ends early.
        OSError: it can't be opened.
    """
    length = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(4096)
        announced = 0
        if head.startswith(_EBML):
            announced = _matroska_end(head)
        elif head[:4] == b"RIFF":
            announced = _riff_end(file)
        elif head[4:8] in _FIRST_BOXES:
            announced, has_index = _mp4_end(file, length)
            if not has_index and announced <= length:
                raise IvideoError(f"{path} is truncated: its index is missing; get a whole copy")
    if announced > length:
        raise IvideoError(f"{path} is truncated: it has {length} of its {announced} bytes; get a whole copy")


def _mp4_end(file: BinaryIO, length: int) -> tuple[int, bool]:
    """Where the last box ends, and whether one is an index; a box: size, kind, long size, content (ISO 14496-12)."""
    start, has_index = 0, False
    while start + 8 <= length:
        file.seek(start)
        head = file.read(16)
        size = int.from_bytes(head[:4], "big")
        size = int.from_bytes(head[8:], "big") if size == 1 else size or length - start
        if size < 8:  # no box: the decoder tells what is wrong
            break
        has_index |= head[4:8] == b"moov"
        start += size
    return start, has_index


def _riff_end(file: BinaryIO) -> int:
    """Where the last chunk ends (a large .avi is several of them); 0 where it does not say."""
    announced = start = 0
    while True:
        file.seek(start)
        head = file.read(8)
        if len(head) < 8 or head[:4] != b"RIFF":
            return announced
        size = int.from_bytes(head[4:], "little")
        announced = start + 8 + size if size not in _RIFF_OPEN_SIZES else 0
        start += 8 + size + size % 2


def _matroska_end(head: bytes) -> int:
    """Where the segment ends that holds everything but the header (RFC 8794, RFC 9559); 0 where it does not say."""
    size, start = _read_size(head, 4)
    start += size or 0
    if size is None or head[start : start + 4] != _SEGMENT:
        return 0
    size, start = _read_size(head, start + 4)
    return start + size if size is not None else 0


def _read_size(data: bytes, start: int) -> tuple[int | None, int]:
    """Read a size whose leading zero bits tell its length, and where it ends; None is open, or not there."""
    first = data[start] if start < len(data) else 0
    length = 9 - first.bit_length()
    value = int.from_bytes(data[start : start + length], "big") & ((1 << 7 * length) - 1)
    is_open = length > 8 or value == (1 << 7 * length) - 1
    return None if is_open else value, start + length
