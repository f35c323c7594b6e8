"""The `ivideo` program: four commands over one library."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from ivideo.cli.compare import compare_cli
from ivideo.cli.finetune import finetune_cli
from ivideo.cli.generate import generate_cli
from ivideo.cli.score import score_cli
from ivideo.cli.streams import guard_streams
from ivideo.errors import IvideoError

app = typer.Typer(
    name="ivideo",
    help="Teach text-to-video diffusion models with human feedback (InstructVideo, CVPR 2024).",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
)
app.command("finetune")(finetune_cli)
app.command("generate")(generate_cli)
app.command("score")(score_cli)
app.command("compare")(compare_cli)


def show_version(asked: bool) -> None:
    """Print the version and leave."""
    if asked:
        from ivideo import __version__

        typer.echo(f"ivideo {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Teach text-to-video diffusion models with human feedback (InstructVideo, CVPR 2024).

    Data goes to stdout, everything for people to stderr. Exit codes: 0 fine, 1 known error, 2 usage.
    """


def main() -> None:
    """Entry point of the `ivideo` script."""
    guard_streams()
    try:
        app()
    except IvideoError as error:  # outside of commands, which tell their own: a help text that stdout does not take
        typer.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
