"""Prompt files of every kind that a person may hand over."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from ivideo.errors import IvideoError, UsageError
from ivideo.inputs.prompts import check_prompts, read_prompts


def test_comments_blank_lines_and_repeats_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_text("# pets\na cat\n\n  a dog \t\n   # more\na cat\na #1 horse\n")
    assert read_prompts(path) == ["a cat", "a dog", "a #1 horse"]


def test_byte_order_mark_and_windows_line_ends_are_tolerated(tmp_path: Path) -> None:
    path = tmp_path / "prompts.txt"
    path.write_bytes(b"\xef\xbb\xbfa cat\r\nun caf\xc3\xa9\r\n")
    assert read_prompts(path) == ["a cat", "un café"]


@pytest.mark.parametrize("source", ["-", Path("-")])
def test_dash_is_standard_input(monkeypatch: pytest.MonkeyPatch, source: Path | str) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("a 🐈\n".encode())))
    assert read_prompts(source) == ["a 🐈"]


def test_empty_standard_input_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"")))
    with pytest.raises(IvideoError, match="no prompts in standard input"):
        read_prompts("-")


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "no prompts in"), (b"# only\n\n", "no prompts in"), (b"a cat\n\xff\xfe", r"not UTF-8 text \(byte 6")],
)
def test_unusable_files_give_one_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "prompts.txt"
    path.write_bytes(content)
    with pytest.raises(IvideoError, match=message) as caught:
        read_prompts(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(IvideoError, match=r"nothing\.txt does not exist"):
        read_prompts(tmp_path / "nothing.txt")
    with pytest.raises(IvideoError, match="is a folder"):
        read_prompts(tmp_path)


def test_a_prompt_that_is_none_by_its_length() -> None:
    check_prompts(["a" * 10_000])
    with pytest.raises(UsageError, match=r"^prompt 'aaaa.*'\.\.\. has 10001 characters, and a prompt has at most 1"):
        check_prompts(["a cat", "a" * 10_001])
