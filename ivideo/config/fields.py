"""How a setting is declared: once, as a pydantic field that also says unit, option and what resuming allows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, BeforeValidator, Field
from pydantic.config import JsonDict
from pydantic.fields import FieldInfo

BOUNDS = {"gt": "> {}", "ge": ">= {}", "lt": "< {}", "le": "<= {}", "multiple_of": "a multiple of {}"}


class Panel(StrEnum):
    """Under which heading help shows an option, in this order."""

    OPTIONS = "Options"
    RESUME = "To go on later"
    GUARD = "When to stop"
    METHOD = "Method"
    CLIPS = "Clips"
    SHARED = "Everywhere"


class Resume(StrEnum):
    """Whether a resumed run may have another value than it began with."""

    RESULT = "no"  # the run would compute something else
    CLIPS = "no; decides the base clips"  # that is also what another run needs to take over its clips
    LONGER = "may grow with a constant learning rate"
    FREE = "yes"  # where, how fast and in how much memory the same is computed (to rounding), or what is kept of it


@dataclass(frozen=True)
class Setting:
    """A setting as its field declares it.

    Attributes:
        name: of the field; also the keyword in Python and in TOML, and with dashes the option.
        kinds: the types of the values that it takes, None left out.
        default: None also where there is none.
        bounds: of a number, as text.
        help: what it means, in a sentence or two.
        unit: of a number.
        panel: the heading that it stands under.
        metavar: how help names the option's value; None: by its type.
        flags: the option's names, where `name` does not say them.
        resume: whether a resumed run may change it.
    """

    name: str
    kinds: tuple[Any, ...]
    default: Any
    bounds: str
    help: str
    unit: str
    panel: Panel
    metavar: str | None
    flags: tuple[str, ...]
    resume: Resume


def setting(
    default: Any = ...,
    *,
    help: str,
    panel: Panel = Panel.OPTIONS,
    unit: str = "",
    metavar: str | None = None,
    flags: Sequence[str] = (),
    resume: Resume = Resume.RESULT,
    **bounds: Any,
) -> Any:
    """A pydantic field with all that options, docs and resuming need to know; arguments are those of a `Setting`.

    The default is `...` where the model or its preset decides; a flag " /--no-x" is one that only switches off; bounds
    are as pydantic's `Field` takes them. `help` is shown by the command and in `examples/guides/settings.md`.
    """
    extra: JsonDict = {"panel": panel, "unit": unit, "metavar": metavar, "flags": list(flags), "resume": resume}
    return Field(default, description=help, json_schema_extra=extra, **bounds)


# Fields by the heading that they stand under.
shared, clips, method, guard, resuming = (
    partial(setting, panel=panel) for panel in (Panel.SHARED, Panel.CLIPS, Panel.METHOD, Panel.GUARD, Panel.RESUME)
)


def settings_of(kind: type[BaseModel]) -> dict[str, Setting]:
    """The settings of a class, by name."""
    return {name: _read_field(name, field) for name, field in kind.model_fields.items()}


def _read_field(name: str, field: FieldInfo) -> Setting:
    extra: Any = field.json_schema_extra
    wider = [one.json_schema_input_type for one in field.metadata if isinstance(one, BeforeValidator)]
    accepted = wider[0] if wider else field.annotation
    kinds = get_args(accepted) if get_origin(accepted) in (Union, UnionType) else (accepted,)
    bounds = [
        text.format(getattr(one, key)) for one in field.metadata for key, text in BOUNDS.items() if hasattr(one, key)
    ]
    return Setting(
        name=name,
        kinds=tuple(one for one in kinds if one is not NoneType),
        default=None if field.is_required() else field.default,
        bounds=", ".join(bounds),
        help=field.description or "",
        **{**extra, "flags": tuple(extra["flags"])},
    )


def names_by_resume(kind: type[BaseModel], *meanings: Resume) -> list[str]:
    """The settings whose change on resuming means one of these."""
    return [name for name, one in settings_of(kind).items() if one.resume in meanings]


def show_value(value: object) -> str:
    """A default in words; nothing where there is none."""
    if isinstance(value, bool):
        return "on" if value else "off"
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
