"""What goes to stdout and what to stderr, and in which form."""

from __future__ import annotations

import errno
import json
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from ivideo.cli.options import Format
from ivideo.cli.output import Records, Reporter, format_seconds, known_errors, print_json
from ivideo.errors import IvideoError, UsageError
from ivideo.files import reading

RECORDS = [
    {"path": "a.mp4", "reward": 0.123456, "n": 2, "judge": "someone"},
    {"path": "b\tc.mp4", "reward": -1.0, "n": 10, "judge": "someone"},
]
COLUMNS = ("path", "reward", "judge")


def print_records(asked: Format | None, **options: str) -> None:
    with Records(asked, COLUMNS, **options) as records:
        for record in RECORDS:
            records.add(record)


@pytest.mark.parametrize("asked", [None, Format.jsonl])
def test_json_lines_are_whole_records_and_the_default_of_a_pipe(
    capsys: pytest.CaptureFixture[str], asked: Format | None
) -> None:
    print_records(asked)
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == RECORDS


def test_json_is_one_list(capsys: pytest.CaptureFixture[str]) -> None:
    print_records(Format.json)
    assert json.loads(capsys.readouterr().out) == RECORDS


def test_tsv_has_the_columns_and_quotes_tabs(capsys: pytest.CaptureFixture[str]) -> None:
    print_records(Format.tsv)
    assert capsys.readouterr().out == 'path\treward\tjudge\na.mp4\t0.1235\tsomeone\n"b\tc.mp4"\t-1.0000\tsomeone\n'


def test_csv_keeps_every_digit(capsys: pytest.CaptureFixture[str]) -> None:
    print_records(Format.csv)
    assert capsys.readouterr().out == "path,reward,judge\na.mp4,0.123456,someone\nb\tc.mp4,-1.0,someone\n"


@pytest.mark.parametrize(("asked", "line"), [(Format.csv, "a.mp4,,"), (Format.tsv, "a.mp4\t\t")])
def test_what_is_unknown_is_an_empty_cell(capsys: pytest.CaptureFixture[str], asked: Format, line: str) -> None:
    with Records(asked, COLUMNS) as records:
        records.add({"path": "a.mp4", "reward": None, "judge": None})
    assert capsys.readouterr().out.splitlines()[1] == line


def test_a_column_without_any_value_is_left_out_of_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    with Records(Format.table, (*COLUMNS, "error")) as records:
        for record in RECORDS:
            records.add({**record, "error": None})
    assert capsys.readouterr().out.splitlines()[0].split() == ["path", "reward"]
    with Records(Format.table, (*COLUMNS, "error")) as records:
        records.add({"path": "c.mp4", "reward": None, "error": "damaged", "judge": "someone"})
        records.add({**RECORDS[0], "error": None})
    assert [line.split() for line in capsys.readouterr().out.splitlines()[:3:2]] == [
        ["path", "reward", "error"],
        ["c.mp4", "damaged"],
    ]


def test_table_names_the_reward_model_once(capsys: pytest.CaptureFixture[str]) -> None:
    print_records(Format.table)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["path", "reward"]
    assert lines[2].split() == ["a.mp4", "0.1235"]
    assert lines[-1] == "reward: someone"


def test_a_terminal_gets_a_table(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    print_records(None)
    assert capsys.readouterr().out.splitlines()[-1] == "reward: someone"


def test_bare_values_until_a_format_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    print_records(None, bare="path")
    assert capsys.readouterr().out == "a.mp4\nb\tc.mp4\n"
    print_records(Format.jsonl, bare="path")
    assert json.loads(capsys.readouterr().out.splitlines()[0]) == RECORDS[0]


@pytest.mark.parametrize("asked", [Format.json, Format.table])
def test_nothing_is_printed_of_a_list_that_broke_off(capsys: pytest.CaptureFixture[str], asked: Format) -> None:
    def break_off() -> None:
        with Records(asked, COLUMNS) as records:
            records.add(RECORDS[0])
            raise IvideoError("broken")

    with pytest.raises(IvideoError, match="broken"):
        break_off()
    assert capsys.readouterr().out == ""


def test_nan_is_never_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        print_json({"reward": float("nan")})
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (IvideoError("no\n  such file"), 1, "error: no such file\n"),
        (UsageError("too much"), 2, "error: too much\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (BrokenPipeError(), 0, ""),
        (
            OSError(errno.ENAMETOOLONG, "File name too long", "x" * 300),
            1,
            f"error: cannot use {'x' * 300}: File name too",
        ),
        (OSError(errno.ENOSPC, "No space left on device"), 1, "error: No space left on device\n"),
        (MemoryError(), 1, "error: out of memory\n"),
        (IvideoError("a\0b \x1b[31m"), 1, "error: a\\x00b \\x1b[31m\n"),
    ],
)
def test_known_errors_are_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, said: str
) -> None:
    def command() -> None:
        raise error

    monkeypatch.setattr("sys.stdout", open("/dev/null", "w"))
    with pytest.raises(typer.Exit) as left:
        known_errors(command)()
    assert left.value.exit_code == code
    assert capsys.readouterr().err.startswith(said)


def test_what_reading_raises_is_told_with_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"junk")

    def told(read: Callable[[Path], object]) -> str:
        with pytest.raises(typer.Exit):
            known_errors(lambda: read(path))()
        return capsys.readouterr().err

    def load_pickle(path: Path) -> object:
        with path.open("rb") as file:
            return pickle._Unpickler(file).load()

    deep = "[" * 99999
    assert told(lambda path: json.loads(deep)).startswith(f"error: cannot use {path}: maximum recursion depth exceeded")
    assert told(load_pickle).startswith(f"error: cannot use {path}: ")
    assert told(lambda path: zipfile.ZipFile(path)) == f"error: cannot use {path}: File is not a zip file\n"
    assert told(lambda path: (path / "no").read_text()) == f"error: cannot use {path / 'no'}: Not a directory\n"
    assert told(lambda path: Path("a\0b").stat()) == "error: a path holds a NUL character\n"


def test_stdout_is_for_data_alone(tmp_path: Path) -> None:
    """What a function of the user's prints, by Python, by C or as another program, goes to stderr."""
    script = """
import ctypes, os
from ivideo.cli.output import known_errors, print_json
def command():
    print("by Python")
    os.write(1, b"by C\\n")
    os.system("echo by a program")
    ctypes.CDLL(None).puts(b"by C's buffer")
    print_json({"a": 1})
known_errors(command)()
print("afterwards")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == '{"a": 1}\nafterwards\n'
    assert sorted(done.stderr.splitlines()) == ["by C", "by C's buffer", "by Python", "by a program"]


class Endless:
    """A thing of ours that asks itself for what it does not have."""

    def __getattr__(self, name: str) -> object:
        return getattr(self, name)


@pytest.mark.parametrize("bug", [KeyError("bug"), TypeError("bug"), ValueError("bug"), AssertionError("bug")])
def test_bugs_keep_their_traceback(bug: Exception) -> None:
    def command() -> None:
        raise bug

    with pytest.raises(type(bug), match="bug"):
        known_errors(command)()


def test_an_endless_recursion_of_our_own_is_a_bug(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "PACKAGE", str(Path(__file__).parent))  # this file is ours for once
    with pytest.raises(RecursionError):
        known_errors(lambda: Endless().field)()


def test_reporter_tells_phases_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    with Reporter(quiet=False) as reporter:
        reporter.say("model: emoji-world")
        reporter.warn("unknown word")
        reporter.start("videos", 2)
        reporter.advance("a.mp4")
        reporter.advance("b.mp4")
    said = capsys.readouterr()
    assert said.out == ""
    lines = ["model: emoji-world", "warning: unknown word", "videos 0/2", "videos 2/2  0 s  b.mp4"]
    assert said.err.splitlines() == lines


def test_reporter_estimates_the_time_left(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter(range(0, 1000, 2))
    monkeypatch.setattr("time.monotonic", lambda: next(now))
    reporter = Reporter(quiet=False)
    reporter.start("training", 60)
    for _ in range(3):
        reporter.advance("reward 0.1")
    assert capsys.readouterr().err.splitlines()[-1] == "training 3/60  about 1 min 54 s left  reward 0.1"


def test_a_terminal_gets_a_bar_that_ends(capsys: pytest.CaptureFixture[str]) -> None:
    with Reporter(quiet=False) as reporter:
        reporter.is_terminal = True
        reporter.start("videos", 2)
        reporter.advance("a.mp4")
        reporter.advance("b.mp4")
    assert "2/2" in capsys.readouterr().err


def test_a_phase_inside_another_one_gives_it_back(capsys: pytest.CaptureFixture[str]) -> None:
    with Reporter(quiet=False) as reporter:
        reporter.start("training", 14, done=10)
        reporter.start("held-out clips", 1)
        reporter.advance()
        for _ in range(3):
            reporter.advance("reward 0.1")
        reporter.finish()
        reporter.advance("nobody waits for it")
    lines = ["training 10/14", "held-out clips 0/1", "held-out clips 1/1  0 s"]
    assert capsys.readouterr().err.splitlines() == [*lines, "training 13/14  about 0 s left  reward 0.1"]


def test_the_time_left_does_not_count_what_an_earlier_run_did(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter([0.0, 30.0])
    monkeypatch.setattr("time.monotonic", lambda: next(now))
    reporter = Reporter(quiet=False)
    reporter.start("training", 20, done=10)
    reporter.advance()
    assert capsys.readouterr().err.splitlines()[-1] == "training 11/20  about 4 min 30 s left"


def test_bars_of_two_phases_stand_together(capsys: pytest.CaptureFixture[str]) -> None:
    with Reporter(quiet=False) as reporter:
        reporter.is_terminal = True
        reporter.start("training", 2)
        reporter.advance()
        reporter.start("held-out clips", 1)
        reporter.advance()
        reporter.advance("reward 0.7")
    assert "reward 0.7" in capsys.readouterr().err


def test_quiet_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    with Reporter(quiet=True) as reporter:
        reporter.say("model")
        reporter.warn("word")
        reporter.start("videos", 1)
        reporter.advance()
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.6, "1 min 0 s"), (125, "2 min 5 s"), (7800, "2 h 10 min")]
)
def test_durations_are_for_people(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text
