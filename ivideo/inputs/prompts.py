"""Prompts as people bring them, each with a negative prompt and a seed of its own where it has them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

from ivideo.config.parts import check_prompt_length
from ivideo.errors import IvideoError, UsageError
from ivideo.inputs.columns import Row, Table
from ivideo.inputs.tables import LIST_SUFFIXES, check_line, parse_table, read_table
from ivideo.inputs.texts import escape_line
from ivideo.progress import Progress, Silence

MAX_SEED = 2**63 - 1
MAX_DIGITS = len(str(MAX_SEED))


class Prompt(str):
    """A prompt: its text, which is all that counts where prompts are held against each other.

    Attributes:
        negative_prompt: what its clips should not show; None for what is set for all.
        seed: of its first clip; None for what is set for all.
    """

    negative_prompt: str | None
    seed: int | None

    def __new__(cls, text: str, negative_prompt: str | None = None, seed: int | None = None) -> Self:
        """Make one of a text."""
        prompt = super().__new__(cls, text)
        prompt.negative_prompt, prompt.seed = negative_prompt, seed
        return prompt

    @property
    def own(self) -> dict[str, Any]:
        """What it brings beside its text, by name."""
        return {name: value for name, value in vars(self).items() if value is not None}


def own_of(prompt: str) -> dict[str, Any]:
    """What a prompt brings beside its text, by name; a plain text brings nothing."""
    return prompt.own if isinstance(prompt, Prompt) else {}


def negative_of(prompt: str, default: str) -> str:
    """A prompt's negative prompt, the one that is set for all where it has none."""
    return str(own_of(prompt).get("negative_prompt", default))


def seed_of(prompt: str, default: int) -> int:
    """The seed of a prompt's first clip, what it would have otherwise where it brings none."""
    return int(own_of(prompt).get("seed", default))


def record_of(prompt: str) -> str | dict[str, Any]:
    """A prompt as JSON has it: a text, or an object where it brings more."""
    return {"prompt": str(prompt), **own_of(prompt)} if own_of(prompt) else str(prompt)


def identify(prompt: str) -> str:
    """What tells a prompt from others: its text, its negative prompt and its seed."""
    return json.dumps(record_of(prompt))


def are_same(some: Sequence[str], others: Sequence[str]) -> bool:
    """Whether two lists have the same prompts in the same order."""
    return [*map(identify, some)] == [*map(identify, others)]


def unique_prompts(prompts: Iterable[str]) -> list[str]:
    """Each prompt once, in order; texts with different negative prompts or seeds are different prompts."""
    found: dict[str, str] = {}
    for prompt in prompts:
        found.setdefault(identify(prompt), prompt)
    return list(found.values())


def read_prompts(source: Path | str, progress: Progress | None = None) -> list[str]:
    r"""Read the prompts of a file, in its order, at least one: text with a prompt a line, JSON, JSON lines, CSV, TSV.

    In text, blank lines and comments (`# ...`, or `#` alone) do not count, white space around a prompt is cut off, and
    `\#` begins a prompt with a hash. In tables and JSON objects the column is `prompt` (or text, caption), and
    `negative_prompt` and `seed` are the prompt's own. A prompt that comes twice is kept once, at its first place: the
    lines "# pets", "a cat", "", " a dog ", "a cat" give ["a cat", "a dog"].

    Args:
        source: the file (a byte order mark is tolerated), or "-" for standard input.
        progress: is told what does not count.

    Raises:
        IvideoError: the file is missing, a folder, unreadable, not UTF-8 text, damaged or has no prompt in it.
    """
    return read_prompts_of(read_table(source), progress or Silence())


def read_prompts_of(table: Table, progress: Progress) -> list[str]:
    """The prompts of a list, each once; see `read_prompts`."""
    prompts = make_prompts(table.name, table.rows)
    table.tell(progress)
    if table.has_videos:
        progress.say(f"{table.name}: its videos are not looked at, only their captions")
    found = unique_prompts(prompts)
    if repeats := len(prompts) - len(found):
        progress.say(f"{table.name}: {repeats} repeated prompt{'s'[: repeats > 1]} kept once")
    return found


def make_prompts(name: str, rows: Sequence[Row]) -> list[str]:
    """The prompts of a list's rows, in which one may come twice.

    Raises:
        IvideoError: there is none, an empty one, or one that is no text.
    """
    prompts: list[str] = []
    for row in rows:
        prompts.append(make_prompt(row, row.values.get("prompt")))
        if not prompts[-1]:
            raise IvideoError(f"{row.place} has an empty prompt")
    if not prompts:
        raise IvideoError(f"no prompts in {name}; write one a line, lines that begin with # and a space are comments")
    return prompts


def make_prompt(row: Row, text: Any) -> Prompt:
    """A prompt, or caption, of a row, without white space around it.

    Raises:
        IvideoError: it is no text, or its seed is no number.
    """
    negative = row.values.get("negative_prompt")
    for name, value in (("prompt", text), ("negative_prompt", negative)):
        if not isinstance(value, str | None):
            raise IvideoError(f"{row.place}: {name} {json.dumps(value)[:60]} must be text")
        if value and not is_unicode(value):
            raise IvideoError(f"{row.place}: {name} has half of a character (a lone surrogate) in it")
    return Prompt((text or "").strip(), (negative or "").strip() or None, read_seed(row))


def read_seed(row: Row) -> int | None:
    """A row's seed: a whole number, or nothing.

    Raises:
        IvideoError: it is something else.
    """
    written = str(row.values.get("seed", "")).strip()
    digits = written.removesuffix(".0")  # tables with gaps are written so
    if not written:
        return None
    if not digits.isdecimal() or int(digits[:MAX_DIGITS]) > MAX_SEED or len(digits) > MAX_DIGITS:
        raise IvideoError(f"{row.place}: seed {written[:40]}: a whole number from 0 to 2^63 - 1, or nothing")
    return int(digits)


def is_unicode(text: str) -> bool:
    """Whether a text can be written as UTF-8; what the command line could not read, and halves of pairs, cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


FILE_ADVICE = "give it by `prompts_file`; to film these words, pipe them into -"


def read_argument(text: str, advice: str = FILE_ADVICE) -> str:
    """A prompt that was typed, without white space around it.

    Args:
        text: what was typed.
        advice: what to do with the name of a file.

    Raises:
        UsageError: it is no UTF-8, the name of a file, or a piece of a list.
    """
    if not is_unicode(text):
        shown = os.fsencode(text).decode("utf-8", "backslashreplace") if _is_bytes(text) else ascii(text)[1:-1]
        raise UsageError(f"prompt '{shown}' is no UTF-8 text: check the terminal's encoding")
    text = text.strip()
    try:
        is_file = Path(text).is_file() or (os.sep in text and Path(text).is_dir())
    except (OSError, ValueError):  # too long for a name, or a NUL in it
        is_file = False
    if is_file:
        raise UsageError(f"prompt {text!r} is the name of a file: {advice}")
    if text.lower().endswith(LIST_SUFFIXES) and not any(map(str.isspace, text)):
        raise UsageError(f"prompt {text!r} is named like a file, and there is none")
    try:
        check_line("the prompt", text)
    except IvideoError as error:
        raise UsageError(f"{error}; lists are files or come by -") from None
    return text


def _is_bytes(text: str) -> bool:
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return True


def format_prompts(prompts: Sequence[str]) -> str:
    """Prompts as a text that `read_prompts` reads: one a line, or a JSON object a line where that tells more."""
    lines = "".join(f"{escape_line(prompt)}\n" for prompt in prompts)
    if not any(map(own_of, prompts)) and _read_back(lines) == [*prompts]:
        return lines
    return "".join(f"{json.dumps({'prompt': prompt, **own_of(prompt)}, ensure_ascii=False)}\n" for prompt in prompts)


def _read_back(lines: str) -> list[str] | None:
    """The prompts of a text; None where one looks like something else."""
    try:
        return [row.values["prompt"] for row in parse_table("prompts", lines).rows]
    except IvideoError:
        return None


def check_prompts(prompts: Sequence[str]) -> None:
    """Refuse to work for nothing.

    Raises:
        UsageError: no prompts, an empty one, or one that is no prompt by its length.
    """
    if not prompts or any(not prompt.strip() for prompt in prompts):
        raise UsageError("empty prompt: say what the video should show")
    for prompt in prompts:
        check_prompt_length(prompt)
