"""Answers of several raters, counted by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ivideo.comparing.results import read_ratings
from ivideo.errors import IvideoError, UsageError
from ivideo.report.rating_page import KEY_NAME

# Candidate 0 is the baseline; it is on the right in bb and dd; aa and bb show the same prompt.
ITEMS = {
    "aa": {"row": 0, "prompt": "a cat", "seed": 0, "left": 0, "right": 1},
    "bb": {"row": 1, "prompt": "a cat", "seed": 1, "left": 1, "right": 0},
    "cc": {"row": 2, "prompt": "a dog", "seed": 0, "left": 0, "right": 1},
    "dd": {"row": 0, "prompt": "a cat", "seed": 0, "left": 2, "right": 0},
}
KEY = {"schema_version": 1, "study": "s1", "seed": 0, "contestants": ["base", "mine", "other"], "items": ITEMS}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / KEY_NAME).write_text(json.dumps(KEY))
    return tmp_path


def write_answers(path: Path, rater: str, saved: str = "2026-11-25T13:00:00Z", **sides: Any) -> Path:
    """An answers file; `aa="left tie"` is quality and alignment, `-` no answer."""
    ratings = []
    for name, both in sides.items():
        quality, alignment = (None if side == "-" else side for side in both.split())
        ratings.append({"id": name, "quality": quality, "alignment": alignment, "seconds": 3})
    head = {"kind": "ivideo-ratings", "schema_version": 1, "study": "s1", "rater": rater, "saved": saved}
    path.write_text(json.dumps({**head, "ratings": ratings}))
    return path


def test_sides_become_candidates(folder: Path) -> None:
    ann = write_answers(folder / "ann.json", "Ann", aa="right tie", bb="left right", cc="tie left")
    bob = write_answers(folder / "bob.json", "Bob", aa="right -", bb="right -", dd="left -")
    result = read_ratings([ann, bob], folder)
    assert (result["study"], result["num_raters"], result["num_ratings"]) == ("s1", 2, 6)
    first, second = result["pairs"]
    assert (first["a"], first["b"], second["a"], second["b"]) == (0, 1, 0, 2)
    quality = first["questions"]["quality"]  # b b | b a | tie
    assert (quality["num_votes"], quality["num_items"], quality["num_prompts"]) == (5, 3, 2)
    assert quality["shares"] == {"b": 0.6, "tie": 0.2, "a": 0.2}
    assert quality["ci"]["b"] == [0.0, 0.75]  # only the dog, only the cat
    assert quality["agreement"]["alpha"] == pytest.approx(1 - (2 / 4) / (1 - 6 / 12))
    assert quality["agreement"]["percent"] == 0.5
    alignment = first["questions"]["alignment"]  # tie | a | a
    assert alignment["shares"] == {"b": 0.0, "tie": pytest.approx(1 / 3), "a": pytest.approx(2 / 3)}
    assert alignment["agreement"] == {"alpha": None, "percent": None}
    assert second["questions"]["quality"]["shares"] == {"b": 1.0, "tie": 0.0, "a": 0.0}
    assert second["questions"]["alignment"] is None
    json.dumps(result, allow_nan=False)


def test_what_a_rater_saved_last_counts_whatever_the_order_of_files(folder: Path) -> None:
    early = write_answers(folder / "1.json", "Ann", "2026-11-25T13:00:00Z", aa="left left", bb="left left")
    late = write_answers(folder / "2.json", " ann", "2026-11-25T15:00:00+01:00", aa="right tie")
    for files in ([early, late], [late, early]):
        result = read_ratings(files, folder)
        assert (result["num_raters"], result["num_ratings"]) == (1, 2)
        assert result["pairs"][0]["questions"]["quality"]["shares"] == {"b": 1.0, "tie": 0.0, "a": 0.0}
        assert result["pairs"][0]["questions"]["alignment"]["shares"] == {"b": 0.5, "tie": 0.5, "a": 0.0}


def test_no_files_or_no_answers_are_wrong_usage(folder: Path) -> None:
    with pytest.raises(UsageError, match="no ratings"):
        read_ratings([], folder)
    with pytest.raises(UsageError, match="hold no answers yet"):
        read_ratings([write_answers(folder / "ann.json", "Ann", aa="- -")], folder)


def test_bad_file_among_good_ones_is_named(folder: Path) -> None:
    good = write_answers(folder / "ann.json", "Ann", aa="left left")
    bad = write_answers(folder / "bob.json", "Bob", zz="left left")
    with pytest.raises(IvideoError, match=r"bob\.json rates an item that the study does not have: zz"):
        read_ratings([good, bad], folder)
