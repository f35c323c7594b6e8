"""What lists call their columns, and their rows: the form that every list of prompts or videos is read into."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ivideo.config.parts import GenerationPart
from ivideo.errors import IvideoError
from ivideo.inputs.texts import Lines
from ivideo.progress import Progress

COLUMNS = {
    "video": "video video_path file_name filename file_path filepath file path video_file clip_path",
    "prompt": "prompt text caption prompts captions description prompt_en positive_prompt positive sentence cap",
    "negative_prompt": "negative_prompt negative neg_prompt n_prompt negativeprompt negative_prompt_en",
    "seed": "seed",
}  # each column's names in other lists, the first that a row has counts
NAMES = {column: names.split() for column, names in COLUMNS.items()}
FOR_ALL = {*GenerationPart.model_fields} - {*COLUMNS}  # settings that a prompt cannot have of its own


class Row(NamedTuple):
    """A row of a list.

    Attributes:
        place: where it stands, for messages.
        values: by the keys of `COLUMNS`, as they were written; what the row does not have is left out.
    """

    place: str
    values: Mapping[str, Any]


@dataclass
class Table:
    """A list of prompts, or of videos with captions.

    Attributes:
        name: what messages call it.
        rows: in their order.
        has_videos: whether its rows name videos.
        lines: where it is written in lines, those that count.
        others: columns that may have been meant to count, and do not.
    """

    name: str
    rows: list[Row] = field(default_factory=list)
    has_videos: bool = False
    lines: Lines | None = None
    others: dict[str, None] = field(default_factory=dict)

    def add(self, place: str, record: Mapping[str, Any]) -> None:
        """Add a row of any columns; names of columns are the same whatever their case, spaces and dashes."""
        values: dict[str, Any] = {}
        named = {fold_name(name): value for name, value in record.items() if value is not None}
        for column, names in NAMES.items():
            found = [name for name in names if name in named]
            if found:
                values[column] = named[found[0]]
                self.others |= dict.fromkeys(name for name in found[1:] if named[name] != named[found[0]])
        if "video" not in values:
            self.others |= dict.fromkeys(name for name in named if name in FOR_ALL)
        self.rows.append(Row(place, values))

    def tell(self, progress: Progress) -> None:
        """Say what of the list does not count."""
        if self.lines:
            self.lines.tell(progress)
        if self.others:
            progress.say(f"{self.name}: not looked at: {', '.join(self.others)}")


def check_columns(found: Sequence[str], place: str) -> bool:
    """Whether columns name videos.

    Raises:
        IvideoError: none of them is of prompts.
    """
    columns = {column for column, names in NAMES.items() if {*map(fold_name, found)} & {*names}}
    if "prompt" not in columns:
        raise IvideoError(f"{place}: no prompt (or text, caption) among its columns ({', '.join(found)[:80]})")
    return "video" in columns


def column_of(name: str) -> str | None:
    """Which of `COLUMNS` a name stands for; None for what does not count."""
    return next((column for column, names in NAMES.items() if fold_name(name) in names), None)


def fold_name(name: str) -> str:
    """The name of a column without what differs from list to list."""
    return re.sub(r"[\s-]+", "_", name.strip().strip('"')).casefold()
