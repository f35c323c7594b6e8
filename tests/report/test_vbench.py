"""VBench's shape: {dimension: [mean, [{"video_path": ..., "video_results": ...}]]}."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ivideo.errors import UsageError
from ivideo.files.records import VBenchResults

DIMENSIONS = {
    "temporal_flickering": "flicker",
    "motion_smoothness_proxy": "motion_smoothness_proxy",
    "dynamic_degree": "is_dynamic",
    "subject_consistency_by_judge": "consistency",
}


def make_record(path: str, value: float | None, is_dynamic: bool | None) -> dict[str, Any]:
    return {
        "path": path,
        "error": "damaged" if value is None else None,
        "flicker": value,
        "motion_smoothness_proxy": value,
        "is_dynamic": is_dynamic,
        "consistency": None,
        "reward": value,
    }


def test_the_shape_the_means_and_the_honest_names(tmp_path: Path) -> None:
    results = VBenchResults(DIMENSIONS)
    for record in (
        make_record("a.mp4", 0.5, True),
        make_record("bad.mp4", None, None),
        make_record("b.mp4", 1.0, False),
    ):
        results.add(record)
    rows = [{"video_path": "a.mp4", "video_results": 0.5}, {"video_path": "b.mp4", "video_results": 1.0}]
    assert json.loads(results.write(tmp_path / "new" / "x.json").read_text()) == {
        "temporal_flickering": [0.75, rows],
        "motion_smoothness_proxy": [0.75, rows],
        "dynamic_degree": [
            0.5,
            [{"video_path": "a.mp4", "video_results": True}, {"video_path": "b.mp4", "video_results": False}],
        ],
    }


def test_a_video_without_figures_over_time_is_an_error() -> None:
    with pytest.raises(UsageError, match="needs every frame"):
        VBenchResults(DIMENSIONS).add({**make_record("a.mp4", None, None), "error": None})


def test_no_video_gives_no_dimension() -> None:
    assert VBenchResults(DIMENSIONS).results() == {}
