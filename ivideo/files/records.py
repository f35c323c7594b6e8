"""Records on disk: JSON, logs of a JSON object a line, comma-separated values, and VBench's result files.

What can't be read or written raises an IvideoError, in one line.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel
from pydantic_core import from_json

from ivideo.errors import UsageError
from ivideo.files.atomic import explain_os_error, prepare_folder, refuse_links, write_text
from ivideo.files.reading import check_as, check_file


def write_json(path: Path, value: Any) -> Path:
    """Write a JSON file atomically, as strict JSON that every parser accepts.

    Args:
        path: the file to create or replace.
        value: what `json.dumps` takes; numbers must be finite.

    Raises:
        ValueError: `value` holds NaN or infinity, which JSON has no word for.
    """
    return write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_json_lines(path: Path, records: Iterable[Mapping[str, Any]]) -> Path:
    """Write a whole log atomically; `JsonLines` appends to it.

    Raises:
        ValueError: a record holds NaN or infinity.
    """
    return write_text(path, "".join(_to_line(record) for record in records))


def read_json_lines(path: Path, kind: type[BaseModel] | None = None) -> list[dict[str, Any]]:
    """The records of a log up to its end or its first line that is cut off or damaged; none where there is no file.

    Args:
        path: of the log.
        kind: what each record must say; None for anything.

    Raises:
        IvideoError: it cannot be read, or a whole line says something else; names the line.
    """
    if not os.path.lexists(path):
        return []
    records = []
    try:
        with check_file(path).open("rb") as lines:
            for number, line in enumerate(lines, 1):
                record = from_json(line, allow_inf_nan=False) if line.endswith(b"\n") else None
                if not isinstance(record, dict):
                    break
                if kind is not None:
                    check_as(kind, record, f"{path}, line {number},")
                records.append(record)
    except OSError as error:
        raise explain_os_error("read", path, error) from error
    except ValueError:  # what is no JSON or no UTF-8 ends the log as well
        pass
    return records


def _to_line(record: Mapping[str, Any]) -> str:
    return json.dumps(dict(record), ensure_ascii=False, allow_nan=False) + "\n"


class JsonLines(AbstractContextManager["JsonLines"]):
    """A log of JSON objects, one a line, that is appended to and can be read while it grows.

    with JsonLines(folder / "metrics.jsonl") as log:
        log.write({"step": 1, "loss": 0.9})
    """

    def __init__(self, path: Path) -> None:
        """Open the log, after its last line if it exists.

        Args:
            path: the file; its folder is created where missing.
        """
        self.path = path
        prepare_folder(path.parent)
        refuse_links([path])
        try:
            self._file = path.open("a", encoding="utf-8", newline="\n")
        except OSError as error:
            raise explain_os_error("write", path, error) from error

    def write(self, record: Mapping[str, Any]) -> None:
        """Append one line and flush it.

        Args:
            record: what `json.dumps` takes; numbers must be finite.

        Raises:
            ValueError: `record` holds NaN or infinity.
        """
        line = _to_line(record)
        try:
            self._file.write(line)
            self._file.flush()
        except OSError as error:
            raise explain_os_error("write", self.path, error) from error

    def sync(self) -> None:
        """Have all lines reach the disk."""
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise explain_os_error("write", self.path, error) from error

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Close the file; what a full disk did not take is told once."""
        try:
            self._file.close()
        except OSError as error:
            if kind is None:
                raise explain_os_error("write", self.path, error) from error


def write_csv(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write a table of comma-separated values atomically, with a line of column names first.

    Args:
        path: the file to create or replace.
        columns: their names, in order.
        rows: values by column; None becomes an empty cell.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return write_text(path, text.getvalue())


NEEDS_EVERY_FRAME = "`export` vbench needs every frame: leave `temporal` False (temporal = false) out"


class VBenchResults:
    """Collects records of `ivideo score`: {dimension: [mean, [{"video_path": ..., "video_results": ...}, ...]]}.

    A dynamic degree is true or false for a video, and the share of dynamic videos for all, as in VBench. Its subject
    consistency weighs videos by their length; here every mean is over videos.
    """

    def __init__(self, dimensions: Mapping[str, str]) -> None:
        """Begin without a record.

        Args:
            dimensions: VBench's dimension, and the field of a record that it is.
        """
        self._fields = dimensions
        self._rows: dict[str, list[dict[str, Any]]] = {dimension: [] for dimension in dimensions}

    def add(self, record: Mapping[str, Any]) -> None:
        """Take a record; a video that could not be scored is left out, and so is a figure that is null.

        Raises:
            UsageError: not every frame was read, so that there are no figures over time.
        """
        if record["error"] is None and all(record[name] is None for name in self._fields.values()):
            raise UsageError(NEEDS_EVERY_FRAME)
        for dimension, name in self._fields.items():
            if record[name] is not None:
                self._rows[dimension].append({"video_path": record["path"], "video_results": record[name]})

    def results(self) -> dict[str, list[Any]]:
        """The results; a dimension that no video has is left out."""
        return {
            dimension: [float(np.mean([row["video_results"] for row in rows])), rows]
            for dimension, rows in self._rows.items()
            if rows
        }

    def write(self, path: Path) -> Path:
        """Write them as JSON, whole or not at all."""
        return write_json(path, self.results())
