"""Files are whole or not there."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import pytest

from ivideo.errors import IvideoError
from ivideo.io.files import (
    JsonLines,
    atomic_folder,
    atomic_path,
    check_folder,
    copy_file,
    prepare_folder,
    write_json,
    write_text,
)


def test_atomic_path_lends_a_neighbour_with_the_same_suffix(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "clip.mp4"
    with atomic_path(target) as temporary:
        temporary.write_bytes(b"new")
        assert temporary.parent == target.parent
        assert temporary.suffix == ".mp4"
        assert not target.exists()
    assert target.read_bytes() == b"new"
    assert os.listdir(target.parent) == ["clip.mp4"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_atomic_path_leaves_the_old_file_on_any_error(tmp_path: Path, error: type[BaseException]) -> None:
    target = tmp_path / "a.txt"
    target.write_text("old")

    def fail_halfway() -> None:
        with atomic_path(target) as temporary:
            temporary.write_text("ha")
            raise error

    with pytest.raises(error):
        fail_halfway()
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_atomic_path_reports_a_full_disk_in_one_line(tmp_path: Path) -> None:
    def fill_disk() -> None:
        with atomic_path(tmp_path / "a.txt"):
            raise OSError(28, "No space left on device")

    with pytest.raises(IvideoError) as caught:
        fill_disk()
    assert str(caught.value) == f"cannot write {tmp_path / 'a.txt'}: No space left on device"


def test_written_files_get_the_usual_permissions(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.touch()
    assert write_text(tmp_path / "a.txt", "x").stat().st_mode == plain.stat().st_mode


def test_write_text_refuses_a_folder(tmp_path: Path) -> None:
    with pytest.raises(IvideoError, match="is a folder"):
        write_text(tmp_path, "x")
    assert os.listdir(tmp_path) == []


def test_write_text_names_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(IvideoError, match="a file is in the way"):
        write_text(tmp_path / "file" / "a.txt", "x")


def test_prepare_folder_makes_parents_and_leaves_nothing_inside(tmp_path: Path) -> None:
    folder = prepare_folder(tmp_path / "a" / "b")
    assert folder == tmp_path / "a" / "b"
    assert os.listdir(folder) == []


def test_prepare_folder_refuses_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(IvideoError, match="a file is in the way"):
        prepare_folder(tmp_path / "file")


def test_prepare_folder_notices_a_read_only_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(dir: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tempfile, "TemporaryFile", deny)
    with pytest.raises(IvideoError) as caught:
        prepare_folder(tmp_path)
    assert str(caught.value) == f"cannot write to folder {tmp_path}: Permission denied"


def test_write_json_keeps_unicode_and_ends_in_a_newline(tmp_path: Path) -> None:
    text = write_json(tmp_path / "a.json", {"prompt": "a 🐈 naïve"}).read_text(encoding="utf-8")
    assert text == '{\n  "prompt": "a 🐈 naïve"\n}\n'


def test_write_json_refuses_nan_and_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"loss": float("nan")})
    assert os.listdir(tmp_path) == []


def test_json_lines_are_readable_while_the_log_is_open(tmp_path: Path) -> None:
    path = tmp_path / "run" / "metrics.jsonl"
    with JsonLines(path) as log:
        log.write({"step": 1})
        assert path.read_text() == '{"step": 1}\n'
        log.write({"step": 2, "word": "é"})
    with JsonLines(path) as log:
        log.write({"step": 3})
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert records == [{"step": 1}, {"step": 2, "word": "é"}, {"step": 3}]


def test_json_lines_refuse_a_folder(tmp_path: Path) -> None:
    with pytest.raises(IvideoError, match="cannot write"):
        JsonLines(tmp_path)


def test_check_folder_creates_nothing(tmp_path: Path) -> None:
    assert check_folder(tmp_path / "a" / "b") == tmp_path / "a" / "b"
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ["file", "file/a/b"])
def test_check_folder_sees_a_file_in_the_way(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(IvideoError, match="a file is in the way"):
        check_folder(tmp_path / name)


def test_atomic_folder_appears_whole(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "a" / "b") as folder:
        (folder / "x").write_text("1")
        assert not (tmp_path / "a" / "b").exists()
    assert (tmp_path / "a" / "b" / "x").read_text() == "1"
    assert os.listdir(tmp_path / "a") == ["b"]


def test_atomic_folder_leaves_nothing_on_any_error(tmp_path: Path) -> None:
    def break_off() -> None:
        with atomic_folder(tmp_path / "a") as folder:
            (folder / "x").write_text("1")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        break_off()
    assert os.listdir(tmp_path) == []


def test_a_copy_is_the_same_bytes_or_not_there(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\0abc")
    assert copy_file(tmp_path / "a", tmp_path / "deep" / "b").read_bytes() == b"\0abc"
    with pytest.raises(IvideoError, match="No such file"):
        copy_file(tmp_path / "missing", tmp_path / "c")
    assert sorted(os.listdir(tmp_path)) == ["a", "deep"]
