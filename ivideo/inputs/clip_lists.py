"""Lists of videos with their captions, and folders with captions beside the videos or in a `metadata` file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

from ivideo.errors import IvideoError, UsageError
from ivideo.inputs.columns import Row, Table
from ivideo.inputs.prompts import Prompt, identify, make_prompt, own_of, read_prompts_of
from ivideo.inputs.tables import is_json, parse_table, read_table
from ivideo.inputs.texts import find_lines, name_source, read_text
from ivideo.progress import Progress, Silence
from ivideo.video.folders import READABLE_SUFFIXES, list_folder

METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")  # Hugging Face's
CaptionKind = Literal["whole", "lines", "json"]
CAPTION_SUFFIXES = {"whole": (".txt", ".caption"), "lines": (".txt", ".caption"), "json": (".json", ".txt")}


class ListedClip(NamedTuple):
    """A video and a caption of it; one that has several is listed several times.

    Attributes:
        video: the file, or a folder of frames; it need not be there.
        prompt: its caption; empty where the list has none.
        place: where it is listed, for messages.
    """

    video: Path
    prompt: str
    place: str


Source: TypeAlias = Sequence[str] | Sequence[ListedClip]


def read_source(
    source: Path | str,
    videos: Path | None = None,
    captions: CaptionKind = "whole",
    progress: Progress | None = None,
) -> Source:
    """Read prompts (see `read_prompts`), or a list of videos with captions, or a folder of captioned videos.

    Lists are lines of `video|||prompt`, or what `read_prompts` reads with a column that names videos (`video`,
    `video_path`, `file_name`, `path`, ...). A folder's captions are in its `metadata.csv`, `.jsonl` or `.parquet`, else
    beside the videos.

    Args:
        source: a file, a folder, or "-" for standard input.
        videos: folder that the list's paths start at; default: the list's own, or the current one for "-".
        captions: how files beside videos are read, see `read_captions`.
        progress: is told what does not count.

    Returns:
        Prompts, or clips; at least one, each once, in the order of the list (of a folder: natural order).

    Raises:
        UsageError: `videos` is given, but this isn't a list of videos; or `captions`, and there are none beside videos.
        IvideoError: unreadable, empty, of mixed kinds or without the columns.
    """
    progress = progress or Silence()
    is_file = str(source) != "-" and not Path(source).is_dir()
    if str(source) != "-" and not is_file:
        return read_folder(Path(source), videos, captions, progress)
    if captions != "whole":
        raise UsageError(f"`captions` {captions} reads files beside videos, and {name_source(source)} is a list")
    table = read_table(source)
    if not table.has_videos:
        if videos is not None:
            raise UsageError(f"`videos` goes with a list of videos; {table.name} is a list of prompts")
        return read_prompts_of(table, progress)
    return read_clips_of(table, videos or (Path(source).parent if is_file else Path()), progress)


def read_clips_of(table: Table, folder: Path, progress: Progress) -> list[ListedClip]:
    """The clips of a list whose paths start at a folder.

    Raises:
        IvideoError: there is none, or a row without a video or with a caption that is no text.
    """
    clips = []
    for row in table.rows:
        video = row.values.get("video")
        if not isinstance(video, str | None):
            raise IvideoError(f"{row.place}: video {json.dumps(video, default=str)[:60]} must be text")
        if not (video and video.strip()):
            raise IvideoError(f"{row.place} names no video")
        path = folder / Path(video.strip()).expanduser()
        clips += [ListedClip(path, caption, row.place) for caption in _captions_of(row)]
    united = unite_clips(clips, table.name)
    table.tell(progress)
    if any("seed" in row.values for row in table.rows):
        progress.say(f"{table.name}: seeds are not looked at: real videos have none")
    return united


def _captions_of(row: Row) -> list[Prompt]:
    """A row's caption, or each of a list of them."""
    texts = row.values.get("prompt")
    return [make_prompt(row, text) for text in (texts if isinstance(texts, list) and texts else [texts or ""])]


def read_folder(folder: Path, videos: Path | None, captions: CaptionKind, progress: Progress) -> list[ListedClip]:
    """The clips of a folder, by its metadata file if it has one, else by the files beside its videos.

    Raises:
        UsageError: `videos` is given.
        IvideoError: several metadata files, one without videos, no videos, or an unreadable caption.
    """
    if videos is not None:
        raise UsageError(f"`videos` goes with a list of videos; {folder} is a folder with its captions beside them")
    lists = [folder / name for name in METADATA if (folder / name).is_file()]
    if captions != "whole" or not lists:
        return read_captioned_folder(folder, captions, progress)
    if len(lists) > 1:
        raise IvideoError(f"{folder} has {' and '.join(path.name for path in lists)}: give one of them as the list")
    table = read_table(lists[0])
    if not table.has_videos:
        raise IvideoError(f"{lists[0]}: no video (or file_name, video_path, path) among its columns")
    clips = read_clips_of(table, folder, progress)
    if others := len({path for path in list_folder(folder) if is_video_file(path)} - {clip.video for clip in clips}):
        progress.say(f"{others} video{'s'[: others > 1]} in {folder} not in {lists[0].name}, and left out")
    return clips


def is_video_file(path: Path) -> bool:
    """Whether a path is named like a video."""
    return path.suffix.lower() in READABLE_SUFFIXES


def read_captioned_folder(folder: Path, captions: CaptionKind, progress: Progress) -> list[ListedClip]:
    """List a folder's videos, and its folders of frames, with what the file beside each says.

    The caption of `cat.mp4` is in `cat.txt`, that of the frames in `cat/` as well; a folder without one is no clip.

    Args:
        folder: an existing one.
        captions: see `read_captions`.
        progress: is told what does not count.

    Raises:
        IvideoError: no videos, or an unreadable caption.
    """
    clips: list[ListedClip] = []
    for path in list_folder(folder):
        is_folder = path.is_dir()
        stem = path.name if is_folder else path.stem
        beside = [path.with_name(f"{stem}{suffix}") for suffix in CAPTION_SUFFIXES[captions]]
        caption = next(filter(Path.is_file, beside), None)
        if caption if is_folder else is_video_file(path):
            texts = read_captions(caption, captions, progress) if caption else []
            clips += [ListedClip(path, text, f"caption: {caption or beside[0]}") for text in texts or [""]]
    if not clips:
        raise IvideoError(f"no videos in folder {folder} ({', '.join(READABLE_SUFFIXES)}), each with a .txt beside it")
    return unite_clips(clips, str(folder))


def read_captions(path: Path, kind: CaptionKind, progress: Progress) -> list[str]:
    """What a file beside a video says.

    Args:
        path: the file.
        kind: `whole`: all its lines are one caption; `lines`: each is one; `json`: a text, a list of texts, or an
            object with a caption, or several.
        progress: is told of comments among lines.

    Raises:
        IvideoError: it cannot be read, or is JSON where a text is expected.
    """
    name, text = read_text(path)
    if kind == "json":
        rows = parse_table(name, text, ".json").rows
        return [caption for row in rows for caption in _captions_of(row)]
    if kind == "lines":
        lines = find_lines(name, text)
        lines.tell(progress)
        return [line for _, line in lines.kept]
    if text.lstrip().startswith(("[", "{")) and is_json(text):
        raise IvideoError(f"{name} is JSON, not a caption: `captions` json reads it")
    return [text]


def gather_source(
    prompts: Source | Iterable[tuple[Path | str, str]] | Path | str,
    videos: Path | None,
    captions: CaptionKind = "whole",
    progress: Progress | None = None,
) -> Source:
    """What to train on, of all that Python callers may hand over.

    Args:
        prompts: prompts, pairs (video, prompt), or the path of a list.
        videos: folder that the list's or the pairs' paths start at.
        captions: how files beside videos are read.
        progress: is told what of a list does not count.

    Raises:
        UsageError: prompts and pairs in one list, or `videos` with prompts.
        IvideoError: see `read_source`.
    """
    if isinstance(prompts, str | Path):
        return read_source(prompts, videos, captions, progress)
    items: list[Any] = list(prompts)
    texts = [item for item in items if isinstance(item, str)]
    if len(texts) == len(items):
        if videos is not None:
            raise UsageError("`videos` goes with a list of videos, not of prompts")
        return [Prompt(text.strip(), **own_of(text)) for text in texts]
    if texts or not all(isinstance(item, tuple | list) and len(item) in (2, len(ListedClip._fields)) for item in items):
        raise UsageError("a list to train on holds either prompts or pairs (video, prompt)")
    folder = videos or Path()
    clips = (
        ListedClip(folder / Path(video).expanduser(), prompt, *place or [f"pair {number}"])
        for number, (video, prompt, *place) in enumerate(items, 1)
    )
    return unite_clips(clips, "the list")


def unite_clips(clips: Iterable[ListedClip], name: str) -> list[ListedClip]:
    """Tidy the captions and keep each caption of a clip once.

    Raises:
        IvideoError: no clips.
    """
    found: dict[tuple[Path, str], ListedClip] = {}
    for clip in clips:
        tidy = clip._replace(prompt=tidy_caption(clip.prompt))
        found.setdefault((clip.video, identify(tidy.prompt)), tidy)
    if not found:
        raise IvideoError(f"no videos in {name}")
    return list(found.values())


def tidy_caption(caption: str) -> Prompt:
    """The caption with single spaces between its words."""
    own = own_of(caption)
    return Prompt(" ".join(caption.split()), own.get("negative_prompt"))


def captions_of(listed: Iterable[ListedClip]) -> list[list[str]]:
    """The captions of each video, videos in their order."""
    return [[clip.prompt for clip in clips] for clips in group_by_video(listed)]


def group_by_video(listed: Iterable[ListedClip]) -> list[list[ListedClip]]:
    """The entries of each video, videos in their order."""
    groups: dict[Path, list[ListedClip]] = {}
    for clip in listed:
        groups.setdefault(clip.video, []).append(clip)
    return list(groups.values())
