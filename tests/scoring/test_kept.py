"""A file of records is gone on with: nothing is scored twice, nothing is lost, and nothing foreign is touched."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ivideo.config.settings import ScoreSettings
from ivideo.errors import IvideoError, UsageError
from ivideo.scoring.kept import check_output, find_kept, go_on, lock_records
from ivideo.scoring.videos import tell_settings

SETTINGS = {"reward": ["r"], "num_segments": 4}


class Folder:
    """Five videos, and the file of their records."""

    def __init__(self, root: Path) -> None:
        self.output = root / "r.jsonl"
        self.videos = [(str(root / f"{k}.mp4"), None) for k in range(5)]
        for path, _ in self.videos:
            Path(path).touch()
            os.utime(path, (0, 0))
        self.lines = [json.dumps(self.record(k)) + "\n" for k in range(5)]

    def record(self, k: int, **changed: object) -> dict[str, Any]:
        path = self.videos[k][0]
        known = {"schema_version": 2, "path": path, "prompt": "a cat", "reward": int(Path(path).stem) / 3}
        return {**known, "error": None, "settings": SETTINGS, **changed}

    def go_on(self, overwrite: bool = False, stop_after: int | None = None) -> list[int]:
        """The videos that are scored."""
        kept = find_kept(self.output, self.videos, SETTINGS, overwrite=overwrite)
        left = [k for k in range(5) if kept.places[k] < 0]
        scored: list[int] = []

        def score() -> Iterator[dict[str, Any]]:
            for k in left:
                if len(scored) == stop_after:
                    raise IvideoError("cut off")
                scored.append(k)
                yield self.record(k)

        given = list(go_on(self.output, kept, score()))
        assert given == [self.record(k) for k in range(5)]
        assert self.output.read_text() == "".join(self.lines)
        return scored


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


@pytest.mark.parametrize("tail", ["", '{"sch', '{"schema_version": 2, "path": "x', "\0\0\0"])
@pytest.mark.parametrize("num_kept", [0, 3, 5])
def test_a_cut_off_call_goes_on_after_its_last_whole_record(folder: Folder, num_kept: int, tail: str) -> None:
    folder.output.write_text("".join(folder.lines[:num_kept]) + tail)
    assert folder.go_on() == list(range(num_kept, 5))
    assert folder.go_on() == []


def test_what_failed_or_changed_or_is_new_is_scored_in_its_place(folder: Folder) -> None:
    failed = json.dumps(folder.record(3, error="damaged")) + "\n"
    folder.output.write_text(folder.lines[0] + failed + folder.lines[2])  # 1 and 4 are new, the order another one
    os.utime(folder.videos[2][0], (2**31, 2**31))
    assert folder.go_on() == [1, 2, 3, 4]


def test_what_was_scored_stays_where_another_end_comes_early(folder: Folder) -> None:
    folder.output.write_text(folder.lines[3] + folder.lines[4])
    with pytest.raises(IvideoError, match="cut off"):
        folder.go_on(stop_after=2)
    assert folder.output.read_text() == "".join(folder.lines[k] for k in (0, 1, 3, 4))
    assert folder.go_on() == [2]
    assert sorted(path.name for path in folder.output.parent.glob("*.jsonl")) == ["r.jsonl"]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('{"prompt": "a cat"}', "line 1: no record of ivideo score"),
        ("# notes\n", "line 1: no record of ivideo score"),
        ({"settings": {"reward": ["r"], "num_segments": 8}}, "line 2: num_segments 8"),
        ({"path": "other.mp4"}, 'line 2: other.mp4 for "a cat"'),
    ],
)
def test_another_calls_file_is_left_alone(folder: Folder, content: str | dict[str, Any], reason: str) -> None:
    if isinstance(content, dict):
        content = folder.lines[0] + json.dumps(folder.record(1, **content)) + "\n"
    folder.output.write_text(content)
    with pytest.raises(IvideoError, match="is of another call") as caught:
        folder.go_on()
    assert reason in str(caught.value)
    assert "`overwrite` True" in str(caught.value)
    assert folder.output.read_text() == content
    assert folder.go_on(overwrite=True) == list(range(5))


def test_a_prompt_is_part_of_what_was_asked_for(folder: Folder) -> None:
    folder.output.write_text("".join(folder.lines))
    folder.videos = [(path, "a cat") for path, _ in folder.videos]
    assert folder.go_on() == []
    folder.videos[4] = (folder.videos[4][0], "a dog")
    with pytest.raises(IvideoError, match="line 5"):
        folder.go_on()


def test_a_video_that_is_listed_twice_has_two_records(folder: Folder) -> None:
    folder.videos[4] = folder.videos[0]
    folder.lines[4] = json.dumps(folder.record(4)) + "\n"
    folder.output.write_text(folder.lines[0])
    assert folder.go_on() == [1, 2, 3, 4]
    assert folder.go_on() == []


def test_two_calls_do_not_write_one_file(folder: Folder) -> None:
    with lock_records(folder.output), pytest.raises(IvideoError, match="is being written by another process"):
        lock_records(folder.output).__enter__()
    with lock_records(folder.output):
        pass
    assert not list(folder.output.parent.glob(".*"))


def test_records_are_kept_in_json_lines_only(tmp_path: Path) -> None:
    check_output(tmp_path / "r.jsonl")
    os.mkfifo(tmp_path / "x.jsonl")
    for output in ("r.csv", "-", "x.jsonl"):
        with pytest.raises(UsageError, match="`output`"):
            check_output(tmp_path / output)


def test_records_say_every_setting_that_their_numbers_depend_on() -> None:
    elsewhere = {"model", "seed", "device", "dtype", "batch_size"}  # where and how fast the same is computed
    settings = ScoreSettings(
        model="emoji-world", reward="emoji-preference", num_segments=4, attenuation_rate=1.0, background="white"
    )
    told = tell_settings(settings)
    assert set(told) == set(ScoreSettings.model_fields) - elsewhere
    assert told["background"] == "white"
