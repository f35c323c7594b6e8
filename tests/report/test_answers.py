"""Answers files and keys: what is wrong with one is said in one line that names it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ivideo.errors import IvideoError
from ivideo.report.answers import KEY_NAME, Placement, RatingKey, read_answers, read_key

KEY = RatingKey(
    study="s1",
    seed=0,
    contestants=["base", "mine"],
    items={"aa": Placement(row=0, prompt="a cat", seed=0, left=0, right=1)},
)


def make_answers(**changes: Any) -> dict[str, Any]:
    ratings = [{"id": "aa", "quality": "left", "alignment": None, "seconds": 2.5}]
    head = {"kind": "ivideo-ratings", "schema_version": 1, "study": "s1", "rater": "Ann"}
    return {**head, "saved": "2026-11-25T13:00:00.000Z", "ratings": ratings, **changes}


def write(path: Path, content: Any) -> Path:
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_answers_and_key_come_back_as_they_were(tmp_path: Path) -> None:
    write(tmp_path / KEY_NAME, KEY.model_dump())
    assert read_key(tmp_path) == KEY
    answers = read_answers(write(tmp_path / "ann.json", make_answers(rater=" Ann ")), KEY)
    assert answers.rater == "Ann"
    assert answers.saved_utc.isoformat() == "2026-11-25T13:00:00+00:00"
    assert answers.ratings[0].model_dump() == make_answers()["ratings"][0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("not json", "is not an answers file of a rating page: Invalid JSON"),
        ("[]", "is not an answers file of a rating page: "),
        ({"kind": "other"}, "is not an answers file of a rating page: kind: "),
        (make_answers(study="s2"), "answers another study: s2, not s1"),
        (make_answers(study="../s1"), "study: "),
        (make_answers(rater="  "), "rater: "),
        (make_answers(saved="yesterday"), "saved: "),
        (
            make_answers(ratings=[{"id": "bb", "quality": "tie", "alignment": "tie", "seconds": 1}]),
            "rates an item that the study does not have: bb",
        ),
        (
            make_answers(ratings=[{"id": "aa", "quality": "both", "alignment": "tie", "seconds": 1}]),
            "ratings.0.quality: Input should be 'left', 'right', 'tie', 'both_good' or 'both_bad'",
        ),
        (
            make_answers(ratings=[{"id": "aa", "quality": "tie", "alignment": None, "seconds": -1}]),
            "ratings.0.seconds: ",
        ),
    ],
)
def test_what_is_wrong_with_a_file_is_one_line_that_names_it(content: Any, message: str, tmp_path: Path) -> None:
    path = write(tmp_path / "ann.json", content)
    with pytest.raises(IvideoError) as caught:
        read_answers(path, KEY)
    assert str(path) in str(caught.value)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"contestants": ["base"]}, "an item is of a candidate that is not there"),
        ({"items": {"aa": [1]}}, "items.aa: "),
        ({"seed": "x" * 9}, "seed: Input should be a valid integer"),
    ],
)
def test_a_damaged_key_is_named(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    write(tmp_path / KEY_NAME, {**KEY.model_dump(), **changes})
    with pytest.raises(IvideoError, match=f"{KEY_NAME} is not a key of a rating page: .*{message}"):
        read_key(tmp_path)


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(IvideoError, match=r"ann\.json does not exist"):
        read_answers(tmp_path / "ann.json", KEY)
    with pytest.raises(IvideoError, match=r"has no rating_key\.json: answers are read with the key of the page"):
        read_key(tmp_path)
