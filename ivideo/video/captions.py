"""What a video should show: prompts by the names of videos, beside them, and in their names."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path, PurePath
from typing import Any

from ivideo.errors import IvideoError, UsageError
from ivideo.video.folders import list_folder
from ivideo.video.reader import VideoReader
from ivideo.video.sidecars import read_json, read_text

_VBENCH_NAME = re.compile(r"(.*\S)-(?:0|[1-9][0-9]*)")
_NUM_NAMED = 3


class Captions:
    """Prompts by the names of videos, from a JSON file."""

    def __init__(self, path: Path) -> None:
        """Read them.

        A name is a path or its end, with or without the suffix: of `x/a/1.mp4` it is `a/1.mp4`, `1.mp4` or `1`; the
        longest one counts.

        Args:
            path: an object of names and prompts: {"1.mp4": "a cat", "b/2.mp4": "a dog"}.

        Raises:
            IvideoError: unreadable, no such object, or a name twice.
        """
        self.path = path
        pairs = read_json(path, _Pairs)
        if not isinstance(pairs, _Pairs) or not pairs:
            raise IvideoError(f'{path} is no JSON object of names and prompts: {{"1.mp4": "a cat"}}')
        self._prompts: dict[str, str] = {}
        for name, prompt in pairs:
            if not isinstance(prompt, str) or not prompt.strip():
                raise IvideoError(f"{path}: the prompt of {name!r} is no text")
            if self._prompts.setdefault(str(PurePath(name)), prompt) != prompt:
                raise IvideoError(f"{path}: {name!r} has two prompts")

    def find(self, video: Path) -> str | None:
        """The prompt of a video; None where no name means it."""
        return self._prompts.get(self._name_of(video) or "")

    def check(self, videos: Iterable[Path]) -> str | None:
        """Hold all names against the videos: which of them mean none, in one line; None where all mean one.

        Raises:
            UsageError: no name means any.
        """
        unused = dict.fromkeys(self._prompts)
        for video in videos:
            unused.pop(self._name_of(video) or "", None)
        if len(unused) == len(self._prompts):
            raise UsageError(f"{self.path} names none of the videos: it has {', '.join([*unused][:_NUM_NAMED])}")
        if not unused:
            return None
        shown = ", ".join([*unused][:_NUM_NAMED])
        return f"{self.path}: {len(unused)} of its {len(self._prompts)} names are of no video here ({shown})"

    def _name_of(self, video: Path) -> str | None:
        ends = [PurePath(*video.parts[start:]) for start in range(len(video.parts))]
        names = [str(name) for end in ends for name in (end, end.with_suffix(""))]
        return next((name for name in (str(video.absolute()), *names) if name in self._prompts), None)


class _Pairs(list[tuple[str, Any]]):
    """A JSON object with every pair that it has, also those of one name."""


def find_prompt(video: VideoReader, captions: Captions | None = None) -> str | None:
    """What a video should show: by `captions`, else as it says itself, else by the `.json` or the `.txt` beside it.

    Last comes a name as VBench gives it: "a cat-0.mp4" is of "a cat"; a single word counts only in a folder where
    others have several. That a name was taken, or that something beside the video was not, is noted in `video.notes`.

    Args:
        video: an open one.
        captions: prompts by names.

    Returns:
        None where nothing says it.

    Raises:
        IvideoError: nothing says it, and the `.json` is not its metadata; or the `.txt` is needed and cannot be read.
    """
    named, own = captions.find(video.path) if captions else None, video.metadata.get("prompt")
    if prompt := named or (own if isinstance(own, str) and own.strip() else None):
        with suppress(IvideoError):
            if read_caption(video.path) not in ("", " ".join(prompt.split())):
                video.display.note(f"left alone: {caption_path(video.path)} says another prompt")
    else:
        prompt = read_caption(video.path)
    if not prompt and (prompt := _prompt_in_name(video.path) or ""):
        video.display.note("its prompt is from its name")
    if video.foreign and not prompt:
        raise IvideoError(f"{video.foreign}, so nothing says what {video.path.name} should show: give it by `prompt`")
    note_foreign(video)
    return prompt or None


def note_foreign(video: VideoReader) -> None:
    """Note that the `.json` beside a video is left alone, where it is not its metadata."""
    if video.foreign:
        video.display.note(f"left alone: {video.foreign}")


def caption_path(video: Path) -> Path:
    """The text file of a video's caption: `1.txt` of `1.mp4`, and of the folder `1`."""
    return video.with_name(f"{video.name if video.is_dir() else video.stem}.txt")


def read_caption(video: Path) -> str:
    """The text beside a video, in one line; empty where there is none.

    Raises:
        IvideoError: it cannot be read.
    """
    path = caption_path(video)
    return " ".join(read_text(path).split()) if os.path.lexists(path) else ""


def _prompt_in_name(video: Path) -> str | None:
    match = _VBENCH_NAME.fullmatch(video.name if video.is_dir() else video.stem)
    return match[1] if match and (" " in match[1] or _is_of_vbench(video.parent)) else None


@cache
def _is_of_vbench(folder: Path) -> bool:
    """Whether a folder has a name of several words as VBench gives it."""
    names = (_VBENCH_NAME.fullmatch(path.stem) for path in list_folder(folder))
    return any(match and " " in match[1] for match in names)
