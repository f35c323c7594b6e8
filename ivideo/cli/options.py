"""Options of the commands: those made from the settings' fields, and a few more that several commands share."""

from __future__ import annotations

import functools
import inspect
import os
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from ivideo.config.fields import Panel, Setting, settings_of, show_value
from ivideo.config.settings import Settings, is_by_model

Names = Mapping[str, tuple[Sequence[str], Sequence[str]]]  # parameter: its options, and those that switch it off
NAME = re.compile(r"`(\w+)`(?: (True|False)\b)?")


class Format(StrEnum):
    """How data is printed."""

    table = "table"
    tsv = "tsv"
    csv = "csv"
    json = "json"
    jsonl = "jsonl"


HUSHED = {"TQDM_DISABLE": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}  # read by libraries when they are imported


def hush_bars(quiet: bool) -> bool:
    """Keep the progress bars of libraries from stderr, before any of them is imported."""
    if quiet:
        os.environ.update(HUSHED)
    return quiet


QuietOpt = Annotated[
    bool,
    typer.Option(
        "--quiet", "-q", help="Nothing on stderr but errors.", callback=hush_bars, rich_help_panel=Panel.SHARED
    ),
]
FormatOpt = Annotated[
    Format | None,
    typer.Option(
        "--format",
        "-f",
        help="Of what stdout gets. Default: a table on a terminal, JSON lines in a pipe.",
        rich_help_panel=Panel.SHARED,
    ),
]
PathFormatOpt = Annotated[
    Format | None,
    typer.Option("--format", "-f", help="Of what stdout gets. Default: bare paths.", rich_help_panel=Panel.SHARED),
]
OverwriteOpt = Annotated[
    bool, typer.Option("--overwrite", help="What is there already makes way.", rich_help_panel=Panel.SHARED)
]
ConfigOpt = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="TOML file of settings, named as the options; flags win.",
        rich_help_panel=Panel.SHARED,
    ),
]


def with_settings(
    kind: type[Settings], also: Sequence[inspect.Parameter] = (), **helps: str
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command an option for each setting, in place of its `**settings`; it gets those that were given.

    Args:
        kind: whose settings.
        also: further options, which the command gets among its `**settings`.
        helps: by setting, what the option says where that is not what the field says.
    """
    settings = settings_of(kind)
    names = {name: (one.flags or _usual_flags(one), ()) for name, one in settings.items()}

    def give(command: Callable[..., None]) -> Callable[..., None]:
        written = inspect.signature(command, eval_str=True).parameters.values()
        own = [one.replace(kind=one.KEYWORD_ONLY) for one in written if one.kind is not one.VAR_KEYWORD]
        made = [
            _make_parameter(one, helps.get(name), names, describe_default(kind, one)) for name, one in settings.items()
        ]
        parameters = sorted([*own, *also, *made], key=_place)

        @functools.wraps(command)
        def run(**values: Any) -> None:
            absent = {name for name in settings if values[name] in (None, [], ())}
            command(**{name: value for name, value in values.items() if name not in absent})

        run.__dict__["__signature__"] = inspect.Signature(parameters)
        run.__annotations__ = {one.name: one.annotation for one in parameters}
        return run

    return give


def _make_parameter(setting: Setting, help: str | None, names: Names, default: str) -> inspect.Parameter:
    option = typer.Option(
        *setting.flags or _usual_flags(setting),
        metavar=setting.metavar,
        help=help or spell_names(setting.help, names) + default,
        rich_help_panel=None if setting.panel is Panel.OPTIONS else setting.panel,
    )
    kind: Any = Annotated[option_type(setting) | None, option]
    return inspect.Parameter(setting.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)


def _usual_flags(setting: Setting) -> tuple[str, ...]:
    flag = setting.name.replace("_", "-")
    return (f"--{flag}/--no-{flag}",) if setting.kinds == (bool,) else (f"--{flag}",)


def option_type(setting: Setting) -> Any:
    """The type that the parser makes of an option's words: texts where there may be several, or several types."""
    if any(get_args(kind) == (str,) for kind in setting.kinds):
        return list[str]
    return setting.kinds[0] if len(setting.kinds) == 1 else str


def describe_default(kind: type[Settings], setting: Setting) -> str:
    """A sentence about the default, after a space; nothing where there is none to tell."""
    shown = "by model" if is_by_model(kind, setting.name) else show_value(setting.default)
    return f" Default: {shown}." if shown else ""


def _place(parameter: inspect.Parameter) -> int:
    panels = [one.rich_help_panel for one in getattr(parameter.annotation, "__metadata__", ())]
    return list(Panel).index(Panel(panels[0])) if panels and panels[0] else 0


def names_of(context: typer.Context | None) -> Names:
    """How the parameters of the command that runs are typed: an argument as help names it, options by their flags."""
    names = {}
    for one in context.command.params if context else ():
        is_argument = one.param_type_name == "argument"
        names[one.name or ""] = ([str(one.metavar)], []) if is_argument else (one.opts, one.secondary_opts)
    return names


def spell_names(text: str, names: Names) -> str:
    """The text with each `name` in backticks as it is typed; after a switch, True and False choose its flag."""

    def spell(match: re.Match[str]) -> str:
        name, value = match.groups()
        if name not in names:
            return match[0]
        on, off = names[name]
        flags = {"True": on, "False": off, None: [*on, *off]}[value]
        return flags[0] if flags else f"{name} {value}"

    return NAME.sub(spell, text)


def spell_command(context: typer.Context) -> str:
    """The command as it could be typed again, with every argument and option that was given."""
    words = ["ivideo", str(context.info_name)]
    for parameter in context.command.params:
        value = context.params.get(parameter.name or "")
        if value == parameter.get_default(context) or value is None:
            continue
        several = list(value) if isinstance(value, list | tuple) else [value]
        if parameter.param_type_name == "argument":
            words += map(str, several)
        elif isinstance(value, bool):
            words.append(parameter.opts[0] if value else parameter.secondary_opts[0])
        else:
            words += [word for one in several for word in (parameter.opts[0], str(one))]
    return shlex.join(words)
