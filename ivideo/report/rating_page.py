"""The blind rating page: people compare clips of two candidates without being told which is whose, and answer."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from ivideo.errors import IvideoError
from ivideo.files.atomic import atomic_folder, explain_os_error, prepare_folder, temporary_folder, write_text
from ivideo.files.records import write_json
from ivideo.report.pages import MAX_EMBEDDED_BYTES, build_page, data_uri
from ivideo.video.reader import read_video
from ivideo.video.writer import write_video

KEY_NAME = "rating_key.json"
QUESTIONS = ("quality", "alignment")
Side = Literal["left", "tie", "right"]
M = TypeVar("M", bound=BaseModel)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Placement(_Strict):
    """Where an item's clips are: candidates `left` and `right` (indices) of row `row` of the results."""

    row: int = Field(ge=0)
    prompt: str
    seed: int | None
    left: int = Field(ge=0)
    right: int = Field(ge=0)


class RatingKey(_Strict):
    """What the raters must not see: the placement of each item of a study."""

    schema_version: Literal[1] = 1
    study: str
    seed: int
    contestants: list[str]
    items: dict[str, Placement]


class Rating(_Strict):
    """One rater's answers on one item; None is not answered. `seconds` is how long the item was on the screen."""

    id: str
    quality: Side | None
    alignment: Side | None
    seconds: float = Field(ge=0)


class Answers(_Strict):
    """One rater's answers file: all that was answered when it was saved."""

    kind: Literal["ivideo-ratings"]
    schema_version: Literal[1]
    study: str
    rater: Annotated[str, AfterValidator(str.strip), Field(min_length=1)]
    saved: datetime
    ratings: list[Rating]

    @property
    def saved_utc(self) -> datetime:
        """When it was saved; a time without a zone is taken for UTC."""
        return self.saved if self.saved.tzinfo else self.saved.replace(tzinfo=UTC)


def read_key(folder: Path) -> RatingKey:
    """Read the key that lies beside a rating page.

    Args:
        folder: where `write_rating_page` wrote.

    Raises:
        IvideoError: there is none, or it is damaged.
    """
    path = folder / KEY_NAME
    if not path.exists():
        raise IvideoError(f"{folder} has no {KEY_NAME}: answers are read with the key of the page that they come from")
    return _read(path, RatingKey, "a key of a rating page")


def read_answers(path: Path, key: RatingKey) -> Answers:
    """Read one rater's answers and hold them against the study's key.

    Args:
        path: a JSON file that the rating page saved.
        key: of that page.

    Raises:
        IvideoError: not such a file, of another study, or it names an item that the study does not have.
    """
    answers = _read(path, Answers, "an answers file of a rating page")
    if answers.study != key.study:
        raise IvideoError(f"{path} answers another study: {answers.study}, not {key.study}")
    unknown = next((rating.id for rating in answers.ratings if rating.id not in key.items), None)
    if unknown is not None:
        raise IvideoError(f"{path} rates an item that the study does not have: {unknown}")
    return answers


def _read(path: Path, kind: type[M], what: str) -> M:
    try:
        return kind.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise explain_os_error("read", path, error) from error
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(map(str, problem["loc"]))
        raise IvideoError(f"{path} is not {what}: {place + ': ' if place else ''}{problem['msg']}") from None
    except ValueError as error:
        raise IvideoError(f"{path} is not {what}: {error}") from None


PAGE_NAME = "rate.html"
VIDEOS_NAME = "rate_videos"


def write_rating_page(
    folder: Path, results: Mapping[str, Any], *, seed: int = 0, max_embedded_bytes: int = MAX_EMBEDDED_BYTES
) -> Path:
    """Write `rate.html`, and its key `rating_key.json`, beside the results of a comparison.

    An item is the baseline's clip and another candidate's of the same row, for every row and every other candidate.
    Items come in a drawn order, and each candidate is on the left as often as on the right (give or take one, over all
    items). Item names are drawn, and every clip is encoded anew by the same encoder and without metadata, so that
    nothing in the page tells the sides apart but the pixels. The same results and seed give the same page.

    The clips are inside the page while they are small enough together; else they lie in `rate_videos/` beside it, under
    the drawn names, and are handed out with it. The key stays at home.

    Args:
        folder: where the comparison's videos are; the page is written there.
        results: of the comparison: `contestants`, and `rows` with `prompt`, `seed` and `clips` with a `video` each.
        seed: of order, sides and names.
        max_embedded_bytes: how much video the page holds at most.

    Raises:
        IvideoError: a video can't be read, or the page can't be written.
    """
    study = identify_study(folder, results, seed)
    items = draw_items(results, study)
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
    key = RatingKey(study=study, seed=seed, contestants=names, items=items)
    write_json(folder / KEY_NAME, key.model_dump())
    page = build_page(
        "rate.html",
        "Which video is better?",
        ("common.css", "rate.css"),
        ("dom.js", "player.js", "rate.js"),
        {"study": study, "items": shown},
    )
    return write_text(folder / PAGE_NAME, page)


def identify_study(folder: Path, results: Mapping[str, Any], seed: int) -> str:
    """A name for these clips in this order, 16 hexadecimal digits that change with any of them.

    Args:
        folder: that the videos' paths are relative to.
        results: of the comparison.
        seed: of the order.
    """
    rows = [
        [row["prompt"], row["seed"], *(_hash_file(folder / clip["video"]) for clip in row["clips"])]
        for row in results["rows"]
    ]
    return hashlib.sha256(json.dumps([seed, rows]).encode()).hexdigest()[:16]


def draw_items(results: Mapping[str, Any], study: str) -> dict[str, Placement]:
    """Draw order, names and sides of all items: placements by name, in the order in which they are shown.

    Args:
        results: of the comparison.
        study: decides the draws.
    """
    rng = random.Random(study)
    pairs = [(row, other) for row in range(len(results["rows"])) for other in range(1, len(results["contestants"]))]
    rng.shuffle(pairs)
    is_swapped = [bool(i % 2) for i in range(len(pairs))]
    rng.shuffle(is_swapped)
    names = [f"{number:08x}" for number in rng.sample(range(16**8), len(pairs))]
    items = {}
    for name, (index, other), swapped in zip(names, pairs, is_swapped, strict=True):
        row = results["rows"][index]
        left, right = (other, 0) if swapped else (0, other)
        items[name] = Placement(row=index, prompt=str(row["prompt"]), seed=row["seed"], left=left, right=right)
    return items


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
