"""What a path means: itself, what lies in it, or what it is a pattern of."""

from __future__ import annotations

from pathlib import Path

import pytest

from ivideo.video.folders import find_videos


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    names = [
        "b10.mp4",
        "b2.webm",
        "B3.MOV",
        "a.gif",
        "a.json",
        "sheet.png",
        ".hidden.mp4",
        "frames/1.png",
        "other/x.txt",
    ]
    for name in names:
        path = tmp_path / "videos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "videos"


def names(paths: list[Path]) -> list[str]:
    return [path.name for path in paths]


def test_a_folder_of_videos_is_each_of_them_in_natural_order(folder: Path) -> None:
    assert names(find_videos(folder)) == ["B3.MOV", "a.gif", "b2.webm", "b10.mp4", "frames"]


def test_a_folder_of_frames_is_one_video(folder: Path) -> None:
    assert find_videos(folder / "frames") == [folder / "frames"]


def test_a_file_is_itself_whatever_its_name_and_there_or_not(folder: Path) -> None:
    for name in ("a.json", "nothing.mp4"):
        assert find_videos(folder / name) == [folder / name]


def test_a_pattern_is_what_it_matches(folder: Path) -> None:
    assert names(find_videos(folder / "b*")) == ["b2.webm", "b10.mp4"]
    assert names(find_videos(folder / "b?.webm")) == ["b2.webm"]
    assert names(find_videos(folder / "fram*")) == ["frames"]
    assert names(find_videos(folder.parent / "vid*")) == names(find_videos(folder))
    assert names(find_videos(folder.parent / "**" / "*.gif")) == ["a.gif"]


def test_a_file_with_a_pattern_as_its_name_is_itself(folder: Path) -> None:
    (folder / "b[2].webm").touch()
    assert names(find_videos(folder / "b[2].webm")) == ["b[2].webm"]


def test_what_means_nothing_is_given_back_for_the_reader_to_tell(folder: Path) -> None:
    for name in ("other", "*.mkv"):
        assert find_videos(folder / name) == [folder / name]
