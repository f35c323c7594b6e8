"""Prompt files, one prompt a line, and lists of videos with their captions."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from ivideo.config.parts import check_prompt_length
from ivideo.errors import IvideoError, UsageError
from ivideo.files.atomic import explain_os_error
from ivideo.files.reading import check_file
from ivideo.video.folders import READABLE_SUFFIXES, list_folder


def read_prompts(source: Path | str) -> list[str]:
    """Read the prompts of a UTF-8 text file, one a line, in the file's order, at least one.

    Blank lines and lines whose first visible character is `#` are ignored, white space around a prompt is cut off,
    and a prompt that comes twice is kept once, at its first place: the lines "# pets", "a cat", "", " a dog ",
    "a cat" give ["a cat", "a dog"].

    Args:
        source: the file (a byte order mark is tolerated), or "-" for standard input.

    Raises:
        IvideoError: the file is missing, a folder, unreadable, not UTF-8 text or has no prompt in it.
    """
    name, text = read_text(source)
    return parse_prompts(name, text)


def parse_prompts(name: str, text: str) -> list[str]:
    """The prompts in a text, as `read_prompts` has them.

    Args:
        name: what an error calls the text.
        text: a prompt a line.

    Raises:
        IvideoError: there is no prompt in it.
    """
    lines = (line.strip() for line in text.splitlines())
    prompts = list(dict.fromkeys(line for line in lines if line and not line.startswith("#")))
    if not prompts:
        raise IvideoError(f"no prompts in {name}; write one a line, lines that begin with # are comments")
    return prompts


def read_text(source: Path | str) -> tuple[str, str]:
    """Read a UTF-8 text of prompts or captions, or standard input: what an error should call it, and the text.

    Args:
        source: the file (a byte order mark is tolerated), or "-" for standard input.

    Raises:
        IvideoError: the file is missing, a folder, unreadable or not UTF-8 text.
    """
    name = "standard input" if str(source) == "-" else str(source)
    try:
        return name, _read_bytes(source).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise IvideoError(
            f"{name} is not UTF-8 text (byte {error.start} does not fit); prompts are one a line in plain text"
        ) from error


def _read_bytes(source: Path | str) -> bytes:
    if str(source) == "-":
        return sys.stdin.buffer.read()
    path = Path(source)
    if path.is_dir():
        raise IvideoError(f"{path} is a folder; prompts are read from a text file, one a line")
    try:
        return check_file(path).read_bytes()
    except OSError as error:
        raise explain_os_error("read", path, error) from error


def check_prompts(prompts: Sequence[str]) -> None:
    """Refuse to work for nothing.

    Raises:
        UsageError: no prompts, an empty one, or one that is no prompt by its length.
    """
    if not prompts or any(not prompt.strip() for prompt in prompts):
        raise UsageError("empty prompt: say what the video should show")
    for prompt in prompts:
        check_prompt_length(prompt)


COLUMNS = ("video", "prompt")
SEPARATOR = "|||"
PLAIN, BARS, OBJECT = "plain text", "video|||prompt", "a JSON object"  # kinds of lines


class ListedClip(NamedTuple):
    """A video and its caption.

    Attributes:
        video: the file, or a folder of frames; it need not be there.
        prompt: its caption; empty where the list has none.
        place: where it is listed, for messages.
    """

    video: Path
    prompt: str
    place: str


Source: TypeAlias = Sequence[str] | Sequence[ListedClip]
Entry: TypeAlias = tuple[int, str, str]
"""Line, video and caption, as a list has them."""


Parse: TypeAlias = Callable[[str, str], Iterator[Entry]]
"""`parse(name, text)` gives the entries of a list; `name` is for errors."""


def read_source(source: Path | str, videos: Path | None = None) -> Source:
    """Read prompts, or a list of videos with captions: lines of `video|||prompt`, CSV, JSONL, or a captioned folder.

    Args:
        source: a text file, a folder, or "-" for standard input.
        videos: folder that the list's paths start at; default: the list's own, or the current one for "-".

    Returns:
        Prompts, or clips; at least one, each once, in the order of the list (of a folder: natural order).

    Raises:
        UsageError: `videos` is given, but this isn't a list of videos.
        IvideoError: unreadable, empty, of mixed kinds, without the columns, or a video with two captions.
    """
    is_file = str(source) != "-" and not Path(source).is_dir()
    if str(source) != "-" and not is_file:
        if videos is not None:
            raise UsageError(f"`videos` goes with a list of videos; {source} is a folder with its captions beside them")
        return read_captioned_folder(Path(source))
    name, text = read_text(source)
    parse = _find_parser(name, text)
    if parse is None:
        if videos is not None:
            raise UsageError(f"`videos` goes with a list of videos; {name} is a list of prompts")
        return parse_prompts(name, text)
    folder = videos or (Path(source).parent if is_file else Path())
    return unite_clips(
        (
            ListedClip(folder / Path(video).expanduser(), prompt, f"{name}, line {line}")
            for line, video, prompt in parse(name, text)
        ),
        name,
    )


def gather_source(prompts: Source | Iterable[tuple[Path | str, str]] | Path | str, videos: Path | None) -> Source:
    """What to train on, of all that Python callers may hand over.

    Args:
        prompts: prompts, pairs (video, prompt), or the path of a list.
        videos: folder that the list's or the pairs' paths start at.

    Raises:
        UsageError: prompts and pairs in one list, or `videos` with prompts.
        IvideoError: see `read_source`.
    """
    if isinstance(prompts, str | Path):
        return read_source(prompts, videos)
    items: list[Any] = list(prompts)
    texts = [item for item in items if isinstance(item, str)]
    if len(texts) == len(items):
        if videos is not None:
            raise UsageError("`videos` goes with a list of videos, not of prompts")
        return texts
    if texts or not all(isinstance(item, tuple | list) and len(item) in (2, len(ListedClip._fields)) for item in items):
        raise UsageError("a list to train on holds either prompts or pairs (video, prompt)")
    folder = videos or Path()
    clips = (
        ListedClip(folder / Path(video).expanduser(), prompt, *place or [f"pair {number}"])
        for number, (video, prompt, *place) in enumerate(items, 1)
    )
    return unite_clips(clips, "the list")


def read_captioned_folder(folder: Path) -> list[ListedClip]:
    """List a folder's videos, and its folders of frames, with the first non-empty line of the `.txt` beside each.

    The caption of `cat.mp4` is in `cat.txt`, that of the frames in `cat/` as well; a folder without one is no clip.

    Raises:
        IvideoError: no videos, or an unreadable caption.
    """
    clips = []
    for path in list_folder(folder):
        is_folder = path.is_dir()
        caption = path.with_name(f"{path.name if is_folder else path.stem}.txt")
        if caption.is_file() if is_folder else path.suffix.lower() in READABLE_SUFFIXES:
            lines = read_text(caption)[1].splitlines() if caption.is_file() else []
            clips.append(ListedClip(path, next(filter(str.strip, lines), ""), f"caption: {caption}"))
    if not clips:
        raise IvideoError(f"no videos in folder {folder} ({', '.join(READABLE_SUFFIXES)}), each with a .txt beside it")
    return unite_clips(clips, str(folder))


def unite_clips(clips: Iterable[ListedClip], name: str) -> list[ListedClip]:
    """Tidy the captions and keep each clip once.

    Raises:
        IvideoError: no clips, or two captions for a video.
    """
    found: dict[Path, ListedClip] = {}
    for clip in clips:
        tidy = clip._replace(prompt=" ".join(clip.prompt.split()))
        first = found.setdefault(clip.video, tidy)
        if first.prompt != tidy.prompt:
            raise IvideoError(
                f"{clip.place}: {clip.video} has the caption {tidy.prompt!r} here and {first.prompt!r} before "
                f"({first.place}); a clip has one"
            )
    if not found:
        raise IvideoError(f"no videos in {name}")
    return list(found.values())


def _find_parser(name: str, text: str) -> Parse | None:
    """How a list is read; None for prompts. All lines must be of one kind."""
    suffix = Path(name).suffix.lower()
    if suffix == ".csv" or _is_header(text.split("\n", 1)[0]):
        return _parse_csv
    if suffix == ".jsonl":
        return _parse_jsonl
    kinds = [(number, _kind_of(line)) for number, line in _lines(text)]
    first = kinds[0][1] if kinds else PLAIN
    if other := [(number, kind) for number, kind in kinds if kind != first]:
        raise IvideoError(f"{name}, line {other[0][0]} is {other[0][1]}, where the lines before are {first}")
    return {PLAIN: None, BARS: _parse_bars, OBJECT: _parse_jsonl}[first]


def _parse_bars(name: str, text: str) -> Iterator[Entry]:
    for number, line in _lines(text):
        video, _, prompt = line.partition(SEPARATOR)
        yield number, _check_video(video, name, number), prompt


def _parse_jsonl(name: str, text: str) -> Iterator[Entry]:
    for number, line in _lines(text):
        try:
            record = json.loads(line)
        except ValueError as error:
            raise IvideoError(f"{name}, line {number} is no JSON: {error}") from None
        if not isinstance(record, dict):
            raise IvideoError(f"{name}, line {number} is no JSON object with video and prompt")
        _check_columns(list(record), f"{name}, line {number}")
        video, prompt = (record[column] for column in COLUMNS)
        if not isinstance(video, str) or not isinstance(prompt, str | None):
            raise IvideoError(f"{name}, line {number}: video and prompt must be text")
        yield number, _check_video(video, name, number), prompt or ""


def _parse_csv(name: str, text: str) -> Iterator[Entry]:
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        header = [cell.strip() for cell in next(rows, [])]
        _check_columns(header, f"{name}, line 1")
        places = [header.index(column) for column in COLUMNS]
        for row in filter(None, rows):
            if len(row) != len(header):
                advice = "a text with a comma in it stands in double quotes"
                raise IvideoError(f"{name}, line {rows.line_num}: {len(row)} cells, not {len(header)}; {advice}")
            video, prompt = (row[place] for place in places)
            yield rows.line_num, _check_video(video, name, rows.line_num), prompt
    except csv.Error as error:
        raise IvideoError(f"{name}, line {rows.line_num} is no CSV: {error}") from None


def _check_columns(found: Sequence[str], place: str) -> None:
    if missing := [column for column in COLUMNS if column not in found]:
        raise IvideoError(f"{place}: no {' and no '.join(missing)} among its columns ({', '.join(found)})")


def _check_video(video: str, name: str, line: int) -> str:
    if not video.strip():
        raise IvideoError(f"{name}, line {line} names no video")
    return video.strip()


def _lines(text: str) -> Iterator[tuple[int, str]]:
    """Number and text of the lines that count."""
    for number, line in enumerate(io.StringIO(text, newline=None), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            yield number, line.strip()


def _is_header(line: str) -> bool:
    return {*COLUMNS} <= {cell.strip().strip('"') for cell in line.split(",")} and not line.startswith("#")


def _kind_of(line: str) -> str:
    try:
        if line.startswith("{") and isinstance(json.loads(line), dict):
            return OBJECT
    except ValueError:
        pass
    return BARS if SEPARATOR in line else PLAIN
