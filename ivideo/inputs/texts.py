"""Text that people bring: UTF-8 from a file or standard input, in lines that only newlines end."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ivideo.errors import IvideoError
from ivideo.files.atomic import explain_os_error
from ivideo.files.reading import check_file
from ivideo.progress import Progress

COMMENT = re.compile(r"#(\s|$)")
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


def name_source(source: Path | str) -> str:
    """What messages call a file, or "-", which is standard input."""
    return "standard input" if str(source) == "-" else str(source)


def read_text(source: Path | str) -> tuple[str, str]:
    """Read a UTF-8 text of prompts or captions, or standard input: what an error should call it, and the text.

    Args:
        source: the file (a byte order mark is tolerated), or "-" for standard input.

    Raises:
        IvideoError: the file is missing, a folder, unreadable or not UTF-8 text.
    """
    name, content = name_source(source), _read_bytes(source)
    try:
        if content.startswith(UTF16_MARKS):
            raise IvideoError(f"{name} is not UTF-8 text but UTF-16: save it as UTF-8")
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise IvideoError(
            f"{name} is not UTF-8 text (byte {error.start} does not fit); prompts are plain text, JSON or CSV"
        ) from error
    if "\0" in text:
        raise IvideoError(f"{name} is not UTF-8 text: it has NUL characters (UTF-16 has: save it as UTF-8)")
    return name, text


def _read_bytes(source: Path | str) -> bytes:
    if str(source) == "-":
        return sys.stdin.buffer.read()
    path = Path(source)
    if path.is_dir():
        raise IvideoError(f"{path} is a folder; prompts are read from a file, one a line")
    try:
        return check_file(path).read_bytes()
    except OSError as error:
        raise explain_os_error("read", path, error) from error


@dataclass(frozen=True)
class Lines:
    r"""The lines of a text that count: not blank, and no comments (`# ...` or `#` alone); `\#` begins with a hash.

    Attributes:
        name: what messages call the text.
        kept: number and text of each, without white space around it.
        num_comments: lines that were left out.
        hashes: those that begin with a hash and are no comments, by number.
    """

    name: str
    kept: list[tuple[int, str]]
    num_comments: int
    hashes: list[int]

    def tell(self, progress: Progress) -> None:
        """Say how many lines are comments, and how many may have been meant as such."""
        if self.num_comments:
            lines = "1 comment line" if self.num_comments == 1 else f"{self.num_comments} comment lines"
            progress.say(f"{self.name}: {lines} left out")
        if self.hashes:
            first = f"{self.name}, line {self.hashes[0]}"
            others = f" and {len(self.hashes) - 1} more" if len(self.hashes) > 1 else ""
            progress.say(f"{first}{others}: begins with # but no space, and is no comment")


def find_lines(name: str, text: str) -> Lines:
    r"""Split a text at newlines (\n or \r\n) and at nothing else.

    Args:
        name: what messages call it.
        text: all of it.

    Raises:
        IvideoError: a carriage return inside a line: it may end one, or not.
    """
    kept, hashes, num_comments = [], [], 0
    for number, line in _number_lines(text):
        if COMMENT.match(line):
            num_comments += 1
        elif line:
            if "\r" in line:
                raise IvideoError(f"{name}, line {number} has a carriage return in it: let newlines end the lines")
            if line.startswith("#"):
                hashes.append(number)
            kept.append((number, line.removeprefix("\\") if line.startswith("\\#") else line))
    return Lines(name, kept, num_comments, hashes)


def escape_line(line: str) -> str:
    """A line that `find_lines` reads as the text, unless that begins with what is read as something else."""
    return f"\\{line}" if line.startswith("#") else line


def _number_lines(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.split("\n"), 1):
        yield number, line.removesuffix("\r").strip()
