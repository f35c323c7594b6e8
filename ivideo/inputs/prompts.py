"""Prompt files: one prompt a line."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from ivideo.errors import IvideoError, UsageError
from ivideo.files.atomic import explain_os_error


def read_prompts(source: Path | str) -> list[str]:
    """Read the prompts of a UTF-8 text file, one a line.

    Blank lines and lines whose first visible character is `#` are ignored, white space around a prompt is cut off,
    and a prompt that comes twice is kept once, at its first place: the lines "# pets", "a cat", "", " a dog ",
    "a cat" give ["a cat", "a dog"].

    Args:
        source: the file (a byte order mark is tolerated), or "-" for standard input.

    Returns:
        The prompts in the file's order, at least one.

    Raises:
        IvideoError: the file is missing, a folder, unreadable, not UTF-8 text or has no prompt in it.
    """
    name, text = read_text(source)
    return parse_prompts(name, text)


def parse_prompts(name: str, text: str) -> list[str]:
    """The prompts in a text, as `read_prompts` has them.

    Args:
        name: what an error calls the text.
        text: a prompt a line.

    Raises:
        IvideoError: there is no prompt in it.
    """
    lines = (line.strip() for line in text.splitlines())
    prompts = list(dict.fromkeys(line for line in lines if line and not line.startswith("#")))
    if not prompts:
        raise IvideoError(f"no prompts in {name}; write one a line, lines that begin with # are comments")
    return prompts


def read_text(source: Path | str) -> tuple[str, str]:
    """Read a UTF-8 text file of prompts or captions, or standard input.

    Args:
        source: the file (a byte order mark is tolerated), or "-" for standard input.

    Returns:
        What an error should call it, and its text.

    Raises:
        IvideoError: the file is missing, a folder, unreadable or not UTF-8 text.
    """
    name = "standard input" if str(source) == "-" else str(source)
    try:
        return name, _read_bytes(source).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise IvideoError(
            f"{name} is not UTF-8 text (byte {error.start} does not fit); prompts are one a line in plain text"
        ) from error


def _read_bytes(source: Path | str) -> bytes:
    if str(source) == "-":
        return sys.stdin.buffer.read()
    path = Path(source)
    if path.is_dir():
        raise IvideoError(f"{path} is a folder; prompts are read from a text file, one a line")
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise IvideoError(f"prompt file {path} does not exist") from error
    except OSError as error:
        raise explain_os_error("read", path, error) from error


def check_prompts(prompts: Sequence[str]) -> None:
    """Refuse to work for nothing.

    Raises:
        UsageError: no prompts, or an empty one.
    """
    if not prompts or any(not prompt.strip() for prompt in prompts):
        raise UsageError("empty prompt: say what the video should show")
