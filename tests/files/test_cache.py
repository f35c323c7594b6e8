"""A changed video is always noticed, an unchanged one is not read again; and where that is remembered."""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from ivideo.errors import IvideoError
from ivideo.files import cache as content_hashes
from ivideo.files.cache import ContentHashes, find_cache_folder
from ivideo.video.folders import list_content


def sha256(*parts: bytes) -> str:
    return hashlib.sha256(b"".join(parts)).hexdigest()


@pytest.fixture
def hashes(tmp_path: Path) -> ContentHashes:
    return ContentHashes(tmp_path / "hashes", list_content)


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"first")
    return path


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Every video whose content is read, as it happens."""
    seen: list[Path] = []
    whole = content_hashes.hash_content

    def hash_content(path: Path, *list_files: Any) -> str:
        seen.append(path)
        return whole(path, *list_files)

    monkeypatch.setattr(content_hashes, "hash_content", hash_content)
    return seen


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten seconds later: files that are written now have been as they are for long."""
    now = time.time_ns
    monkeypatch.setattr(content_hashes.time, "time_ns", lambda: now() + 10**10)


@pytest.mark.usefixtures("settled")
def test_an_unchanged_file_is_read_once(hashes: ContentHashes, video: Path, reads: list[Path]) -> None:
    assert [hashes.find(video), hashes.find(video)] == [sha256(b"first")] * 2
    assert ContentHashes(hashes.folder).find(video) == sha256(b"first")
    assert reads == [video]


@pytest.mark.usefixtures("settled")
def test_a_change_that_keeps_size_and_time_is_noticed(hashes: ContentHashes, video: Path) -> None:
    before = video.stat()
    hashes.find(video)
    with video.open("rb+") as file:
        file.write(b"other")
    os.utime(video, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = video.stat()
    assert (after.st_size, after.st_mtime_ns, after.st_ino) == (before.st_size, before.st_mtime_ns, before.st_ino)
    assert hashes.find(video) == sha256(b"other")


@pytest.mark.usefixtures("settled")
def test_a_file_that_takes_anothers_place_is_noticed(hashes: ContentHashes, video: Path) -> None:
    hashes.find(video)
    other = video.with_name("b.mp4")
    other.write_bytes(b"other")
    shutil.copystat(video, other)
    other.replace(video)
    assert hashes.find(video) == sha256(b"other")


def test_a_file_that_changed_just_now_is_always_read(hashes: ContentHashes, video: Path, reads: list[Path]) -> None:
    hashes.find(video)
    hashes.find(video)
    assert reads == [video, video]
    assert not hashes.folder.exists()


def test_a_change_while_it_is_read_is_an_error(
    hashes: ContentHashes, video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = content_hashes.hash_content

    def hash_and_change(path: Path, *list_files: Any) -> str:
        found = whole(path, *list_files)
        path.write_bytes(b"longer than before")
        return found

    monkeypatch.setattr(content_hashes, "hash_content", hash_and_change)
    with pytest.raises(IvideoError, match=r"a\.mp4 changed while it was read$"):
        hashes.find(video)


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b'{"stamps": []}', b"\xff"])
def test_a_damaged_memory_is_no_matter(hashes: ContentHashes, video: Path, damage: bytes) -> None:
    hashes.find(video)
    (memory,) = hashes.folder.iterdir()
    memory.write_bytes(damage)
    assert hashes.find(video) == sha256(b"first")


@pytest.mark.usefixtures("settled")
def test_a_memory_that_cannot_be_written_is_no_matter(video: Path, reads: list[Path]) -> None:
    hashes = ContentHashes(video / "no folder")
    assert [hashes.find(video), hashes.find(video)] == [sha256(b"first")] * 2
    assert len(reads) == 2


@pytest.mark.usefixtures("settled")
def test_a_folder_is_its_pictures_in_their_order(hashes: ContentHashes, tmp_path: Path, reads: list[Path]) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for name, content in (("10.png", b"b"), ("9.png", b"a"), ("notes.txt", b"no")):
        (folder / name).write_bytes(content)
    assert [hashes.find(folder), hashes.find(folder)] == [sha256(b"a", b"b")] * 2
    assert len(reads) == 1
    (folder / "10.png").rename(folder / "8.png")
    assert hashes.find(folder) == sha256(b"b", b"a")
    (folder / "9.png").unlink()
    assert hashes.find(folder) == sha256(b"b")


def test_a_missing_file_is_named(hashes: ContentHashes, tmp_path: Path) -> None:
    with pytest.raises(IvideoError, match=r"^.*nothing\.mp4 does not exist$"):
        hashes.find(tmp_path / "nothing.mp4")


@pytest.mark.parametrize(
    ("own", "shared", "expected"),
    [
        ("/mine", "/shared", "/mine"),
        ("~/mine", "", "{home}/mine"),
        ("", "/shared", "/shared/ivideo"),
        (None, None, "{home}/.cache/ivideo"),
    ],
)
def test_the_cache_is_where_people_say(monkeypatch: pytest.MonkeyPatch, own, shared, expected: str) -> None:
    for name, value in (("IVIDEO_CACHE", own), ("XDG_CACHE_HOME", shared)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    assert find_cache_folder() == Path(expected.format(home=Path.home()))


def test_without_a_home_it_says_what_names_a_place(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("IVIDEO_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)

    def lose(self: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", lose)
    with pytest.raises(IvideoError, match="no home folder to keep a cache in: IVIDEO_CACHE can name another place"):
        find_cache_folder()
