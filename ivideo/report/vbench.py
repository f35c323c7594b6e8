"""Scores in the shape of VBench's result files, for tools that read those."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ivideo.errors import UsageError
from ivideo.files.records import write_json

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
        """Write them as JSON, whole or not at all.

        Raises:
            IvideoError: the file can't be written.
        """
        return write_json(path, self.results())
