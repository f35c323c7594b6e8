"""Write what follows from the settings' fields: their typed keywords, and the page that lists them.

    python -m examples.write_settings

The fields are in `ivideo/config/parts.py` and `ivideo/config/settings.py`.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from ivideo.config.fields import Panel, Setting, settings_of, show_value
from ivideo.config.presets import PRESETS
from ivideo.config.settings import (
    FinetuneSettings,
    GenerationSettings,
    ScoreSettings,
    Settings,
    generation_defaults,
    is_by_model,
)

ROOT = Path(__file__).resolve().parents[1]
KEYWORDS, PAGE = ROOT / "ivideo" / "config" / "keywords.py", ROOT / "examples" / "guides" / "settings.md"
KINDS: dict[type[Settings], str] = {
    Settings: "Every command",
    GenerationSettings: "`generate`, `compare` and `finetune`",
    FinetuneSettings: "`finetune`",
    ScoreSettings: "`score`",
}
MODULE_HEAD = '''"""Settings as typed keywords; None is "not given". `python -m examples.write_settings` writes this."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypedDict
'''
PAGE_HEAD = """# Settings

`python -m examples.write_settings` makes this page from the fields of the settings. A name is that of the keyword in
Python, and of the key in a TOML file; as an option it has dashes (`num_frames`: `--num-frames`), and what is on or off
is `--name` or `--no-name`. `--model` is also `-m`; `evaluate` has only `--no-eval`.

Options win over the file, the file over the run of `--lora`, and that over the default. "Resume" says whether
`ivideo finetune --resume RUN` takes another value than the run began with. What decides the base clips must be the same
in a run whose clips are taken over (`--clips`).
"""


def parent_of(kind: type[Settings]) -> type[Settings] | None:
    """The nearest settings that a class of them adds to."""
    return next((base for base in kind.__mro__[1:] if base in KINDS), None)


def render_keywords(kinds: Iterable[type[Settings]]) -> str:
    """The module of typed keywords: a TypedDict for each class of settings, with what it adds."""
    return MODULE_HEAD + "".join(f"\n\n{render_typed_dict(kind)}" for kind in kinds)


def render_typed_dict(kind: type[Settings]) -> str:
    """The keywords that a class adds to those of its parent."""
    parent = parent_of(kind)
    known = settings_of(parent) if parent else {}
    own = [one for one in settings_of(kind).values() if one.name not in known or known[one.name].kinds != one.kinds]
    bases = f"{keywords_name(parent)}, total=False" if parent else "TypedDict, total=False"
    lines = [f"class {keywords_name(kind)}({bases}):", f'    """Keywords of `{kind.__name__}`."""', ""]
    return "\n".join([*lines, *(f"    {one.name}: {render_kinds(one.kinds)} | None" for one in own)]) + "\n"


def keywords_name(kind: type[Settings]) -> str:
    """`FinetuneSettings`: `FinetuneKeywords`."""
    return kind.__name__.removesuffix("Settings") + "Keywords"


def render_kinds(kinds: Sequence[Any]) -> str:
    """Types as Python writes them."""
    return " | ".join(render_kind(kind) for kind in kinds)


def render_kind(kind: Any) -> str:
    """A type as Python writes it, with double quotes."""
    if get_origin(kind) is Literal:
        return "Literal[" + ", ".join(f'"{word}"' for word in get_args(kind)) + "]"
    return kind.__name__ if isinstance(kind, type) and not get_args(kind) else str(kind).replace("collections.abc.", "")


def render_page(kinds: Iterable[type[Settings]]) -> str:
    """The page: a table for each class of settings, with what it adds or says otherwise."""
    return PAGE_HEAD + "".join(f"\n## {KINDS[kind]}\n\n" + "\n".join(render_table(kind)) + "\n" for kind in kinds)


def render_table(kind: type[Settings]) -> Iterator[str]:
    """A row a setting, in the order of `--help`."""
    parent = parent_of(kind)
    known = set(settings_of(parent).values()) if parent else set()
    own = [one for one in settings_of(kind).values() if one not in known]
    is_resumed = not issubclass(kind, ScoreSettings)
    columns = ["name", "meaning", "default", "values", *(["resume"] if is_resumed else [])]
    yield f"| {' | '.join(columns)} |"
    yield "|" + "---|" * len(columns)
    for one in sorted(own, key=lambda one: list(Panel).index(one.panel)):
        cells = [f"`{one.name}`", one.help, render_default(one, kind), render_values(one)]
        yield f"| {' | '.join([*cells, *([one.resume] if is_resumed else [])])} |"


def render_values(setting: Setting) -> str:
    """What values there are: words, bounds, unit."""
    (kind,) = setting.kinds[:1]
    if get_origin(kind) is Literal:
        return ", ".join(f"`{word}`" for word in get_args(kind))
    name = {bool: "on, off", int: "whole number", float: "number", str: "text"}[kind]
    return ", ".join(filter(None, [name, setting.bounds, setting.unit]))


def render_default(setting: Setting, kind: type[Settings]) -> str:
    """The default, by model where models differ; the most frequent one last."""
    if not is_by_model(kind, setting.name):
        return show_value(setting.default)
    presets = {model: named["default"] for model, named in PRESETS.items()}
    if not issubclass(kind, FinetuneSettings):
        presets = {model: generation_defaults(preset) for model, preset in presets.items()}
    values = {model: show_value(preset.get(setting.name, setting.default)) for model, preset in presets.items()}
    if len(set(values.values())) == 1:
        return values["modelscope"]
    usual = statistics.mode(values.values())
    return ", ".join([*(f"{model}: {value}" for model, value in values.items() if value != usual), f"others: {usual}"])


if __name__ == "__main__":
    KEYWORDS.write_text(render_keywords(KINDS), encoding="utf-8")
    PAGE.write_text(render_page(KINDS), encoding="utf-8")
