"""Tables of comma-separated values."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ivideo.io.files import write_text


def write_csv(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> Path:
    """Write a table of comma-separated values atomically, with a line of column names first.

    Args:
        path: the file to create or replace.
        columns: their names, in order.
        rows: values by column; None becomes an empty cell.

    Returns:
        The same path.

    Raises:
        IvideoError: the file can't be written.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return write_text(path, text.getvalue())
