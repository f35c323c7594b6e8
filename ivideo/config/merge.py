"""Joins defaults, a TOML file and flags into validated settings: flags win over the file, the file over defaults."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from ivideo.config.settings import FinetuneSettings, Settings
from ivideo.errors import IvideoError, UsageError
from ivideo.files.reading import parse_toml, read_text
from ivideo.files.run_folder import RunFolder

S = TypeVar("S", bound=Settings)
MAX_SHOWN = 120  # characters of a value in an error


def read_toml(path: Path) -> dict[str, Any]:
    """The settings of a TOML file; dashes in names may stand for underscores.

    Raises:
        IvideoError: no such file, or no TOML.
    """
    content = parse_toml(read_text(path), f"config file {path}")
    return {key.replace("-", "_"): value for key, value in content.items()}


def write_toml(settings: Settings) -> str:
    """The settings as TOML. What is None is left out where that is the default, else it is written as "none"."""
    fields = type(settings).model_fields
    values = settings.model_dump()
    written = {name: value for name, value in values.items() if value is not None or fields[name].default is not None}
    return "".join(f"{name} = {_to_toml('none' if value is None else value)}\n" for name, value in written.items())


def _to_toml(value: str | int | float | bool | tuple[str, ...]) -> str:
    """JSON's notation, which is TOML's but for characters outside the basic plane and DEL."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def merge_settings(kind: type[S], defaults: Mapping[str, Any], file: Mapping[str, Any], flags: Mapping[str, Any]) -> S:
    """Validated settings; a flag that is None was not given.

    Where nobody asked for a number of segments, a clip of few frames has one a frame at the most.

    Raises:
        UsageError: an unknown key, or a value that cannot be; names every one of them.
    """
    known = {key: value for key, value in defaults.items() if key in kind.model_fields}
    given = {key: value for key, value in flags.items() if value is not None}
    values = {**known, **file, **given}
    if "num_segments" in known and "num_segments" not in {**file, **given}:
        num_frames = values.get("num_frames")
        if isinstance(num_frames, int) and num_frames > 0:
            values["num_segments"] = min(known["num_segments"], num_frames)
    try:
        return kind(**values)
    except ValidationError as error:
        raise UsageError("; ".join(_describe(problem, flags) for problem in error.errors())) from None


def _describe(problem: Any, flags: Mapping[str, Any]) -> str:
    """A problem in a line, with the setting's name in backticks if it was given as a flag."""
    name = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"unknown setting {name!r}"
    if not name:
        return str(problem["msg"]).removeprefix("Value error, ")
    shown = f"`{name}`" if flags.get(name) is not None else name
    if problem["type"] == "missing":
        return f"{shown} is missing"
    message = str(problem["msg"]).removeprefix("Value error, ")
    value = repr(problem["input"])
    value = value if len(value) <= MAX_SHOWN else f"{value[:MAX_SHOWN]}..."
    return f"{shown} {value}: {message[0].lower()}{message[1:]}"


def read_run_settings(run: RunFolder) -> FinetuneSettings:
    """The settings of an earlier run.

    Raises:
        IvideoError: its configuration cannot be read, or is none.
    """
    try:
        return merge_settings(FinetuneSettings, {}, read_toml(run.config), {})
    except UsageError as error:
        raise IvideoError(f"{run.config} is not a run's configuration: {error}") from None


def read_settings_file(path: Path, kind: type[Settings]) -> dict[str, Any]:
    """The settings of a TOML file, with names that the command knows.

    Raises:
        UsageError: an unknown name.
        IvideoError: the file cannot be read.
    """
    file = read_toml(path)
    known = {*kind.model_fields, "preset"}
    for name in file.keys() - known:
        close = difflib.get_close_matches(name, known, 1)
        advice = f"; did you mean {close[0]}?" if close else ""
        if name in FinetuneSettings.model_fields:
            advice = " for this command"
        raise UsageError(f"{path}: unknown setting {name!r}{advice}")
    return file
