"""Options, keywords, docs and rules follow from the settings' fields."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from examples.write_settings import KEYWORDS, KINDS, PAGE, render_keywords, render_page, render_table, render_typed_dict
from ivideo.cli.options import with_settings
from ivideo.cli.output import Reporter, known_errors
from ivideo.config.fields import Panel, Resume, setting
from ivideo.config.merge import merge_settings, read_toml, write_toml
from ivideo.config.presets import preset_for
from ivideo.config.settings import FinetuneSettings
from ivideo.errors import UsageError
from ivideo.training.checkpoints import binding_settings

DEFAULTS = {**preset_for("emoji-world"), "model": "emoji-world"}


class BlurredSettings(FinetuneSettings):
    blur: float = setting(
        0.5, ge=0, help="Of each frame, after `strength`.", unit="pixels", panel=Panel.CLIPS, resume=Resume.FREE
    )


def run_command(*words: str, says: str = "", fails: bool = False) -> tuple[dict[str, Any], str]:
    """What a command that takes these settings is given, and what it prints where it says or fails with a text."""
    given: dict[str, Any] = {}

    @known_errors
    @with_settings(BlurredSettings)
    def command(context: typer.Context, quiet: bool = False, **settings: Any) -> None:
        given.update(settings)
        Reporter(quiet, context).say(says)
        if fails:
            raise UsageError(says)

    app = typer.Typer(rich_markup_mode=None)
    app.command()(command)
    result = CliRunner().invoke(app, [*words])
    return given, result.output


def test_a_new_setting_is_one_field(tmp_path: Path) -> None:
    assert run_command()[0] == {}
    assert run_command("--blur", "0", "--reward", "a", "--reward", "b")[0] == {"blur": 0.0, "reward": ["a", "b"]}
    assert "Of each frame, after --strength. Default: 0.5." in " ".join(run_command("--help")[1].split())

    (tmp_path / "own.toml").write_text("blur = 2\n")
    settings = merge_settings(BlurredSettings, DEFAULTS, read_toml(tmp_path / "own.toml"), {})
    assert "\nblur = 2.0\n" in write_toml(settings)
    with pytest.raises(UsageError, match=r"^`blur` -1: input should be greater than or equal to 0$"):
        merge_settings(BlurredSettings, DEFAULTS, {}, {"blur": -1})

    assert render_typed_dict(BlurredSettings).splitlines()[-1] == "    blur: float | None"
    assert [*render_table(BlurredSettings)][2:] == [
        "| `blur` | Of each frame, after `strength`. | 0.5 | number, >= 0, pixels | yes |"
    ]
    assert binding_settings(settings) == binding_settings(merge_settings(FinetuneSettings, DEFAULTS, {}, {}))


@pytest.mark.parametrize(("path", "rendered"), [(KEYWORDS, render_keywords(KINDS)), (PAGE, render_page(KINDS))])
def test_what_is_made_of_the_fields_is_up_to_date(path: Path, rendered: str) -> None:
    assert path.read_text(encoding="utf-8") == rendered, "run `python -m examples.write_settings`"


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("`batch_size` 2 is less than 4 processes", "--batch-size 2 is less than 4 processes"),
        ("`compile` False, `compile` True, `compile`", "--no-compile, --compile, --compile"),
        ("leave `evaluate` False out", "leave --no-eval out"),
        ("`nothing` of the command", "`nothing` of the command"),
    ],
)
def test_names_in_messages_are_spelled_as_options(message: str, said: str) -> None:
    assert run_command(says=message)[1] == f"{said}\n"
    assert run_command("--quiet", says=message, fails=True)[1] == f"error: {said}\n"
