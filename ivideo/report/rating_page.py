"""The blind rating page: people compare clips of two candidates without being told which is whose, and answer."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

from ivideo.files.atomic import (
    atomic_folder,
    copy_file,
    explain_os_error,
    prepare_folder,
    temporary_folder,
    write_text,
)
from ivideo.files.records import write_json
from ivideo.report.answers import KEY_NAME, Pairs, Placement, RatingKey, name_key, read_key
from ivideo.report.pages import MAX_EMBEDDED_BYTES, build_page, data_uri
from ivideo.video.reader import read_video
from ivideo.video.writer import write_video

PAGE_NAME = "rate.html"
VIDEOS_NAME = "rate_videos"


def write_rating_page(
    folder: Path,
    results: Mapping[str, Any],
    *,
    seed: int = 0,
    pairs: Pairs = "first",
    max_embedded_bytes: int = MAX_EMBEDDED_BYTES,
) -> Path:
    """Write `rate.html`, and its key `rating_key.json`, beside the results of a comparison.

    An item is two candidates' clips of the same row: of every row and every pair that is asked for. Items come in a
    drawn order, and of each pair both candidates are on the left as often as on the right (give or take one). Item
    names are drawn, and every clip is encoded anew by the same encoder and without metadata, so that nothing in the
    page tells the sides apart but the pixels. The same results, seed and pairs give the same page.

    The clips are inside the page while they are small enough together; else they lie in `rate_videos/` beside it, under
    the drawn names, and are handed out with it. The key stays at home; that of another page becomes
    `rating_key_STUDY.json`, so that its answers can still be read.

    Args:
        folder: where the comparison's videos are; the page is written there.
        results: of the comparison: `contestants`, and `rows` with `prompt`, `seed` and `clips` with a `video` each.
        seed: of order, sides and names.
        pairs: which candidates meet: each one the first, or all of them each other.
        max_embedded_bytes: how much video the page holds at most.

    Raises:
        IvideoError: a video can't be read, or the page can't be written.
    """
    study = identify_study(folder, results, seed, pairs)
    items = draw_items(results, study, pairs)
    with temporary_folder("ivideo-rate-") as temporary:
        clips = _encode_blind(folder, results, temporary)
        sides = {
            (name, side): clips[results["rows"][item.row]["clips"][getattr(item, side)]["video"]]
            for name, item in items.items()
            for side in ("left", "right")
        }
        if sum(path.stat().st_size for path in sides.values()) <= max_embedded_bytes:
            sources = {place: data_uri(path) for place, path in sides.items()}
        else:
            sources = _lay_beside(prepare_folder(folder / VIDEOS_NAME) / study, sides)
    shown = [
        {"id": name, "prompt": item.prompt, "left": sources[name, "left"], "right": sources[name, "right"]}
        for name, item in items.items()
    ]
    names = [candidate["name"] for candidate in results["contestants"]]
    key = RatingKey(study=study, seed=seed, pairs=pairs, contestants=names, items=items)
    keep_other_key(folder, study)
    write_json(folder / KEY_NAME, key.model_dump())
    page = build_page(
        "rate.html",
        "Which video is better?",
        ("common.css", "rate.css"),
        ("dom.js", "player.js", "rate.js"),
        {"study": study, "items": shown},
    )
    return write_text(folder / PAGE_NAME, page)


def keep_other_key(folder: Path, study: str) -> None:
    """Give the key of another study, if one lies there, a name of its own: `rating_key_STUDY.json`."""
    if (folder / KEY_NAME).exists() and (other := read_key(folder)).study != study:
        copy_file(folder / KEY_NAME, folder / name_key(other.study))


def identify_study(folder: Path, results: Mapping[str, Any], seed: int, pairs: Pairs | None) -> str:
    """A name for these clips in this order, 16 hexadecimal digits that change with any of them.

    Args:
        folder: that the videos' paths are relative to.
        results: of the comparison.
        seed: of the order.
        pairs: which candidates meet; None as in `RatingKey`.
    """
    rows = [
        [row["prompt"], row["seed"], *(_hash_file(folder / clip["video"]) for clip in row["clips"])]
        for row in results["rows"]
    ]
    about = [seed, rows] if pairs is None else [seed, rows, pairs]
    return hashlib.sha256(json.dumps(about).encode()).hexdigest()[:16]


def draw_items(results: Mapping[str, Any], study: str, pairs: Pairs) -> dict[str, Placement]:
    """Draw order, names and sides of all items: placements by name, in the order in which they are shown.

    Args:
        results: of the comparison.
        study: decides the draws.
        pairs: which candidates meet.
    """
    rng = random.Random(study)
    rows = results["rows"]
    duels = [pair for pair in combinations(range(len(results["contestants"])), 2) if pairs == "all" or pair[0] == 0]
    placed: list[tuple[int, int, int]] = []
    for number, (one, other) in enumerate(duels):
        is_swapped = [(number + i) % 2 == 1 for i in range(len(rows))]
        rng.shuffle(is_swapped)
        placed += [(row, other, one) if swapped else (row, one, other) for row, swapped in enumerate(is_swapped)]
    rng.shuffle(placed)
    names = [f"{number:08x}" for number in rng.sample(range(16**8), len(placed))]
    return {
        name: Placement(row=row, prompt=str(rows[row]["prompt"]), seed=rows[row]["seed"], left=left, right=right)
        for name, (row, left, right) in zip(names, placed, strict=True)
    }


def _encode_blind(folder: Path, results: Mapping[str, Any], target: Path) -> dict[str, Path]:
    """Every clip, by its path in the results, encoded anew without metadata."""
    clips: dict[str, Path] = {}
    for path in (clip["video"] for row in results["rows"] for clip in row["clips"]):
        if path not in clips:
            video = read_video(folder / path)
            clips[path] = write_video(target / f"{len(clips)}.mp4", video.frames, video.fps, {})
    return clips


def _lay_beside(target: Path, sides: Mapping[tuple[str, str], Path]) -> dict[tuple[str, str], str]:
    """Copy clips under their drawn names into a folder; what an earlier page of the same study left there is taken."""
    if not target.exists():
        with atomic_folder(target) as temporary:
            for (name, side), path in sides.items():
                shutil.copyfile(path, temporary / f"{name}_{side}.mp4")
    return {(name, side): f"{VIDEOS_NAME}/{target.name}/{name}_{side}.mp4" for name, side in sides}


def _hash_file(path: Path) -> str:
    """SHA-256 of a file, or of the names and contents of a folder of pictures."""
    try:
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        return hashlib.sha256(b"".join(file.name.encode() + file.read_bytes() for file in files)).hexdigest()
    except OSError as error:
        raise explain_os_error("read", path, error) from error
