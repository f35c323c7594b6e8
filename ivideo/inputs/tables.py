"""Lists of prompts or videos as rows, whatever they are written in: lines, JSON, JSON lines, CSV, TSV or parquet."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ivideo.errors import IvideoError
from ivideo.files.atomic import explain_os_error
from ivideo.inputs.columns import NAMES, Table, check_columns, column_of, fold_name
from ivideo.inputs.texts import COMMENT, Lines, find_lines, read_text
from ivideo.video.folders import READABLE_SUFFIXES

AROUND = ("prompts", "captions", "data", "items", "videos", "samples", "rows", "annotations")  # what arrays are called
SEPARATOR = "|||"
PLAIN, BARS, OBJECT = "plain text", "video|||prompt", "a JSON object"  # kinds of lines
DELIMITERS = (",", "\t", ";")
TABLE_SUFFIXES = (".csv", ".tsv", ".tab")
JSON_SUFFIXES = (".json", ".jsonl", ".ndjson")
PARQUET = ".parquet"
LIST_SUFFIXES = (".txt", *TABLE_SUFFIXES, *JSON_SUFFIXES, PARQUET)
WORD = re.compile(r"\w[\w-]*")
JSON_PIECE = re.compile(r'[\[\]{}]+,?|[\[{]\s*["\'].*|"(?:[^"\\]|\\.)*"\s*:.*|["\'\]}].*["\'\]}],')


def read_table(source: Path | str) -> Table:
    """Read a list, by its name where that ends in .csv, .tsv, .json, .jsonl or .parquet, else by what it looks like.

    Args:
        source: the file, or "-" for standard input.

    Raises:
        IvideoError: unreadable, not what its name says, of mixed kinds, or a line that looks like JSON or a header.
    """
    suffix = Path(source).suffix.lower()
    if suffix == PARQUET:
        return _read_parquet(Path(source))
    return parse_table(*read_text(source), suffix)


def parse_table(name: str, text: str, suffix: str = "") -> Table:
    """The rows of a text, see `read_table`; `name` is for messages."""
    if suffix in TABLE_SUFFIXES:
        return _parse_csv(name, text, "," if suffix == ".csv" else "\t")
    if suffix in JSON_SUFFIXES:
        return _parse_json(name, text)
    lines = find_lines(name, text)
    first = lines.kept[0][1] if lines.kept else ""
    if delimiter := find_delimiter(first):
        return _parse_csv(name, text, delimiter)
    if first.startswith(("{", "[")) and (is_json(text) or _is_object(first)):
        return _parse_json(name, text)
    return _parse_lines(name, lines)


def _parse_lines(name: str, lines: Lines) -> Table:
    table = Table(name, lines=lines)
    kinds = [_kind_of(line) for _, line in lines.kept]
    for (number, line), kind in zip(lines.kept, kinds, strict=True):
        place = f"{name}, line {number}"
        if kind != kinds[0]:
            raise IvideoError(f"{place} is {kind}, where the lines before are {kinds[0]}")
        if kind == BARS:
            video, _, prompt = line.partition(SEPARATOR)
            table.add(place, {"video": video, "prompt": prompt})
        else:
            check_line(place, line, is_first=not table.rows)
            table.add(place, {"prompt": line})
    table.has_videos = BARS in kinds
    return table


def check_line(place: str, line: str, *, is_first: bool = False) -> None:
    """Refuse a prompt that is a piece of a list.

    Args:
        place: what an error calls it.
        line: the prompt.
        is_first: whether others follow, of which it may be the name.

    Raises:
        IvideoError: it looks like JSON or the header of a table.
    """
    if looks_like_json(line):
        raise IvideoError(f"{place} looks like JSON, not like a prompt: {line[:60]}")
    if find_delimiter(line) or (is_first and fold_name(line) in NAMES["prompt"]):
        raise IvideoError(f"{place} looks like the header of a table, not like a prompt: {line[:60]}")


def looks_like_json(line: str) -> bool:
    """Whether a line is JSON other than a number or a name, or a piece of it: `[`, `"a cat",`, `"prompt": "a cat"`."""
    if JSON_PIECE.fullmatch(line):
        return True
    try:
        return isinstance(json.loads(line), str | list | dict)
    except (ValueError, RecursionError):
        return False


def find_delimiter(line: str) -> str | None:
    """What separates the names of columns in a line; None for a line that is no header with a prompt among them."""
    for delimiter in DELIMITERS:
        cells = [cell.strip().strip('"') for cell in line.split(delimiter)]
        if len(cells) > 1 and all(map(WORD.fullmatch, cells)) and {*map(fold_name, cells)} & {*NAMES["prompt"]}:
            return delimiter
    return None


def _kind_of(line: str) -> str:
    return OBJECT if _is_object(line) else BARS if SEPARATOR in line else PLAIN


def _parse_csv(name: str, text: str, delimiter: str) -> Table:
    """Rows under a header; blank lines and comments may stand above it."""
    lines = text.split("\n")
    above = 0
    while above < len(lines) and (not lines[above].strip() or COMMENT.match(lines[above].strip())):
        lines[above], above = "\r" if lines[above].endswith("\r") else "", above + 1
    delimiter = _choose_delimiter(lines[above] if above < len(lines) else "", delimiter)
    rows = csv.reader(io.StringIO("\n".join(lines), newline=""), delimiter=delimiter, strict=True)
    table = Table(name, lines=Lines(name, [], sum("#" in line for line in text.split("\n")[:above]), []))
    try:
        header = [cell.strip() for cell in next(filter(None, rows), [])]
        place = f"{name}, line {rows.line_num or 1}"
        table.has_videos = check_columns(header, place)
        known = [fold_name(cell) for cell in header if column_of(cell)]
        if twice := [cell for cell in known if known.count(cell) > 1]:
            raise IvideoError(f"{place}: two columns are called {twice[0]}")
        for row in filter(None, rows):
            if len(row) != len(header):
                advice = f"a text with {'a tab' if delimiter == chr(9) else repr(delimiter)} in it stands in quotes"
                raise IvideoError(f"{name}, line {rows.line_num}: {len(row)} cells, not {len(header)}; {advice}")
            table.add(f"{name}, line {rows.line_num}", dict(zip(header, row, strict=True)))
    except csv.Error as error:
        raise IvideoError(f"{name}, line {rows.line_num} is no table: {error}") from None
    return table


def _choose_delimiter(header: str, usual: str) -> str:
    """The usual one, unless another one separates a column of prompts."""
    cells = {one: header.split(one) for one in (usual, *DELIMITERS)}
    found = [one for one, names in cells.items() if len(names) > 1 and "prompt" in map(column_of, names)]
    return next(iter(found), usual)


def _parse_json(name: str, text: str) -> Table:
    """A JSON array or object, else JSON lines."""
    lines = find_lines(name, text) if not is_json(text) else None
    table = Table(name, lines=lines)
    if lines is None:
        found = [(f"{name}, item {number}", item) for number, item in enumerate(_list_items(_load(text, name)), 1)]
    else:
        if not (lines.kept and _is_object(lines.kept[0][1])) and text.lstrip().startswith(("[", "{")):
            _load(text, name)  # of no line by itself: its error tells more
        found = [(place, _load(line, place)) for place, line in _places(lines)]
    for place, item in found:
        if isinstance(item, str):
            item = {"prompt": item}
        if not isinstance(item, dict):
            raise IvideoError(f"{place} is neither a text nor a JSON object with a prompt")
        has_videos = check_columns(list(item), place)
        if table.rows and has_videos != table.has_videos:
            raise IvideoError(f"{place} names {'a' if has_videos else 'no'} video, unlike those before")
        table.has_videos = has_videos
        table.add(place, item)
    return table


def _places(lines: Lines) -> Iterator[tuple[str, str]]:
    return ((f"{lines.name}, line {number}", line) for number, line in lines.kept)


def _list_items(content: Any) -> Iterable[Any]:
    """The items of a JSON file: an array, one object, an object around an array, or captions by the names of videos."""
    if isinstance(content, list):
        return content
    if not isinstance(content, dict):
        return [content]
    if content and all(Path(key).suffix.lower() in READABLE_SUFFIXES for key in content):
        return [{"video": key, "prompt": value} for key, value in content.items()]
    around = [key for key, value in content.items() if isinstance(value, list) and fold_name(key) in AROUND]
    others = {fold_name(key) for key in content if key not in around}
    if len(around) == 1 and not others & {name for names in NAMES.values() for name in names}:
        items: list[Any] = content[around[0]]
        return items
    return [content]


def _load(text: str, place: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_make_object)
    except (ValueError, RecursionError) as error:
        raise IvideoError(f"{place} is no JSON: {error}") from None


def _make_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("an object has a name twice")
    return made


def is_json(text: str) -> bool:
    """Whether a whole text is JSON, or nested too deep to say."""
    try:
        json.loads(text)
    except ValueError:
        return False
    except RecursionError:
        return True
    return True


def _is_object(line: str) -> bool:
    try:
        return line.startswith("{") and isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _read_parquet(path: Path) -> Table:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise IvideoError(f"{path}: parquet is read by pyarrow, which is not installed; pip install pyarrow") from None
    try:
        with parquet.ParquetFile(path) as file:
            columns = [name for name in file.schema_arrow.names if column_of(name)]
            has_videos = check_columns(file.schema_arrow.names, str(path))
            records = file.read(columns=columns).to_pylist()
    except FileNotFoundError:
        raise IvideoError(f"prompt file {path} does not exist") from None
    except OSError as error:
        raise explain_os_error("read", path, error) from error
    except ArrowException as error:
        raise IvideoError(f"{path} is no parquet: {' '.join(str(error).split())}") from None
    table = Table(str(path), has_videos=has_videos)
    for number, record in enumerate(records, 1):
        table.add(f"{path}, row {number}", record)
    return table
