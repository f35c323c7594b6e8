"""Which videos are held against each other: those of one prompt and seed."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ivideo.comparing.candidates import list_videos
from ivideo.errors import IvideoError, UsageError
from ivideo.inputs.prompts import identify, own_of, seed_of
from ivideo.video.captions import Captions, find_prompt
from ivideo.video.names import file_stem
from ivideo.video.reader import open_video

Key = tuple[str, int]


@dataclass(frozen=True)
class ReadyVideo:
    """A video of a folder; prompt and seed are None where it does not say them.

    Attributes:
        path: its file.
        prompt: what it should show.
        seed: what it was drawn from.
        notes: where the prompt comes from, and what beside the video was left alone, a line each.
        fault: why what lies beside it does not tell the prompt; empty where that is not known.
    """

    path: Path
    prompt: str | None
    seed: int | None
    notes: Sequence[str] = ()
    fault: str = ""

    @property
    def key(self) -> Key | None:
        """Prompt and seed, which pair it with the other candidates'; None if one is unknown."""
        return None if self.prompt is None or self.seed is None else (self.prompt, self.seed)


@dataclass(frozen=True)
class Row:
    """Clips that are held against each other.

    Attributes:
        prompt: what all of them should show.
        seed: what all of them were drawn from; None where that is not known.
        name: of their files, without a suffix, unlike that of any other row.
        ready: those of the folders that lie there already, by the candidate's index.
    """

    prompt: str
    seed: int | None
    name: str
    ready: Mapping[int, Path]


def plan_clips(prompts: Sequence[str], num_seeds: int, seed: int) -> list[Key]:
    """Prompt and seed of each clip, no seed twice: clip k of prompt i has seed + k * len(prompts) + i.

    More seeds leave the clips of fewer as they are: 2 of "a", "b" from 0 on are ("a", 0), ("a", 2), ("b", 1), ("b", 3).
    A prompt with a seed of its own has that one in place of seed + i.
    """
    keys = [(p, seed_of(p, seed + i) + k * len(prompts)) for i, p in enumerate(prompts) for k in range(num_seeds)]
    return list({(identify(prompt), number): (prompt, number) for prompt, number in keys}.values())


def plan_rows(keys: Sequence[tuple[str, int | None]], ready: Sequence[Mapping[int, Path]] | None = None) -> list[Row]:
    """The rows of these prompts and seeds, with the videos that are ready for each.

    Their names tell the prompt's place in the list, the prompt and the seed: "001_a-dog_seed1".
    """
    places = {prompt: place for place, prompt in enumerate(dict.fromkeys(prompt for prompt, _ in keys))}
    rows = []
    for index, (prompt, seed) in enumerate(keys):
        is_first = seed is not None and (prompt, seed) not in keys[:index]
        which = f"seed{seed}" if is_first else f"row{index}"
        name = f"{places[prompt]:03d}_{file_stem(prompt)}_{which}"
        rows.append(Row(prompt, seed, name, ready[index] if ready else {}))
    return rows


def read_folder(folder: Path, prompts: Sequence[str] | None, captions: Captions | None = None) -> list[ReadyVideo]:
    """A folder's videos, without decoding them; with prompts only those that say one of them.

    Args:
        folder: of videos.
        prompts: wanted ones; None for all.
        captions: prompts by names, which come before what videos say; see `find_prompt`.

    Raises:
        IvideoError: a video that cannot be read or has no frames, or none of the prompts.
    """
    videos = []
    for path in list_videos(folder):
        reader = open_video(path)
        prompt, fault = None, ""
        try:
            prompt = find_prompt(reader, captions)
        except IvideoError as error:  # another folder's video may say it
            fault = str(error)
        notes, seed = tuple(reader.notes), reader.metadata.get("seed")
        known_seed = seed if isinstance(seed, int) else None
        if prompts is None or (prompt := find_listed(prompt, known_seed, prompts)) is not None:
            if not reader.count():
                raise IvideoError(f"{path} has no frames")
            videos.append(ReadyVideo(path, prompt, known_seed, notes, fault))
    if not videos:
        raise IvideoError(f"{folder} has no video of the given prompts")
    return videos


def find_listed(prompt: str | None, seed: int | None, prompts: Sequence[str]) -> str | None:
    """The listed prompt, with the negative prompt that it brings, that a video says; one with a seed is of that seed.

    Raises:
        UsageError: it is listed with different negative prompts, which a video and its seed do not tell apart.
    """
    found = [listed for listed in prompts if listed == prompt and own_of(listed).get("seed", seed) == seed]
    if len({identify(listed) for listed in found}) > 1:
        raise UsageError(f"`prompts` has {prompt!r} several times, and videos of a folder are found by prompt and seed")
    return next(iter(found), None)


def match_folders(folders: Mapping[int, Sequence[ReadyVideo]], names: Mapping[int, str], by_name: bool) -> list[Row]:
    """The videos that all folders have, by prompt and seed, else by file name, in the first one's order.

    Args:
        folders: the videos of each, by the candidate's index; at least one.
        names: of the candidates, by index.
        by_name: whether file names may pair them; models cannot make what only has a name.

    Raises:
        IvideoError: nothing in common, or videos that do not say their prompts, or say different ones.
    """
    sides = list(folders.values())
    double = next(filter(None, map(_find_double, sides)), None)
    matches = [] if double else _match(sides, lambda video: video.key)
    if not matches and by_name:
        matches = _match(sides, lambda video: video.path.stem)
    if not matches:
        silent = [names[i] for i, side in folders.items() if not any(video.key for video in side)]
        raise IvideoError(_explain(double, silent if not by_name else [], [names[i] for i in folders]))
    keys = [(_agree_on_prompt(match), _agree_on_seed(match)) for match in matches]
    return plan_rows(keys, [{i: video.path for i, video in zip(folders, match, strict=True)} for match in matches])


def _explain(double: tuple[ReadyVideo, ReadyVideo] | None, silent: Sequence[str], names: Sequence[str]) -> str:
    """Why nothing pairs."""
    if double:
        first, second = double
        return f"{first.path} and {second.path} say the same prompt and seed: which one is to be compared?"
    if silent:
        return f"the videos in {silent[0]} do not say their prompts and seeds"
    return f"{' and '.join(names)} share no video: they pair by prompt and seed, else by file name"


def _match(
    sides: Sequence[Sequence[ReadyVideo]], key_of: Callable[[ReadyVideo], Hashable]
) -> list[tuple[ReadyVideo, ...]]:
    tables = [{key_of(video): video for video in side if key_of(video) is not None} for side in sides]
    shared = [key for key in tables[0] if all(key in table for table in tables)]
    return [tuple(table[key] for table in tables) for key in shared]


def _find_double(side: Sequence[ReadyVideo]) -> tuple[ReadyVideo, ReadyVideo] | None:
    """Two videos of one prompt and seed."""
    seen: dict[Key, ReadyVideo] = {}
    for video in side:
        if video.key and video.key in seen:
            return seen[video.key], video
        if video.key:
            seen[video.key] = video
    return None


def _agree_on_prompt(match: Sequence[ReadyVideo]) -> str:
    said = {video.prompt: video for video in match if video.prompt}
    if not said:
        fault = next((video.fault for video in match if video.fault), "")
        raise IvideoError(fault or f"video {match[0].path.name} says its prompt in no folder: give it by `captions`")
    if len(said) > 1:
        (prompt, video), (other_prompt, other), *_ = said.items()
        raise IvideoError(f"{video.path} is of {prompt!r}, {other.path} of {other_prompt!r}: give folders that agree")
    return next(iter(said))


def _agree_on_seed(match: Sequence[ReadyVideo]) -> int | None:
    seeds = {video.seed for video in match}
    return seeds.pop() if len(seeds) == 1 else None
