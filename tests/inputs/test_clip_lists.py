"""Lists of videos with captions, of every kind that a person may hand over."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from ivideo.errors import IvideoError, UsageError
from ivideo.inputs.clip_lists import captions_of, gather_source, read_source
from ivideo.inputs.columns import NAMES
from ivideo.inputs.prompts import own_of
from ivideo.progress import Silence

LISTS = {
    "list.txt": "# mine\ncats/1.mp4|||a cat\n\n  dogs/2.webm ||| a dog, running \r\n",
    "list.csv": 'id,prompt,video\n1,a cat,cats/1.mp4\n\n2," a dog, running",dogs/2.webm\n',
    "list.jsonl": '{"video": "cats/1.mp4", "prompt": "a cat"}\n\n'
    '{"prompt": "a dog,\\n running", "video": "dogs/2.webm", "seconds": 3}\n',
}


class Notes(Silence):
    """Keeps what is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, message: str) -> None:
        self.lines.append(message)


def pairs(source) -> list[tuple[str, str]]:
    return [(str(clip.video), clip.prompt) for clip in source]


@pytest.mark.parametrize("name", LISTS)
@pytest.mark.parametrize("has_suffix", [True, False])
def test_lists_are_told_by_suffix_or_content(tmp_path: Path, name: str, has_suffix: bool) -> None:
    path = tmp_path / (name if has_suffix else "list")
    path.write_text("\ufeff" + LISTS[name], encoding="utf-8", newline="")
    clips = read_source(path)
    assert pairs(clips) == [
        (str(tmp_path / "cats/1.mp4"), "a cat"),
        (str(tmp_path / "dogs/2.webm"), "a dog, running"),
    ]
    assert clips[1].place.startswith(f"{path}, line ")
    assert read_source(path, Path("elsewhere"))[0].video == Path("elsewhere/cats/1.mp4")


@pytest.mark.parametrize(("name", "line"), [("list.txt", 4), ("list.csv", 4), ("list.jsonl", 3)])
def test_places_are_lines_of_the_file(tmp_path: Path, name: str, line: int) -> None:
    (tmp_path / name).write_text(LISTS[name])
    assert read_source(tmp_path / name)[1].place == f"{tmp_path / name}, line {line}"


def test_whole_paths_stay_and_standard_input_starts_here(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "/data/1.mp4|||a cat\n2.mp4|||a ||| bar\n"
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert pairs(read_source("-")) == [("/data/1.mp4", "a cat"), ("2.mp4", "a ||| bar")]


def test_lists_without_videos_are_prompts(tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_text("# pets, video, prompt\na cat, video | prompt\n{a dog}\na cat, video | prompt\n")
    assert read_source(path) == ["a cat, video | prompt", "{a dog}"]
    with pytest.raises(UsageError, match=r"^`videos` goes with a list of videos; .*txt is a list of prompts$"):
        read_source(path, tmp_path)
    with pytest.raises(UsageError, match=r"^`captions` lines reads files beside videos, and .*txt is a list$"):
        read_source(path, captions="lines")


@pytest.mark.parametrize("name", NAMES["video"])
def test_every_tool_names_its_columns(tmp_path: Path, name: str) -> None:
    path = tmp_path / "list.json"
    path.write_text(json.dumps([{name.upper(): "1.mp4", "text": "a cat", "seed": 3}]))
    assert pairs(read_source(path, progress=(notes := Notes()))) == [(str(tmp_path / "1.mp4"), "a cat")]
    assert notes.lines == [f"{path}: seeds are not looked at: real videos have none"]


def test_a_clip_may_have_several_captions_and_a_caption_several_clips(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("1.mp4|||a cat\n2.mp4|||a cat\n./1.mp4||| a  cat\n1.mp4|||a dog\n")
    clips = read_source(path)
    assert [(clip.video.name, clip.prompt) for clip in clips] == [
        ("1.mp4", "a cat"),
        ("2.mp4", "a cat"),
        ("1.mp4", "a dog"),
    ]
    assert captions_of(clips) == [["a cat", "a dog"], ["a cat"]]
    for text in ('{"1.mp4": ["a cat", "a dog"], "2.mp4": "a cat"}', '[{"path": "1.mp4", "cap": ["a cat", "a dog"]}]'):
        (tmp_path / "list.json").write_text(text)
        assert captions_of(read_source(tmp_path / "list.json"))[0] == ["a cat", "a dog"]


@pytest.mark.parametrize("name", ["metadata.csv", "metadata.jsonl"])
def test_a_folder_with_metadata(tmp_path: Path, name: str) -> None:
    for number in range(3):
        (tmp_path / f"{number}.mp4").touch()
    rows = {
        "metadata.csv": "file_name,text\n1.mp4,a cat\n",
        "metadata.jsonl": '{"file_name": "1.mp4", "text": "a cat"}',
    }
    (tmp_path / name).write_text(rows[name])
    assert pairs(read_source(tmp_path, progress=(notes := Notes()))) == [(str(tmp_path / "1.mp4"), "a cat")]
    assert notes.lines == [f"2 videos in {tmp_path} not in {name}, and left out"]
    (tmp_path / "metadata.parquet").touch()
    with pytest.raises(IvideoError, match=rf"has {name} and metadata\.parquet: give one of them as the list"):
        read_source(tmp_path)
    (tmp_path / "metadata.parquet").unlink()
    (tmp_path / "metadata.csv").write_text("text,label\na cat,1\n")
    (tmp_path / "metadata.jsonl").unlink(missing_ok=True)
    with pytest.raises(IvideoError, match=r"metadata\.csv: no video \(or file_name"):
        read_source(tmp_path)


def test_captions_beside_videos_are_whole_or_several(tmp_path: Path) -> None:
    (tmp_path / "1.mp4").touch()
    (tmp_path / "1.txt").write_text("A cat surfs.\n\n# The camera pans left.\n")
    (tmp_path / "1.json").write_text('{"caption": ["a cat", "a dog"], "negative_prompt": "fog"}')
    found = {kind: read_source(tmp_path, captions=kind) for kind in ("whole", "lines", "json")}
    assert {kind: [clip.prompt for clip in clips] for kind, clips in found.items()} == {
        "whole": ["A cat surfs. # The camera pans left."],
        "lines": ["A cat surfs."],
        "json": ["a cat", "a dog"],
    }
    assert own_of(found["json"][1].prompt) == {"negative_prompt": "fog"}
    (tmp_path / "1.txt").write_text('["a cat"]')
    with pytest.raises(IvideoError, match=r"1\.txt is JSON, not a caption: `captions` json reads it$"):
        read_source(tmp_path)


def test_empty_captions_are_left_to_be_named_later(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("1.mp4|||\n")
    (tmp_path / "a.jsonl").write_text('{"video": "1.mp4", "prompt": null}\n{"video": "2.mp4", "prompt": " "}\n')
    (tmp_path / "a.csv").write_text("video,prompt\n1.mp4,\n")
    assert [clip.prompt for name in ("a.txt", "a.jsonl", "a.csv") for clip in read_source(tmp_path / name)] == [""] * 4


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.txt", "1.mp4|||a cat\na dog\n", "{}, line 2 is plain text, where the lines before are video|||prompt"),
        ("a.txt", "a cat\n# x\n1.mp4|||a dog\n", "{}, line 3 is video|||prompt, where the lines before are plain text"),
        ("a.txt", 'a cat\n{"video": "1"}\n', "{}, line 2 is a JSON object, where the lines before are plain text"),
        ("a.txt", "1.mp4|||a\n|||a cat\n", "{}, line 2 names no video"),
        ("a.csv", "name,title\n1,2\n", "{}, line 1: no prompt (or text, caption) among its columns (name, title)"),
        ("a.csv", "", "{}, line 1: no prompt (or text, caption) among its columns ()"),
        ("a.csv", "video,prompt\n", "no videos in {}"),
        ("a.csv", "video,prompt\n,a cat\n", "{}, line 2 names no video"),
        (
            "a.csv",
            'video,prompt\n1.mp4,"a\ncat"\n2.mp4,a dog, running\n',
            "{}, line 4: 3 cells, not 2; a text with ',' in it stands in quotes",
        ),
        ("a.csv", 'video,prompt\n1.mp4,"a cat\n', "{}, line 2 is no table: unexpected end of data"),
        ("a.jsonl", '{"video": "1.mp4"}\n', "{}, item 1: no prompt (or text, caption) among its columns (video)"),
        ("a.jsonl", "\n[1]\n", "{}, item 1 is neither a text nor a JSON object with a prompt"),
        ("a.jsonl", '{"video": "1.mp4", "prompt": 3}\n', "{}, item 1: prompt 3 must be text"),
        ("a.jsonl", '{"video": 1, "prompt": "a"}\n', "{}, item 1: video 1 must be text"),
        (
            "a.jsonl",
            '{"video": "1.mp4", "prompt": "a"}\n{"prompt": "b"}\n',
            "{}, line 2 names no video, unlike those before",
        ),
        ("a.jsonl", "a cat\n", "{}, line 1 is no JSON: Expecting value: line 1 column 1 (char 0)"),
        ("a.txt", "# none\n", "no prompts in {}; write one a line, lines that begin with # and a space are comments"),
    ],
)
def test_bad_lists_say_what_is_wrong_and_where(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(IvideoError) as caught:
        read_source(tmp_path / name)
    assert str(caught.value) == message.format(tmp_path / name)


def test_a_folder_of_videos_with_their_captions(tmp_path: Path) -> None:
    for name in ("10.mp4", "2.MOV", "2.json", ".3.mp4", "notes.md", "4.gif"):
        (tmp_path / name).touch()
    (tmp_path / "frames.v2").mkdir()
    (tmp_path / "no caption").mkdir()
    captions = {"10": "\n\n  a cat \nmore\n", "2": "a dog", "frames.v2": "an owl", "license": "none of these"}
    for stem, text in captions.items():
        (tmp_path / f"{stem}.txt").write_text(text)
    found = read_source(tmp_path)
    assert [(clip.video.name, clip.prompt) for clip in found] == [
        ("2.MOV", "a dog"),
        ("4.gif", ""),
        ("10.mp4", "a cat more"),
        ("frames.v2", "an owl"),
    ]
    assert found[1].place == f"caption: {tmp_path / '4.txt'}"
    with pytest.raises(UsageError, match="is a folder with its captions beside them"):
        read_source(tmp_path, tmp_path)


def test_a_folder_without_videos_and_nothing_at_all(tmp_path: Path) -> None:
    (tmp_path / "cat.txt").write_text("a cat")
    with pytest.raises(IvideoError, match=r"^no videos in folder "):
        read_source(tmp_path)
    with pytest.raises(IvideoError, match=r"nothing\.csv does not exist$"):
        read_source(tmp_path / "nothing.csv")


def test_python_may_hand_over_prompts_pairs_or_a_path(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("1.mp4|||a cat\n")
    from_path = gather_source(str(tmp_path / "a.txt"), None)
    assert pairs(from_path) == [(str(tmp_path / "1.mp4"), "a cat")]
    assert gather_source(from_path, None) == from_path
    assert gather_source(iter(["a cat", "a dog"]), None) == ["a cat", "a dog"]
    given = gather_source([("1.mp4", " a cat"), (Path("2.mp4"), "a dog")], Path("videos"))
    assert pairs(given) == [("videos/1.mp4", "a cat"), ("videos/2.mp4", "a dog")]
    assert given[1].place == "pair 2"
    for mixed in (["a cat", ("1.mp4", "a dog")], [("1.mp4",)], [3]):
        with pytest.raises(UsageError, match="either prompts or pairs"):
            gather_source(mixed, None)
    with pytest.raises(UsageError, match=r"^`videos` goes with a list of videos"):
        gather_source(["a cat"], Path("videos"))
