"""Files that others wrote or a crash damaged: read as a whole up to a size, and told in one line where that fails."""

from __future__ import annotations

import os
import re
import stat
import struct
import tomllib
import zlib
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from pickle import UnpicklingError
from traceback import walk_tb
from typing import Any, TypeVar, cast
from zipfile import BadZipFile

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import from_json
from safetensors import SafetensorError

from ivideo.errors import IvideoError
from ivideo.files.atomic import explain_os_error

MAX_BYTES = 2**28  # of a text that is read as a whole
OPENED = ("/dev/fd/", "/proc/self/fd/", "/dev/stdin")  # what the shell has opened for this process
KINDS = {stat.S_ISDIR: "a folder", stat.S_ISFIFO: "a pipe", stat.S_ISSOCK: "a socket"}
M = TypeVar("M", bound=BaseModel)
T = TypeVar("T")


class Unreadable(IvideoError):
    """A file is missing, damaged or foreign; who knows more of it says so around it (`explain_damage`)."""


FOREIGN = (
    UnpicklingError,
    RecursionError,
    EOFError,
    UnicodeError,
    SafetensorError,
    BadZipFile,
    zlib.error,
    struct.error,
)
DEEP_KEY = re.compile(r"([\w-]+\.){100}")
PACKAGE = str(Path(__file__).parents[1])
MAX_OWN_FRAMES = 100  # of a trace; more are a recursion of our own


def explain_foreign(error: Exception) -> str | None:
    """What reading and writing files can raise, in one line with the file's name; None for what is a bug of ours.

    Args:
        error: as it was raised. What is neither the system's nor memory's must come from a library's or Python's code.
    """
    if isinstance(error, OSError):
        reason = error.strerror or next(iter(str(error).splitlines()), type(error).__name__)
        return reason if error.filename is None else f"cannot use {os.fsdecode(error.filename)}: {reason}"
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    ours = [frame.f_code.co_filename.startswith(PACKAGE) for frame in frames]
    if isinstance(error, MemoryError):
        reason = "out of memory"
    elif isinstance(error, ValueError) and str(error).startswith("embedded null"):
        return "a path holds a NUL character"
    elif isinstance(error, FOREIGN) and not ours[-1] and sum(ours) < MAX_OWN_FRAMES:
        reason = " ".join(str(error).split()) or type(error).__name__
    else:
        return None
    held = (value for frame in reversed(frames) for value in frame.f_locals.values())
    file = next((value for value in held if isinstance(value, Path) and os.path.lexists(value)), None)
    return reason if file is None else f"cannot use {file}: {reason}"


def check_file(path: Path) -> Path:
    """Refuse what may never begin or never end, devices and pipes, but for what the shell has opened, as by `<(...)`.

    Args:
        path: of a file.

    Raises:
        Unreadable: it is missing, or no file.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise Unreadable(f"{path} does not exist") from None
    except (OSError, ValueError) as error:
        raise Unreadable(str(explain_os_error("read", path, error))) from error
    if not stat.S_ISREG(mode) and not str(path).startswith(OPENED):
        kind = next((name for is_kind, name in KINDS.items() if is_kind(mode)), "a device")
        raise Unreadable(f"cannot read {path}: it is {kind}, not a file")
    return path


def read_text(path: Path) -> str:
    """A file's whole text; line ends stay as they are.

    Raises:
        Unreadable: it is missing, no file (see `check_file`), too large, or no UTF-8.
    """
    try:
        with check_file(path).open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise Unreadable(str(explain_os_error("read", path, error))) from error
    if len(content) > MAX_BYTES:
        raise Unreadable(f"cannot read {path}: it has more than {MAX_BYTES >> 20} MiB")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Unreadable(f"{path} is no UTF-8 text (byte {error.start} does not fit)") from None


def parse_json(text: str | bytes, name: object) -> Any:
    """What JSON says, of any shape.

    Args:
        text: the JSON.
        name: where it stands, for errors.

    Raises:
        Unreadable: it is no JSON, or cannot be read.
    """
    try:
        return from_json(text)
    except ValueError as error:
        raise Unreadable(f"{name} is no JSON: {error}") from None


def parse_as(kind: type[T], text: str | bytes, name: object, trouble: str = "is damaged") -> T:
    """What JSON says where it says what a type has a place for, in exactly its types.

    Args:
        kind: a model of pydantic, or a dataclass.
        text: the JSON.
        name: where it stands, for errors.
        trouble: what is wrong with it otherwise.

    Raises:
        Unreadable: it is no JSON, or says something else; names the first field that does not fit.
    """
    with _explain_misfit(name, trouble):
        return cast(T, _adapter(cast(Hashable, kind)).validate_json(text, strict=True))


def check_as(kind: type[M], value: Any, name: object, trouble: str = "is damaged") -> M:
    """The same for JSON that was parsed already, and a model of pydantic."""
    with _explain_misfit(name, trouble):
        return kind.model_validate(value, strict=True)


@contextmanager
def _explain_misfit(name: object, trouble: str) -> Iterator[None]:
    try:
        yield
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(map(str, problem["loc"]))
        raise Unreadable(f"{name} {trouble}: {place + ': ' if place else ''}{problem['msg']}") from None


def parse_toml(text: str, name: object) -> dict[str, Any]:
    """What TOML says.

    Args:
        text: the TOML.
        name: where it stands, for errors.

    Raises:
        Unreadable: it is no TOML, or nests too deeply or counts too high to be read.
    """
    try:
        if DEEP_KEY.search(text):  # tomllib reads it, but for minutes
            raise RecursionError
        return tomllib.loads(text)
    except RecursionError:
        raise Unreadable(f"{name} cannot be read: it is nested too deeply") from None
    except ValueError as error:
        raise Unreadable(f"{name} cannot be read: {error}") from None


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
