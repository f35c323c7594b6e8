"""What raters save and what tells the sides of their page: answers files, and the key that stays at home."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from ivideo.errors import IvideoError
from ivideo.files.reading import parse_as, read_text

KEY_NAME = "rating_key.json"
ANSWERS = "an answers file of a rating page"
QUESTIONS = ("quality", "alignment")
Side = Literal["left", "right", "tie", "both_good", "both_bad"]  # "tie" is "same"
Pairs = Literal["first", "all"]
Study = Annotated[str, Field(pattern=r"^\w{1,64}$")]  # it becomes part of a file's name
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
    """What the raters must not see: the placement of each item of a study.

    `pairs` says which candidates meet; None is a page of a version that knew no choice.
    """

    schema_version: Literal[1] = 1
    study: Study
    seed: int
    pairs: Pairs | None = None
    contestants: list[str]
    items: dict[str, Placement]

    @model_validator(mode="after")
    def _candidates_are_there(self) -> Self:
        if any(max(item.left, item.right) >= len(self.contestants) for item in self.items.values()):
            raise ValueError("an item is of a candidate that is not there")
        return self


class Rating(_Strict):
    """One rater's answers on one item; None is not answered. `seconds` is how long the item was on the screen."""

    id: str
    quality: Side | None
    alignment: Side | None
    seconds: float = Field(ge=0)


class Answers(_Strict):
    """One rater's answers file: all that was answered when it was saved."""

    kind: Literal["ivideo-ratings"]
    schema_version: Literal[1, 2]
    study: Study
    rater: Annotated[str, AfterValidator(str.strip), Field(min_length=1)]
    saved: datetime
    ratings: list[Rating]

    @property
    def saved_utc(self) -> datetime:
        """When it was saved; a time without a zone is taken for UTC."""
        return self.saved if self.saved.tzinfo else self.saved.replace(tzinfo=UTC)


def name_key(study: str) -> str:
    """The file of an earlier study's key."""
    return f"{Path(KEY_NAME).stem}_{study}.json"


def read_key(folder: Path, study: str | None = None) -> RatingKey:
    """Read the key that lies beside a rating page.

    Args:
        folder: where `write_rating_page` wrote.
        study: that of an earlier page, if its key was kept; else that of the last page is read.

    Raises:
        IvideoError: there is none, or it is damaged.
    """
    path = folder / KEY_NAME
    if study is not None and (kept := folder / name_key(study)).exists():
        path = kept
    if not path.exists():
        raise IvideoError(f"{folder} has no {KEY_NAME}: answers are read with the key of the page that they come from")
    return _read(path, RatingKey, "a key of a rating page")


def find_key(folder: Path, answers: Path) -> RatingKey:
    """Read the key of the study that an answers file names, or of the last page where there is none of that study.

    Raises:
        IvideoError: a file is missing or damaged.
    """
    return read_key(folder, _read(answers, Answers, ANSWERS).study)


def read_answers(path: Path, key: RatingKey) -> Answers:
    """Read one rater's answers and hold them against the study's key.

    Args:
        path: a JSON file that the rating page saved.
        key: of that page.

    Raises:
        IvideoError: not such a file, of another study, or it names an item that the study does not have.
    """
    answers = _read(path, Answers, ANSWERS)
    if answers.study != key.study:
        raise IvideoError(f"{path} answers another study: {answers.study}, not {key.study}")
    unknown = next((rating.id for rating in answers.ratings if rating.id not in key.items), None)
    if unknown is not None:
        raise IvideoError(f"{path} rates an item that the study does not have: {unknown}")
    return answers


def _read(path: Path, kind: type[M], what: str) -> M:
    return parse_as(kind, read_text(path), path, f"is not {what}")
