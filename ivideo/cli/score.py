"""`ivideo score`: options; the work is `ivideo.score`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from ivideo.cli import options as o
from ivideo.cli.output import Records, Reporter, known_errors
from ivideo.errors import UsageError

COLUMNS = ("path", "prompt", "reward", "rewards", "attenuated_reward", "motion", "flicker", "judge")


@known_errors
def score_cli(
    context: typer.Context,
    videos: Annotated[
        list[str], typer.Argument(metavar="VIDEO", help=".mp4 or .gif files; - reads paths from stdin, one a line.")
    ],
    prompt: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT", help="What the videos should show. Default: what each says in its metadata or sidecar."
        ),
    ] = None,
    num_segments: o.SegmentsOpt = None,
    attenuation_rate: o.AttenuationOpt = None,
    model: o.ModelOpt = None,
    reward: o.RewardOpt = None,
    seed: o.SeedOpt = None,
    device: o.DeviceOpt = None,
    dtype: o.DtypeOpt = None,
    config: o.ConfigOpt = None,
    format: o.FormatOpt = None,
    quiet: o.QuietOpt = False,
) -> None:
    """Say how much people would like a video, and whether it still moves.

    reward: mean score of the first frame of each segment, a cosine (no factor of 100); only scores for the same prompt,
    judge and version compare. Several judges: ivideo score x.mp4 --reward hpsv2 --reward pickscore
    motion: mean optical flow in pixels a frame. flicker: VBench's temporal flickering, 1 for a frozen clip.
    """
    paths = collect_paths(videos)
    from ivideo.api import score

    with Reporter(quiet) as reporter, Records(format, COLUMNS) as records:
        settings = o.pick_settings(context.params)
        score(paths, prompt=prompt, each=records.add, config=config, progress=reporter, **settings)


def collect_paths(arguments: list[str]) -> list[Path]:
    """The files of arguments and stdin; a line of stdin may be a path or a JSON object with one."""
    paths: list[Path] = []
    for argument in arguments:
        if argument == "-":
            paths += [Path(path_in(line.strip())) for line in sys.stdin.read().splitlines() if line.strip()]
        else:
            paths.append(Path(argument))
    return paths


def path_in(line: str) -> str:
    """The path that a line names, bare or as `path` in a JSON object.

    Raises:
        UsageError: an object without one.
    """
    if not line.startswith("{"):
        return line
    try:
        return str(json.loads(line)["path"])
    except (ValueError, KeyError, TypeError):
        raise UsageError(f"stdin: a JSON line without a path: {line[:80]}") from None
