"""Prompts of every kind that a person may hand over."""

from __future__ import annotations

import io
import pickle
import sys
from pathlib import Path

import pytest

from ivideo.errors import IvideoError, UsageError
from ivideo.inputs.prompts import (
    Prompt,
    check_prompts,
    format_prompts,
    own_of,
    read_argument,
    read_prompts,
    unique_prompts,
)
from ivideo.progress import Silence


class Notes(Silence):
    """Keeps what is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, message: str) -> None:
        self.lines.append(message)


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_comments_blank_lines_and_repeats_are_dropped_and_told(tmp_path: Path) -> None:
    path = write(
        tmp_path / "p.txt", "# pets\na cat\n\n  a dog \t\n   # more\n#\na cat\na #1 horse\n#1 fan\n\\# 2\n\\#3\n"
    )
    assert read_prompts(path, notes := Notes()) == ["a cat", "a dog", "a #1 horse", "#1 fan", "# 2", "#3"]
    assert notes.lines == [
        f"{path}: 3 comment lines left out",
        f"{path}, line 9: begins with # but no space, and is no comment",
        f"{path}: 1 repeated prompt kept once",
    ]


def test_byte_order_mark_and_windows_line_ends_are_tolerated(tmp_path: Path) -> None:
    path = write(tmp_path / "p.txt", b"\xef\xbb\xbfa cat\r\nun caf\xc3\xa9\r\n")
    assert read_prompts(path) == ["a cat", "un café"]


@pytest.mark.parametrize("mark", ["\u2028", "\x85", "\x0b", "\x1e"])
def test_only_newlines_split_lines(tmp_path: Path, mark: str) -> None:
    assert read_prompts(write(tmp_path / "p.txt", f"a cat{mark}on a hill\na dog")) == [f"a cat{mark}on a hill", "a dog"]


LISTS = {
    "array.json": '[\n  "a cat, running",\n  "a dog"\n]\n',
    "objects.json": '[{"prompt": "a cat, running", "id": 1}, {"Prompt": "a dog"}]',
    "around.json": '{"version": 1, "prompts": ["a cat, running", "a dog"]}',
    "p.jsonl": '{"text": "a cat, running"}\n\n{"text": "a dog"}\n',
    "texts.jsonl": '"a cat, running"\n"a dog"\n',
    "p.csv": 'id,Caption\r\n1,"a cat, running"\r\n2,a dog\r\n',
    "semicolons.csv": "prompt;id\na cat, running;1\na dog;2\n",
    "p.tsv": "Prompt\tCategory\na cat, running\tpets\na dog\tpets\n",
    "commented.csv": '# mine\n\nprompt,id\n"a cat, running",1\na dog,2\n',
}


@pytest.mark.parametrize(
    ("name", "has_suffix"), [(name, has) for name in LISTS for has in (True, False) if has or name != "texts.jsonl"]
)
def test_lists_of_other_tools_are_told_by_suffix_or_content(tmp_path: Path, name: str, has_suffix: bool) -> None:
    path = write(tmp_path / (name if has_suffix else "list"), "\ufeff" + LISTS[name])
    assert read_prompts(path) == ["a cat, running", "a dog"]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (
            "p.jsonl",
            '{"prompt": "a cat", "negative_prompt": "fog", "seed": 5}\n{"prompt": "a cat"}\n{"prompt": "a cat"}',
        ),
        ("p.csv", "prompt,Negative Prompt,seed\na cat,fog,5.0\na cat,,\na cat,,\n"),
    ],
)
def test_a_prompt_may_bring_a_negative_prompt_and_a_seed(tmp_path: Path, name: str, text: str) -> None:
    found = read_prompts(write(tmp_path / name, text))
    assert [(prompt, own_of(prompt)) for prompt in found] == [
        ("a cat", {"negative_prompt": "fog", "seed": 5}),
        ("a cat", {}),
    ]
    assert pickle.loads(pickle.dumps(found[0])).own == found[0].own


def test_columns_that_do_not_count_are_told(tmp_path: Path) -> None:
    path = write(tmp_path / "p.csv", "prompt,text,guidance_scale,id\na cat,another,3,1\n")
    assert read_prompts(path, notes := Notes()) == ["a cat"]
    assert notes.lines == [f"{path}: not looked at: text, guidance_scale"]
    path = write(tmp_path / "clips.txt", "a.mp4|||a cat\n")
    assert read_prompts(path, notes := Notes()) == ["a cat"]
    assert notes.lines == [f"{path}: its videos are not looked at, only their captions"]


def test_parquet_is_read_where_pyarrow_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "p.parquet"
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(IvideoError, match=r"parquet is read by pyarrow, which is not installed; pip install pyarrow$"):
        read_prompts(path)
    monkeypatch.undo()
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pyarrow.table({"caption": ["a cat", "a dog"], "seed": [None, 3]}), path)
    assert [(prompt, own_of(prompt)) for prompt in read_prompts(path)] == [("a cat", {}), ("a dog", {"seed": 3})]
    with pytest.raises(IvideoError, match=r"is no parquet: "):
        read_prompts(write(path, "no"))


@pytest.mark.parametrize("source", ["-", Path("-")])
def test_dash_is_standard_input(monkeypatch: pytest.MonkeyPatch, source: Path | str) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO('["a 🐈"]\n'.encode())))
    assert read_prompts(source) == ["a 🐈"]


def test_empty_standard_input_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"")))
    with pytest.raises(IvideoError, match="no prompts in standard input"):
        read_prompts("-")


BAD = [
    ("p.txt", b"", "no prompts in"),
    ("p.txt", b"# only\n\n", "no prompts in"),
    ("p.txt", b"a cat\n\xff\xfe", r"not UTF-8 text \(byte 6"),
    ("p.txt", b"\xff\xfea\0", "not UTF-8 text but UTF-16"),
    ("p.txt", b"a\0 \0", "NUL characters"),
    ("p.txt", b"a cat\ra dog\r", "line 1 has a carriage return in it"),
    ("p.txt", b'[\n "a cat",\n]\n', r"line 1 looks like JSON, not like a prompt: \["),
    ("p.txt", b'a dog\n"a cat",\n', r"line 2 looks like JSON"),
    ("p.txt", b'a dog\n{"prompt": "a cat"\n', "line 2 looks like JSON"),
    ("p.txt", b"prompt\na cat\n", "line 1 looks like the header of a table"),
    ("p.txt", b"a dog\nprompt,seed\na cat,5\n", "line 2 looks like the header of a table"),
    ("p.csv", b"a cat\na dog\n", r"line 1: no prompt \(or text, caption\) among its columns \(a cat\)"),
    ("p.csv", b"prompt,seed\na cat,running,5\n", r"line 2: 3 cells, not 2; a text with ',' in it stands in quotes"),
    ("p.csv", b"prompt,id\n,5\n", "line 2 has an empty prompt"),
    ("p.csv", b"text,Text\na,b\n", "line 1: two columns are called text"),
    ("p.json", b"[1]", "item 1 is neither a text nor a JSON object with a prompt"),
    ("p.json", b'["a",]', "is no JSON: "),
    ("p.json", b'{"prompt": "a", "prompt": "b"}', "an object has a name twice"),
    ("p.json", b'{"prompt": ["a"]}', r'item 1: prompt \["a"\] must be text'),
    ("p.json", b'{"prompt": "a", "negative_prompt": 3}', "negative_prompt 3 must be text"),
    ("p.json", b'{"prompt": "\\ud800"}', "a lone surrogate"),
    ("p.json", b"[" * 100_000, "is no JSON: "),
    ("p.json", b'{"prompt": "a", "seed": ' + b"9" * 5000 + b"}", "is no JSON: "),
    *[
        ("p.json", b'{"prompt": "a", "seed": %s}' % seed, "seed .*: a whole number")
        for seed in (b"-1", b"0.5", b"true")
    ],
]


@pytest.mark.parametrize(("name", "content", "message"), BAD)
def test_unusable_files_give_one_line(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    path = write(tmp_path / name, content)
    with pytest.raises(IvideoError, match=message) as caught:
        read_prompts(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_brackets_and_quotes_in_words_are_no_json(tmp_path: Path) -> None:
    lines = ["[V] a dog", "{a dog}", '"Hi", says a cat', '"a" and "b"', "42", "null", "a cat, video, prompt"]
    assert read_prompts(write(tmp_path / "p.txt", "\n".join(lines))) == lines


def test_a_missing_file_and_a_folder_are_told_apart(tmp_path: Path) -> None:
    for name in ("nothing.txt", "nothing.parquet"):
        with pytest.raises(IvideoError, match=rf"{name} does not exist|pyarrow"):
            read_prompts(tmp_path / name)
    with pytest.raises(IvideoError, match="is a folder"):
        read_prompts(tmp_path)


@pytest.mark.parametrize(
    ("prompts", "is_plain"),
    [
        (["a cat", "# 1", "#2", "a\u2028b"], True),
        (["\\#3"], False),
        ([], True),
        (["a\nb", "a cat"], False),
        (["a", '{"prompt": "x"}'], False),
        (["a.mp4|||a cat"], False),
        ([Prompt("a cat", "fog", 3), "a dog"], False),
    ],
)
def test_what_a_run_keeps_is_read_back_as_it_was(tmp_path: Path, prompts: list[str], is_plain: bool) -> None:
    text = format_prompts(prompts)
    assert text.startswith("{") is not is_plain  # else JSON lines
    if prompts:
        found = read_prompts(write(tmp_path / "prompts.txt", text))
        assert [(prompt, own_of(prompt)) for prompt in found] == [(prompt, own_of(prompt)) for prompt in prompts]


def test_the_same_text_with_other_seeds_is_another_prompt() -> None:
    found = unique_prompts(["a", Prompt("a", seed=1), Prompt("b"), Prompt("a", seed=1), "a"])
    assert [(str(prompt), own_of(prompt)) for prompt in found] == [("a", {}), ("a", {"seed": 1}), ("b", {})]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("eight.txt", "prompt 'eight.txt' is the name of a file: give it by `prompts_file`"),
        ("cats/", "prompt 'cats/' is the name of a file: "),
        ("nine.CSV", "prompt 'nine.CSV' is named like a file, and there is none"),
        ("caf\udce9 cat", "prompt 'caf\\xe9 cat' is no UTF-8 text: "),
        ('["a cat"]', 'the prompt looks like JSON, not like a prompt: ["a cat"]; lists are files'),
    ],
)
def test_a_typed_prompt_that_is_none_is_refused(tmp_path: Path, monkeypatch, text: str, message: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "eight.txt").touch()
    (tmp_path / "cats").mkdir()
    with pytest.raises(UsageError) as caught:
        read_argument(text)
    assert str(caught.value).startswith(message)


def test_a_typed_prompt_is_any_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cats").mkdir()
    for text in ("cats", "a page of eight.txt", "x" * 5000, "prompt", "a\0b", "#1 fan"):
        assert read_argument(f" {text} ") == text


def test_a_prompt_that_is_none_by_its_length() -> None:
    check_prompts(["a" * 10_000])
    with pytest.raises(UsageError, match=r"^prompt 'aaaa.*'\.\.\. has 10001 characters, and a prompt has at most 1"):
        check_prompts(["a cat", "a" * 10_001])
