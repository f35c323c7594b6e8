"""The two sinks: data on stdout in the asked format, everything for people on stderr."""

from __future__ import annotations

import csv
import functools
import json
import logging
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import Any, ParamSpec, Self, TypeVar

import typer

from ivideo.cli.options import Format, names_of, spell_names
from ivideo.cli.stdout import data, keep_stdout
from ivideo.errors import Interrupted, IvideoError
from ivideo.launch import ToldError, is_first_process

P = ParamSpec("P")
R = TypeVar("R")
LABEL, LABELS = "judge", "judges"  # what says how a reward is to be read, and how each one is
REWARDS = "rewards"  # the column that stands for further ones, a column each


def known_errors(command: Callable[P, R]) -> Callable[P, R]:
    """Print our own errors and those of files as one line and exit with their code; others are bugs and stay whole.

    Names in backticks become the options and arguments of the command that runs, by the `context` that it is given.
    """

    @functools.wraps(command)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        context: Any = kwargs.get("context")
        reporter = Reporter(quiet=True, context=context)
        try:
            with keep_stdout():
                return command(*args, **kwargs)
        except Interrupted as end:
            if str(end):  # of several processes one speaks
                typer.echo(str(end), err=True)
            raise typer.Exit(end.exit_code) from end
        except IvideoError as error:
            if is_first_process() or not isinstance(error, ToldError):
                reporter.tell_error(str(error))
            raise typer.Exit(error.exit_code) from error
        except KeyboardInterrupt:
            if is_first_process():
                typer.echo("interrupted", err=True)
            raise typer.Exit(130) from None
        except BrokenPipeError:
            raise typer.Exit(0) from None  # the reader of the pipe has had enough
        except Exception as error:
            from ivideo.files.reading import explain_foreign

            line = explain_foreign(error)
            if line is None:
                raise
            reporter.tell_error(line)
            raise typer.Exit(1) from error

    return guarded


def chosen_format(asked: Format | None) -> Format:
    """The asked format, else a table on a terminal and JSON lines in a pipe."""
    return asked or (Format.table if data().isatty() else Format.jsonl)


def print_json(value: Any, indent: int | None = None) -> None:
    """Strict JSON on stdout: NaN is a bug, not a number."""
    typer.echo(json.dumps(value, ensure_ascii=False, indent=indent, allow_nan=False), file=data())


class Records(AbstractContextManager["Records"]):
    """Prints records of one kind, as a context: what a format has to keep is printed when it ends well."""

    def __init__(
        self, asked: Format | None, columns: Sequence[str], *, bare: str | None = None, is_silent: bool = False
    ) -> None:
        """Print in the asked format.

        Args:
            asked: None for a table on a terminal and JSON lines in a pipe.
            columns: what tables and TSV show; see `expand`.
            bare: the one value that is printed, without a name, if no format was asked for.
            is_silent: nothing is printed: another process does it, or nobody asked for it.
        """
        self.columns = columns
        self.bare = bare if asked is None else None
        self.format = chosen_format(asked)
        self.is_silent = is_silent
        self._kept: list[Mapping[str, Any]] = []
        self._has_header = False

    def add(self, record: Mapping[str, Any]) -> None:
        """Print a record now, or keep it where the format needs all of them."""
        if self.is_silent:
            return
        if self.bare:
            typer.echo(record[self.bare], file=data())
        elif self.format is Format.jsonl:
            print_json(record)
        elif self.format in (Format.tsv, Format.csv):
            self._print_separated(record)
        else:
            self._kept.append(record)

    def _print_separated(self, record: Mapping[str, Any]) -> None:
        """TSV is for reading, with four decimals; CSV for programs, with all of them."""
        is_tsv = self.format is Format.tsv
        writer = csv.writer(data(), delimiter="\t" if is_tsv else ",", lineterminator="\n")
        columns, cells = expand(self.columns, record)
        if not self._has_header:
            writer.writerow(columns)
            self._has_header = True
        writer.writerow([shorten(cells[column]) if is_tsv else cells[column] for column in columns])
        data().flush()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Print what was kept, unless something went wrong."""
        if kind is not None or self.bare or self.is_silent:
            return
        if self.format is Format.json:
            print_json(self._kept, indent=2)
        elif self.format is Format.table and self._kept:
            print_table(self.columns, self._kept)


def shorten(value: Any) -> str:
    """A value as a cell: floats with four decimals, nothing where there is no value."""
    if value is None:
        return ""
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def show_interval(change: Mapping[str, Any]) -> str:
    """The interval of a difference: "+0.0123 to +0.0456", or "none"."""
    return "none" if change["ci_low"] is None else f"{change['ci_low']:+.4f} to {change['ci_high']:+.4f}"


def expand(columns: Sequence[str], record: Mapping[str, Any]) -> tuple[list[str], dict[str, Any]]:
    """Columns and cells of a record: `rewards` becomes a column a further one, none where there is one.

    A list of lines becomes one cell.
    """
    further = list(record.get(REWARDS, ()))[1:]
    shown = [name for column in columns for name in (further if column == REWARDS else [column])]
    joined = {name: "; ".join(record[name]) for name in columns if isinstance(record.get(name), list)}
    return shown, {**record, **joined, **{name: record[REWARDS][name] for name in further}}


def print_table(columns: Sequence[str], records: Sequence[Mapping[str, Any]]) -> None:
    """A plain table on stdout, as wide as its content: text left, numbers right; below it what rewards are.

    Columns without a value in any record are left out.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    expanded, first = expand(columns, records[0])
    rows = [expand(columns, record)[1] for record in records]
    filled = [column for column in expanded if any(row[column] is not None for row in rows)]
    shown = [column for column in filled if column != LABEL]
    for column in shown:
        is_text = any(isinstance(row[column], str) for row in rows)
        table.add_column(column, justify="left" if is_text else "right", overflow="fold")
    for row in rows:
        table.add_row(*(shorten(row[column]) for column in shown))
    console = Console(markup=False, highlight=False, file=data())
    console.print(table)
    if LABEL in columns:
        console.print(f"reward: {first[LABEL]}")
        for name, label in list(first.get(LABELS, {}).items())[1:]:
            console.print(f"{name}: {label}")


@dataclass
class Phase:
    """A part of a workflow that is under way."""

    title: str
    total: int
    done: int
    begun_with: int
    started: float
    last_line: float
    task: Any = None

    def describe(self, now: float, note: str) -> str:
        """The phase in one line: how far it is, how long it will take, and how it stands."""
        elapsed = now - self.started
        left = elapsed / (self.done - self.begun_with) * (self.total - self.done)
        timing = f"about {format_seconds(left)} left" if left else f"{format_seconds(elapsed)}"
        return "  ".join(filter(None, (f"{self.title} {self.done}/{self.total}", timing, note)))


class Reporter(AbstractContextManager["Reporter"]):
    """A workflow's progress on stderr: bars on a terminal, a line now and then elsewhere, nothing when quiet."""

    SECONDS_BETWEEN_LINES = 20.0

    def __init__(self, quiet: bool, context: typer.Context | None = None) -> None:
        """Report, or keep quiet; `context` tells the options of the command that runs."""
        self.quiet = quiet
        self._names = names_of(context)
        self.is_terminal = sys.stderr is not None and sys.stderr.isatty()
        self._bar: Any = None
        self._phases: list[Phase] = []
        self._hushed = ExitStack()

    def __enter__(self) -> Self:
        """When quiet, let no library warn either."""
        if self.quiet:
            self._hushed.enter_context(warnings.catch_warnings(action="ignore"))
            self._hushed.callback(logging.disable, logging.root.manager.disable)
            logging.disable(logging.WARNING)
        return self

    def __exit__(self, *_: object) -> None:
        """Leave no bar behind."""
        self.stop()
        self._hushed.close()

    def spell(self, message: str) -> str:
        """The message with options in place of names in backticks."""
        return spell_names(message, self._names)

    def say(self, message: str) -> None:
        """Print one line."""
        if not self.quiet:
            typer.echo(self.spell(message), err=True)

    def warn(self, message: str) -> None:
        """Print one line that begins with "warning"."""
        self.say(f"warning: {message}")

    def tell_error(self, message: str) -> None:
        """Print one line that begins with "error", also when quiet; what a terminal would obey is spelled out."""
        line = self.spell(" ".join(message.split()))
        shown = "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in line)
        typer.echo(f"error: {shown}", err=True)

    def start(self, title: str, total: int, done: int = 0) -> None:
        """Begin a phase, inside the one that is under way if there is one."""
        if self.quiet or total <= done:
            return
        now = time.monotonic()
        phase = Phase(title, total, done, done, now, now)
        self._phases.append(phase)
        if not self.is_terminal:
            typer.echo(f"{title} {done}/{total}", err=True)
            return
        if self._bar is None:
            self._bar = make_bar()
            self._bar.start()
        phase.task = self._bar.add_task(title, total=total, completed=done, note="")

    def advance(self, note: str = "") -> None:
        """One part is done; the phase ends with its last one."""
        if not self._phases:
            return
        phase = self._phases[-1]
        phase.done += 1
        if self._bar is not None:
            self._bar.update(phase.task, advance=1, note=note)
        else:
            self._print_line(phase, note)
        if phase.done >= phase.total:
            self.finish()

    def _print_line(self, phase: Phase, note: str) -> None:
        now = time.monotonic()
        is_early_estimate = phase.done == phase.begun_with + 3 and phase.total > 10
        is_due = now - phase.last_line > self.SECONDS_BETWEEN_LINES
        if is_early_estimate or is_due or phase.done == phase.total:
            phase.last_line = now
            typer.echo(phase.describe(now, note), err=True)

    def finish(self) -> None:
        """End the phase; the one around it goes on."""
        if not self._phases:
            return
        phase = self._phases.pop()
        if not self._phases:
            self.stop()
        elif self._bar is not None:
            self._bar.remove_task(phase.task)

    def stop(self) -> None:
        """Take the bar away; safe to call at any time."""
        self._phases.clear()
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def make_bar() -> Any:
    """Rich's bars on stderr, a line a phase: title, parts, bar, time left, note; the note wraps where it is narrow."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
    from rich.progress import TimeRemainingColumn as Remaining
    from rich.table import Column

    return Progress(
        TextColumn("{task.description}"),
        MofNCompleteColumn(),
        BarColumn(bar_width=12),
        Remaining(elapsed_when_finished=True),
        TextColumn("{task.fields[note]}", table_column=Column(overflow="fold")),
        console=Console(stderr=True),
    )


def format_seconds(seconds: float) -> str:
    """A duration for people: 42 s, 3 min 5 s, 2 h 10 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
