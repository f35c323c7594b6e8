"""Files are whole or not there."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import pytest
from safetensors import SafetensorError

from ivideo.errors import IvideoError
from ivideo.files.atomic import (
    AlreadyThereError,
    atomic_folder,
    atomic_path,
    check_folder,
    copy_file,
    prepare_folder,
    refuse_links,
    remove_folder,
    sweep_temporaries,
    temporary_folder,
    write_text,
)
from ivideo.files.records import JsonLines, read_json_lines, write_json, write_json_lines


def test_atomic_path_lends_a_neighbour_with_the_same_suffix(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "clip.mp4"
    with atomic_path(target) as temporary:
        temporary.write_bytes(b"new")
        assert temporary.parent == target.parent
        assert temporary.suffix == ".mp4"
        assert not target.exists()
    assert target.read_bytes() == b"new"
    assert os.listdir(target.parent) == ["clip.mp4"]


@pytest.mark.parametrize("has_links", [True, False])
def test_of_two_that_write_a_new_file_one_succeeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_links: bool
) -> None:
    def fail(source: Path, target: Path) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    if not has_links:
        monkeypatch.setattr(os, "link", fail)
    target = tmp_path / "a.txt"

    def write_while_another_does() -> None:
        with atomic_path(target, replace=False) as slow:
            with atomic_path(target, replace=False) as quick:
                quick.write_text("quick")
            slow.write_text("slow")

    with pytest.raises(AlreadyThereError, match="is there already"):
        write_while_another_does()
    assert target.read_text() == "quick"
    assert os.listdir(tmp_path) == ["a.txt"]


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


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), SafetensorError("No space left on device")])
@pytest.mark.parametrize("lend", [atomic_path, atomic_folder])
def test_a_full_disk_is_reported_in_one_line(tmp_path: Path, lend: Any, error: Exception) -> None:
    with pytest.raises(IvideoError) as caught, lend(tmp_path / "a.txt"):
        raise error
    assert str(caught.value) == f"cannot write {tmp_path / 'a.txt'}: No space left on device"
    assert os.listdir(tmp_path) == []


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


def replace_folder(path: Path) -> None:
    with atomic_folder(path, replace=True) as folder:
        (folder / "new").write_text("2")


def test_atomic_folder_replaces_only_if_asked_to(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "old").write_text("1")
    with pytest.raises(IvideoError, match=r"cannot write .*not empty"), atomic_folder(tmp_path / "a"):
        pass
    assert os.listdir(tmp_path / "a") == ["old"]
    replace_folder(tmp_path / "a")
    assert os.listdir(tmp_path / "a") == ["new"]
    assert os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("failing_call", [1, 2])
def test_a_folder_that_cannot_be_replaced_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing_call: int
) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "old").write_text("1")
    rename, calls = os.rename, []

    def fail_once(source: Path, target: Path) -> None:
        calls.append(target)
        if len(calls) == failing_call:
            raise OSError(28, "No space left on device")
        rename(source, target)

    monkeypatch.setattr(os, "rename", fail_once)
    with pytest.raises(IvideoError, match="No space left"):
        replace_folder(tmp_path / "a")
    assert os.listdir(tmp_path / "a") == ["old"]
    assert os.listdir(tmp_path) == ["a"]


def test_atomic_folder_reaches_the_disk_before_it_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync, flushed = os.fsync, []

    def note(descriptor: int) -> None:
        flushed.append((os.readlink(f"/proc/self/fd/{descriptor}"), (tmp_path / "a").exists()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    with atomic_folder(tmp_path / "a") as folder:
        (folder / "x").write_text("1")
    assert flushed == [(str(folder / "x"), False), (str(folder), False), (str(tmp_path), True)]


def test_a_removed_folder_is_gone_as_a_whole(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    remove_folder(tmp_path / "a")
    assert os.listdir(tmp_path) == []
    with pytest.raises(IvideoError, match="cannot remove"):
        remove_folder(tmp_path / "a")


def test_what_a_killed_process_left_is_swept(tmp_path: Path) -> None:
    (tmp_path / "a" / ".ivideo-1").mkdir(parents=True)
    (tmp_path / "a" / ".ivideo-1" / "x").write_text("half")
    (tmp_path / "a" / ".ivideo-2.json").write_text("half")
    (tmp_path / "a" / "whole.json").write_text("{}")
    sweep_temporaries(tmp_path)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "whole.json"]


@pytest.mark.parametrize("end", ['{"step": 3', '{"step": 3}', "3\n", "no\n", "\udcff\n"])
def test_a_log_is_read_up_to_where_it_was_cut_off(tmp_path: Path, end: str) -> None:
    path = write_json_lines(tmp_path / "a.jsonl", [{"step": 1, "loss": 0.1}, {"step": 2, "loss": None}])
    path.write_bytes(path.read_bytes() + end.encode(errors="surrogateescape"))
    records = read_json_lines(path)
    assert records == [{"step": 1, "loss": 0.1}, {"step": 2, "loss": None}]
    assert write_json_lines(path, records).read_text() == '{"step": 1, "loss": 0.1}\n{"step": 2, "loss": null}\n'
    assert read_json_lines(tmp_path / "missing.jsonl") == []


def test_nothing_is_written_or_deleted_through_links(tmp_path: Path) -> None:
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    (outside / "folder").mkdir(parents=True)
    (outside / "folder" / "a.txt").write_text("precious")
    inside.mkdir()
    for name in ("folder", ".ivideo-1", "removed", "a.txt", "log"):
        (inside / name).symlink_to(outside / "folder" / ("a.txt" if name in ("a.txt", "log") else ""))
    with pytest.raises(IvideoError, match="folder is a symbolic link: nothing is written through links"):
        refuse_links([inside / "missing", inside / "folder"])
    with pytest.raises(IvideoError, match="log is a symbolic link"):
        JsonLines(inside / "log")
    write_text(inside / "a.txt", "own")
    sweep_temporaries(inside)
    remove_folder(inside / "removed")
    replace_folder(inside / "folder")
    assert sorted(path.name for path in inside.iterdir() if not path.is_symlink()) == ["a.txt", "folder"]
    assert [path.read_text() for path in outside.rglob("*.txt")] == ["precious"]


def test_a_log_that_the_disk_does_not_take_is_told_once(tmp_path: Path) -> None:
    log = JsonLines(tmp_path / "a.jsonl")
    log._file = open("/dev/full", "a", encoding="utf-8")
    with pytest.raises(IvideoError, match=r"cannot write .*a\.jsonl: No space left on device"), log:
        log.write({"step": 1})


def test_no_place_for_temporary_files_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    with (
        pytest.raises(IvideoError, match="cannot make a temporary folder: No such file or directory; TMPDIR can"),
        temporary_folder("x-"),
    ):
        pass
