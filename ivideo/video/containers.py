"""How many bytes a container says it has: what tells a cut-off .webm, .mkv or .avi, since decoders forgive it.

Unlike an mp4 they do not say in one place how many frames there are. A recorder that could not go back to write the
size (a live recording) leaves it open; such a file cannot be told from a cut one.
"""

from __future__ import annotations

from pathlib import Path

from ivideo.errors import IvideoError

_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"


_RIFF_OPEN_SIZES = (0, 0xFFFFFFFF)


def check_whole(path: Path) -> None:
    """Hold a file's length against what a Matroska (.mkv, .webm) or RIFF (.avi) container in it announces.

    Args:
        path: an existing file of any kind; other containers pass.

    Raises:
        IvideoError: it ends early.
        OSError: it can't be opened.
    """
    length = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(4096)
        announced = _matroska_end(head) if head.startswith(_EBML) else 0
        start = 0
        while head[:4] == b"RIFF" and len(head) >= 8:  # a large .avi is several of them
            size = int.from_bytes(head[4:8], "little")
            announced = start + 8 + size if size not in _RIFF_OPEN_SIZES else 0
            start += 8 + size + size % 2
            file.seek(start)
            head = file.read(8)
    if announced > length:
        raise IvideoError(f"{path} is truncated: it has {length} of its {announced} bytes; get a whole copy")


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
