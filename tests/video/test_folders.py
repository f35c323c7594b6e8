"""Folders of pictures: their order, and what is wrong with them; and which videos a path means."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ivideo.errors import IvideoError
from ivideo.video.folders import describe_left_out, describe_numbering, find_videos, list_frames
from ivideo.video.pictures import read_picture
from ivideo.video.reader import read_video


def save(path: Path, level: int = 0, size: tuple[int, int] = (6, 4)) -> None:
    path.parent.mkdir(exist_ok=True)
    Image.new("RGB", size, (level, level, level)).save(path)


def test_numbers_count_as_numbers(tmp_path: Path) -> None:
    names = ["frame1.png", "frame2.PNG", "frame3.jpg", "frame10.png", "frame010.jpeg", "frame100.png"]
    for name in [*names[::-1], ".frame4.png", "._frame1.png", "notes.txt"]:
        (tmp_path / name).touch()
    (tmp_path / "frame5.png").mkdir()
    assert [path.name for path in list_frames(tmp_path)] == [*names[:3], "frame010.jpeg", "frame10.png", names[-1]]


def test_pictures_are_frames_in_that_order(tmp_path: Path) -> None:
    for level in (0, 2, 10, 30):
        save(tmp_path / f"{level}.png", level)
    video = read_video(tmp_path)
    assert video.frames.shape == (4, 4, 6, 3)
    assert video.frames[:, 0, 0, 0].tolist() == [0, 2, 10, 30]
    assert (video.fps, read_video(tmp_path, folder_fps=24).fps) == (8.0, 24)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "LA"])
def test_other_kinds_of_pixels_become_rgb(tmp_path: Path, mode: str) -> None:
    Image.new("L", (6, 4), 255).convert(mode).save(tmp_path / "1.png")
    picture = read_picture(tmp_path / "1.png")
    assert (picture.shape, picture.dtype, picture.min()) == ((4, 6, 3), np.uint8, 255)


def test_more_than_eight_bits_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 6), 40_000, np.uint16)).save(tmp_path / "1.png")
    with pytest.raises(IvideoError, match=r"1\.png has pixels of kind I;16: save it with 8 bits a channel"):
        read_video(tmp_path)


def test_a_photo_is_turned_upright(tmp_path: Path) -> None:
    photo = Image.fromarray(np.arange(24, dtype=np.uint8).reshape(4, 6)).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by a quarter
    photo.save(tmp_path / "1.png", exif=exif)
    assert np.array_equal(read_picture(tmp_path / "1.png"), np.rot90(np.asarray(photo), -1))


def test_a_picture_of_another_size_is_named(tmp_path: Path) -> None:
    save(tmp_path / "1.png")
    save(tmp_path / "2.png", size=(8, 4))
    with pytest.raises(IvideoError, match=r"2\.png has 8 x 4 pixels, the pictures before it have 6 x 4"):
        read_video(tmp_path)


def test_a_damaged_picture_is_named(tmp_path: Path) -> None:
    save(tmp_path / "1.png")
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "2.png")
    os.truncate(tmp_path / "2.png", 3000)
    with pytest.raises(IvideoError, match=r"2\.png is damaged or not a picture: ") as caught:
        read_video(tmp_path)
    assert str(caught.value).count("2.png") == 1


def test_a_folder_of_anything_else_is_no_video(tmp_path: Path) -> None:
    with pytest.raises(IvideoError, match=r"is a folder without videos and without frames \(\.png, \.jpg, \.jpeg"):
        read_video(tmp_path)
    save(tmp_path / "contact_sheet.png")
    (tmp_path / "a.webm").touch()
    with pytest.raises(IvideoError, match="is a folder of both videos and pictures"):
        read_video(tmp_path)


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


def test_what_is_read_by_its_content_where_the_name_leaves_it_open(tmp_path: Path) -> None:
    (tmp_path / "code.ts").write_text("export const a = 1")
    (tmp_path / "film.ts").write_bytes(b"G" + bytes(187))
    pictures = [Image.new("RGB", (6, 4), colour) for colour in ("red", "blue")]
    pictures[0].save(tmp_path / "still.webp")
    pictures[0].save(tmp_path / "film.webp", save_all=True, append_images=pictures[1:])
    assert names(find_videos(tmp_path)) == ["film.ts", "film.webp"]
    assert describe_left_out(tmp_path, find_videos(tmp_path)) == f"{tmp_path}: not read: 1 .ts, 1 .webp"
    assert read_video(tmp_path / "film.webp").frames.shape == (2, 4, 6, 3)


def test_what_a_folder_holds_besides_is_counted(folder: Path) -> None:
    videos = find_videos(folder)
    assert describe_left_out(folder, videos) == f"{folder}: not read: 1 .png, 1 folder"
    assert describe_left_out(folder / "frames", [folder / "frames"]) is None
    os.mkfifo(folder / "pipe.mp4")
    assert describe_left_out(folder, find_videos(folder)) == f"{folder}: not read: 1 .mp4, 1 .png, 1 folder"


@pytest.mark.parametrize(
    ("stems", "notes"),
    [
        ("1 2 3", []),
        ("f_0000 f_0010 f_0020", []),
        ("a b", ["frames of 2 kinds of names ('a', 'b') are one video, in the order of their names"]),
        ("a_1 b_1", ["frames of 2 kinds of names ('a_', 'b_') are one video, in the order of their names"]),
        ("01 1 2", ["01.png and 1.png have the same number, and both are frames"]),
        ("f1 f2 f9", ["frames are missing by their numbers (6, from f2.png to f9.png); the others are joined"]),
        (
            "1 2 4 6 8 10 11",
            [
                "frames are missing by their numbers (4, from 2.png to 4.png, 4.png to 6.png, 6.png to 8.png and 1 "
                "more gaps); the others are joined"
            ],
        ),
        ("0_1.5 1_2.5 2_3.5", []),
    ],
)
def test_gaps_in_numbers_are_named(stems: str, notes: list[str]) -> None:
    assert describe_numbering([Path(f"{stem}.png") for stem in stems.split()]) == notes
