"""Files that others wrote: pipes, devices, depth, digits and types are told in one line, and nothing hangs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict

from ivideo.errors import IvideoError
from ivideo.files import reading
from ivideo.files.reading import check_file, parse_as, parse_json, parse_toml, read_text
from ivideo.files.records import read_json_lines


class Line(BaseModel):
    model_config = ConfigDict(extra="allow", allow_inf_nan=False)
    step: int
    reward: float | None


def test_what_is_no_file_is_refused_before_it_is_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    for path, kind in ((tmp_path / "pipe", "a pipe"), (tmp_path / "zero", "a device"), (tmp_path, "a folder")):
        with pytest.raises(IvideoError, match=f"^cannot read {path}: it is {kind}, not a file$"):
            read_text(path)
    with pytest.raises(IvideoError, match=r"no\.txt does not exist$"):
        check_file(tmp_path / "no.txt")
    with pytest.raises(IvideoError, match="File name too long"):
        check_file(tmp_path / ("x" * 300))
    with pytest.raises(IvideoError, match="embedded null"):
        check_file(Path("a\0b"))


def test_a_pipe_that_the_shell_has_opened_is_read() -> None:
    reader, writer = os.pipe()
    os.write(writer, b"a = 1\n")
    os.close(writer)
    assert read_text(Path(f"/dev/fd/{reader}")) == "a = 1\n"
    os.close(reader)


def test_too_much_and_what_is_no_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.txt").write_bytes(b"ab\xff")
    with pytest.raises(IvideoError, match=r"a\.txt is no UTF-8 text \(byte 2 does not fit\)$"):
        read_text(tmp_path / "a.txt")
    monkeypatch.setattr(reading, "MAX_BYTES", 2)
    with pytest.raises(IvideoError, match=r"^cannot read .*a\.txt: it has more than 0 MiB$"):
        read_text(tmp_path / "a.txt")


BEYOND = ['{"step":' * 99999, '{"step": ' + "1" * 5000 + "}", "", "\0", '{"step": 1', '{"step": 1} 2']


@pytest.mark.parametrize("text", BEYOND, ids=range(len(BEYOND)))
def test_json_that_cannot_be_read(text: str) -> None:
    for parse in (lambda: parse_json(text, "x.json"), lambda: parse_as(Line, text, "x.json")):
        with pytest.raises(IvideoError, match=r"^x\.json is (no JSON|damaged): ") as caught:
            parse()
        assert len(str(caught.value)) < 200


@pytest.mark.parametrize("text", ["a = " + "[" * 99999, "a." * 50000 + "b = 1", "a = " + "1" * 5000, "a = 1\0", "a"])
def test_toml_that_cannot_be_read(text: str) -> None:
    with pytest.raises(IvideoError, match=r"^x\.toml cannot be read: "):
        parse_toml(text, "x.toml")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"loss": 1}', "step: Field required"),
        ('{"step": true, "reward": 1}', "step: Input should be a valid integer"),
        ('{"step": 2, "reward": 1e999}', "reward: Input should be a finite number"),
        ('{"step": 2, "reward": "high"}', "reward: Input should be a valid number"),
    ],
)
def test_a_whole_line_of_other_things_is_named(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "log.jsonl"
    path.write_text(f'{{"step": 1, "reward": null}}\n{line}\n')
    with pytest.raises(IvideoError, match=f"log.jsonl, line 2, is damaged: {message}"):
        read_json_lines(path, Line)


@pytest.mark.parametrize(
    "end", ['{"step": 2', "\0\0\0\n", "[" * 99999 + "\n", '{"step": NaN}\n', "[1]\n", "7" * 5000 + "\n"]
)
def test_a_log_ends_where_a_crash_cut_it(tmp_path: Path, end: str) -> None:
    (tmp_path / "log.jsonl").write_text('{"step": 1, "reward": 0.1, "more": [1]}\n' + end)
    assert read_json_lines(tmp_path / "log.jsonl", Line) == [{"step": 1, "reward": 0.1, "more": [1]}]
