"""What a video should show: which of the things that may say it counts."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ivideo.errors import IvideoError, UsageError
from ivideo.video.captions import Captions, find_prompt
from ivideo.video.reader import VideoReader, open_video


def make_reader(path: Path, **said: object) -> VideoReader:
    return VideoReader(path, 1, 8.0, 16, 24, {**said}, lambda _: iter(()))


def write_captions(path: Path, text: str) -> Captions:
    path.write_text(text)
    return Captions(path)


def test_what_counts_first_is_captions_then_the_video_then_the_text_then_the_name(tmp_path: Path) -> None:
    video = tmp_path / "a cat-0.mp4"
    captions = write_captions(tmp_path / "captions.json", '{"a cat-0.mp4": "a pig"}')
    (tmp_path / "a cat-0.txt").write_text("\ufeffa dog\n\non the beach\n")
    reader = make_reader(video, prompt="a fox")
    assert find_prompt(reader, captions) == "a pig"
    assert find_prompt(reader) == "a fox"
    assert reader.notes == [f"left alone: {video.with_suffix('.txt')} says another prompt"]
    reader = make_reader(video, prompt=" ")
    assert (find_prompt(reader), reader.notes) == ("a dog on the beach", [])
    (tmp_path / "a cat-0.txt").unlink()
    assert (find_prompt(reader), reader.notes) == ("a cat", ["its prompt is from its name"])


@pytest.mark.parametrize(
    ("name", "prompt"),
    [
        ("a cat-0.mp4", "a cat"),
        ("a t-shirt-12.mp4", "a t-shirt"),
        ("alley-3.mp4", None),
        ("a cat.mp4", None),
        ("a cat-01.mp4", None),
        ("clip-0.mp4", None),
    ],
)
def test_only_a_name_as_vbench_gives_it_is_a_prompt(tmp_path: Path, name: str, prompt: str | None) -> None:
    assert find_prompt(make_reader(tmp_path / name)) == prompt


def test_a_word_is_a_prompt_in_a_folder_of_vbench(tmp_path: Path) -> None:
    (tmp_path / "a cat-0.mp4").touch()
    assert find_prompt(make_reader(tmp_path / "alley-3.mp4")) == "alley"


@pytest.mark.parametrize("name", ["1", "1.mp4", "b/1.mp4", "./b/1", "a/b/1.mp4"])
def test_captions_know_a_video_by_the_end_of_its_path(tmp_path: Path, name: str) -> None:
    captions = write_captions(tmp_path / "c.json", f'{{"{name}": "a cat", "x/1": "a dog"}}')
    assert captions.find(tmp_path / "a" / "b" / "1.mp4") == "a cat"
    assert captions.find(tmp_path / "x" / "1.webm") == "a dog"
    assert captions.find(tmp_path / "2.mp4") is None
    assert captions.check([tmp_path / "a/b/1.mp4"]) == f"{tmp_path}/c.json: 1 of its 2 names are of no video here (x/1)"
    with pytest.raises(UsageError, match=r"c\.json names none of the videos"):
        captions.check([tmp_path / "2.mp4"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON that can be read"),
        pytest.param("[" * 10**5, "is nested too deeply", id="deep"),
        ('["a cat"]', "is no JSON object of names and prompts"),
        ("{}", "is no JSON object of names and prompts"),
        ('{"1": 3}', "the prompt of '1' is no text"),
        ('{"1": "a", "1": "b"}', "'1' has two prompts"),
    ],
)
def test_captions_of_another_form_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(IvideoError, match=message):
        write_captions(tmp_path / "c.json", text)
    with pytest.raises(IvideoError, match="does not exist"):
        Captions(tmp_path / "nothing.json")


def test_pipes_beside_a_video_do_not_hang(tmp_path: Path) -> None:
    for name in ("1.txt", "1.json"):
        os.mkfifo(tmp_path / name)
    with pytest.raises(IvideoError, match=r"1\.txt is no regular file"):
        find_prompt(make_reader(tmp_path / "1.mp4"))
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "1.png").write_bytes(b"")
    with pytest.raises(IvideoError, match=r"1\.png is damaged or not a picture"):
        open_video(tmp_path / "1")


@pytest.mark.parametrize(
    ("name", "message"),
    [("a\0b.mp4", "there is a NUL in it"), ("b" * 300, "File name too long"), ("0.mp4", "is empty")],
)
def test_a_path_of_no_video_is_one_line(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "0.mp4").touch()
    with pytest.raises(IvideoError, match=message):
        open_video(tmp_path / name)
