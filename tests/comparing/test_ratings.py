"""Answers of several raters, counted by hand."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import pytest

from ivideo.comparing.rated_pairs import RatedPair, find_winners, write_ratings, write_winners
from ivideo.comparing.ratings import describe_votes, read_votes
from ivideo.errors import IvideoError, UsageError
from ivideo.progress import Silence
from ivideo.report.answers import KEY_NAME, name_key

# Candidate 0 is the baseline; it is on the right in bb and dd; aa and bb show the same prompt.
ITEMS = {
    "aa": {"row": 0, "prompt": "a cat", "seed": 0, "left": 0, "right": 1},
    "bb": {"row": 1, "prompt": "a cat", "seed": 1, "left": 1, "right": 0},
    "cc": {"row": 2, "prompt": "a dog", "seed": 0, "left": 0, "right": 1},
    "dd": {"row": 0, "prompt": "a cat", "seed": 0, "left": 2, "right": 0},
}
KEY = {"schema_version": 1, "study": "s1", "seed": 0, "contestants": ["base", "mine", "other"], "items": ITEMS}


def read_ratings(files: list[Path], folder: Path) -> dict[str, Any]:
    return describe_votes(*read_votes(files, folder))


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
    assert quality["counts"] == {"b": 3, "same": 1, "both_good": 0, "both_bad": 0, "a": 1}
    assert quality["ci"]["b"] == [None, None]  # of 2 prompts
    assert quality["agreement"]["alpha"] == pytest.approx(1 - (2 / 4) / (1 - 6 / 12))
    assert quality["agreement"]["percent"] == 0.5
    alignment = first["questions"]["alignment"]  # tie | a | a
    assert alignment["shares"] == {"b": 0.0, "tie": pytest.approx(1 / 3), "a": pytest.approx(2 / 3)}
    assert alignment["agreement"] == {"alpha": None, "percent": None}
    assert second["questions"]["quality"]["shares"] == {"b": 1.0, "tie": 0.0, "a": 0.0}
    assert second["questions"]["alignment"] is None
    strengths = [one["strength"] for one in result["strengths"]["quality"]]
    assert strengths == pytest.approx([0, math.log((3.5 + 0.5) / (1.5 + 0.5)), math.log(1.5 / 0.5)])
    assert [one["strength"] for one in result["strengths"]["alignment"]][2] is None
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


def test_both_good_and_both_bad_are_ties_that_are_told_apart(folder: Path) -> None:
    ann = write_answers(folder / "ann.json", "Ann", aa="both_good both_bad", bb="both_bad -", cc="tie right")
    (pair,) = read_ratings([ann], folder)["pairs"]
    quality, alignment = pair["questions"]["quality"], pair["questions"]["alignment"]
    assert quality["counts"] == {"b": 0, "both_good": 1, "same": 1, "both_bad": 1, "a": 0}
    assert quality["shares"] == {"b": 0.0, "tie": 1.0, "a": 0.0}
    assert alignment["shares"] == {"b": 0.5, "tie": 0.5, "a": 0.0}


def test_answers_to_an_earlier_page_are_read_with_its_own_key(folder: Path) -> None:
    ann = write_answers(folder / "ann.json", "Ann", aa="left left")
    (folder / KEY_NAME).rename(folder / name_key("s1"))
    (folder / KEY_NAME).write_text(json.dumps({**KEY, "study": "s2", "pairs": "all", "items": {}}))
    assert read_ratings([ann], folder)["study"] == "s1"
    (folder / name_key("s1")).unlink()
    with pytest.raises(IvideoError, match="answers another study: s1, not s2"):
        read_ratings([ann], folder)


@pytest.fixture
def results(folder: Path) -> dict[str, Any]:
    """Clips of three candidates in the three rows of `ITEMS`."""
    rows = []
    for row, prompt in enumerate(("a cat", "a cat", "a dog")):
        clips = [{"video": f"videos/{name}/{row}.mp4"} for name in "xyz"]
        for clip in clips:
            (folder / clip["video"]).parent.mkdir(parents=True, exist_ok=True)
            (folder / clip["video"]).write_text(clip["video"])
        rows.append({"prompt": prompt, "seed": row % 2, "clips": clips})
    return {"contestants": [{"name": name} for name in ("base", "mine", "other")], "rows": rows}


def test_ratings_leave_as_a_table_with_a_row_an_answer(folder: Path, results: dict[str, Any]) -> None:
    ann = write_answers(folder / "ann.json", "Ann, A.", aa="right both_bad", bb="right -")
    _, votes = read_votes([ann], folder)
    first, second, third = csv.DictReader(write_ratings(folder, results, votes).read_text().splitlines())
    about = {
        "rater": "Ann, A.",
        "item": "aa",
        "prompt": "a cat",
        "seed": "0",
        "a": "base",
        "b": "mine",
        "seconds": "3.0",
    }
    videos = {"video_a": "videos/x/0.mp4", "video_b": "videos/y/0.mp4"}
    assert first == {**about, **videos, "question": "quality", "answer": "b", "winner": "mine"}
    assert second == {**about, **videos, "question": "alignment", "answer": "both_bad", "winner": ""}
    assert (third["item"], third["answer"], third["winner"]) == ("bb", "a", "base")


def test_winners_and_losers_lie_under_the_same_names_with_their_prompts(folder: Path, results: dict[str, Any]) -> None:
    ann = write_answers(folder / "ann.json", "Ann", aa="right tie", bb="left right", cc="both_bad left", dd="left -")
    bob = write_answers(folder / "bob.json", "Bob", aa="right left", cc="tie left")
    _, votes = read_votes([ann, bob], folder)
    pairs = find_winners(votes)  # bb has as many answers for one as for the other
    assert pairs == [RatedPair(0, 1, 0, (2, 1, 1)), RatedPair(0, 2, 0, (1, 0, 0)), RatedPair(2, 0, 1, (2, 0, 2))]
    target = write_winners(folder, results, pairs, Silence())
    names = ["0000_a-cat", "0001_a-cat", "0002_a-dog"]
    for side in ("winner", "loser"):
        files = sorted(path.name for path in (target / side).iterdir())
        assert files == [f"{name}{suffix}" for name in names for suffix in (".mp4", ".txt")]
    assert (target / "winner" / "0001_a-cat.mp4").read_text() == "videos/z/0.mp4"
    assert (target / "loser" / "0002_a-dog.mp4").read_text() == "videos/y/2.mp4"
    assert (target / "loser" / "0002_a-dog.txt").read_text() == "a dog\n"
    record = json.loads((target / "pairs.jsonl").read_text().splitlines()[0])
    paths = {"chosen": "winner/0000_a-cat.mp4", "rejected": "loser/0000_a-cat.mp4"}
    about = {"prompt": "a cat", "seed": 0, "winner": "mine", "loser": "base"}
    assert record == {**about, **paths, "votes_winner": 2, "votes_loser": 1, "votes_tie": 1}
    write_winners(folder, results, pairs[:1], Silence())
    assert len([*target.rglob("*.mp4")]) == 2  # an earlier call's are gone
    assert write_winners(folder, results, [], Silence()) is None
    assert not target.exists()
