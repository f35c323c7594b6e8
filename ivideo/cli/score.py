"""`ivideo score`: options; the work is `ivideo.workflows.score`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from ivideo.cli import options as o
from ivideo.cli.output import Records, Reporter, known_errors
from ivideo.errors import UsageError

COLUMNS = ("path", "prompt", "reward", "attenuated_reward", "motion", "flicker", "judge")


@known_errors
def score_cli(
    videos: Annotated[
        list[str], typer.Argument(metavar="VIDEO...", help=".mp4 or .gif files; - reads paths from stdin, one a line.")
    ],
    prompt: Annotated[
        str | None, typer.Option(help="What the videos should show. Default: what each says in its metadata or sidecar.")
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

    reward: mean score of the first frame of each segment, a cosine; compare it only within one prompt and judge.
    motion: mean optical flow in pixels a frame. flicker: VBench's temporal flickering, 1 for a frozen clip.
    """
    paths = collect_paths(videos)
    if prompt is not None and not prompt.strip():
        raise UsageError("empty prompt: say what the videos should show, or leave --prompt out")
    flags = {
        "num_segments": num_segments,
        "attenuation_rate": attenuation_rate,
        "model": model,
        "reward": reward,
        "seed": seed,
        "device": device,
        "dtype": dtype,
    }
    from ivideo.config.settings import Settings
    from ivideo.workflows.resolve import resolve_settings
    from ivideo.workflows.score import hint_model, score

    reporter = Reporter(quiet)
    settings = resolve_settings(
        Settings, config=config, flags=flags, progress=reporter, model_hint=hint_model(paths[0])
    )
    records = Records(format, COLUMNS)
    try:
        for record in score(paths, settings, prompt=prompt, progress=reporter):
            records.add(record)
    finally:
        reporter.stop()
    records.close()


def collect_paths(arguments: list[str]) -> list[Path]:
    """The files of arguments and stdin; a line of stdin may be a path or a JSON object with one.

    Raises:
        UsageError: none.
    """
    paths: list[Path] = []
    for argument in arguments:
        lines = sys.stdin.read().splitlines() if argument == "-" else [argument]
        paths += [Path(path_in(line.strip())) for line in lines if line.strip()]
    if not paths:
        raise UsageError("no videos: give files, or paths on stdin")
    return paths


def path_in(line: str) -> str:
    """The path that a line names, bare or as `path` in a JSON object."""
    if not line.startswith("{"):
        return line
    try:
        return str(json.loads(line)["path"])
    except (ValueError, KeyError, TypeError):
        raise UsageError(f"stdin: a JSON line without a path: {line[:80]}") from None
