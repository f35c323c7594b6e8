"""`ivideo score`: options; the work is `ivideo.score`."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Unpack

import typer

from ivideo.cli import options as o
from ivideo.cli.output import LABEL, REWARDS, Records, Reporter, chosen_format, known_errors
from ivideo.config.keywords import ScoreKeywords
from ivideo.config.settings import ScoreSettings
from ivideo.errors import IvideoError, UsageError
from ivideo.launch import ToldError, joined

if TYPE_CHECKING:
    from ivideo.files.records import VBenchResults
    from ivideo.report.plots import RewardPlot


class Export(StrEnum):
    """Whose result files are written."""

    vbench = "vbench"


@known_errors
@o.with_settings(ScoreSettings)
def score_cli(
    context: typer.Context,
    videos: Annotated[
        list[str],
        typer.Argument(
            metavar="VIDEO",
            help="Files, folders of frames, folders of videos, quoted patterns ('clips/*.webm'); - reads paths from "
            "stdin, one a line, or JSON objects with a path (and a prompt).",
        ),
    ],
    prompt: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT",
            help="What the videos should show. Default: --captions, else what each says of itself, else the .json or "
            ".txt beside it, else its name ('a cat-0.mp4').",
        ),
    ] = None,
    captions: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help='Prompts by names of videos, JSON: {"1.mp4": "a cat"}.'),
    ] = None,
    export: Annotated[
        tuple[Export, Path] | None,
        typer.Option(metavar="vbench FILE", help="Also write the figures over time as a result file of VBench (JSON)."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE.jsonl",
            help="Gets the records, not stdout (unless --format); a later call with it scores only what is missing.",
        ),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE.png", help="Also draw the reward over time: a line a video, of many their mean."),
    ] = None,
    overwrite: o.OverwriteOpt = False,
    config: o.ConfigOpt = None,
    format: o.FormatOpt = None,
    quiet: o.QuietOpt = False,
    **settings: Unpack[ScoreKeywords],
) -> None:
    """Say how much people would like a video, and whether it still moves.

    reward: mean score of the first frame of each segment, a cosine in
    [-1, 1] (no factor of 100); only scores for the same prompt, model and
    version compare. frame_rewards: the score all along the video.

    motion: mean optical flow in pixels a frame, 0 is frozen.
    dynamic_degree: share of frame pairs in fast motion, in [0, 1]; the only
    one that depends on the fps (is_dynamic: there are enough of them).

    flicker: VBench's temporal flickering. motion_smoothness_proxy: whether
    frames are the mean of their neighbours. consistency: how alike they are
    to the reward model. All in [0, 1], the higher the better, but a frozen clip
    looks perfect on these three: read them beside motion.

    A video that can't be scored gets a record that says why, and the exit
    code is 1; the others are scored.
    """
    collectors = open_collectors(export, plot, settings.get("temporal"))
    columns = pick_columns(chosen_format(format))
    num_videos = num_failed = 0
    with joined() as launch, Reporter(quiet or not launch.is_first, context) as reporter:
        paths = launch.from_first(lambda: collect_paths(videos))
        from ivideo.api import iterate_scores
        from ivideo.video.display import NoteCounts

        notes = NoteCounts()
        is_silent = not launch.is_first or (output is not None and format is None)
        with Records(format, columns, is_silent=is_silent) as records:
            for record in iterate_scores(
                paths,
                prompt=prompt,
                captions=captions,
                output=output,
                overwrite=overwrite,
                config=config,
                progress=reporter,
                launch=launch,
                **settings,
            ):
                num_videos += 1
                notes.add(record["path"], record["notes"])
                if record["error"] is not None:
                    num_failed += 1
                    record["error"] = reporter.spell(record["error"])
                if record["error"] is not None and launch.is_first:
                    reporter.tell_error(record["error"])
                records.add(record)
                for collector in collectors.values():
                    collector.add(record)
            for path, collector in collectors.items():
                if launch.is_first:
                    collector.write(path)
        for line in notes.describe():
            reporter.say(line)
    if num_failed:
        raise ToldError(f"{num_failed} of {num_videos} videos could not be scored", 1)


def pick_columns(format: o.Format) -> list[str]:
    """What a table shows, or every other format with columns."""
    from ivideo.metrics.registry import METRICS

    is_table = format is o.Format.table
    first, *others = [name for name, metric in METRICS.items() if metric.in_table or not is_table]
    shape = () if is_table else ("num_frames", "fps", "width", "height")
    notes = () if is_table else ("notes",)  # which people read on stderr
    return ["path", "prompt", *shape, first, REWARDS, *others, *notes, "error", LABEL]


def open_collectors(
    export: tuple[Export, Path] | None, plot: Path | None, temporal: bool | None
) -> dict[Path, VBenchResults | RewardPlot]:
    """What gathers records for the files that were asked for, after proof that these can be written.

    Raises:
        UsageError: figures over time without reading every frame, or a plot that is no .png.
        IvideoError: nothing can be written there.
    """
    from ivideo.files.atomic import check_folder

    collectors: dict[Path, VBenchResults | RewardPlot] = {}
    if export is not None:
        from ivideo.files.records import NEEDS_EVERY_FRAME, VBenchResults

        if temporal is False:
            raise UsageError(NEEDS_EVERY_FRAME)
        from ivideo.metrics.registry import METRICS

        collectors[export[1]] = VBenchResults({one.vbench: name for name, one in METRICS.items() if one.vbench})
    if plot is not None:
        if plot.suffix.lower() != ".png":
            raise UsageError(f"--plot {plot}: a plot ends in .png")
        from ivideo.report.plots import RewardPlot

        collectors[plot] = RewardPlot()
    for path in collectors:
        if path.is_dir():
            raise UsageError(f"cannot write {path}: it is a folder; name a file")
        check_folder(path.parent)
    return collectors


def collect_paths(arguments: Iterable[str]) -> list[str | tuple[str, str | None]]:
    """The paths of arguments and stdin; a line of stdin may be a path, or a JSON object with one and a prompt."""
    paths: list[str | tuple[str, str | None]] = []
    for argument in arguments:
        if argument == "-":
            lines = os.fsdecode(sys.stdin.buffer.read()).split("\n")
            paths += [read_line(line.strip()) for line in lines if line.strip()]
        else:
            paths.append(argument)
    return paths


def read_line(line: str) -> tuple[str, str | None]:
    """The path that a line names, bare or as `path` in a JSON object, and the object's `prompt` if it has one.

    Raises:
        UsageError: an object without a path, or with something else than a text as prompt.
    """
    if not line.startswith("{"):
        return line, None
    from ivideo.files.reading import parse_json

    try:
        record: dict[str, Any] = parse_json(line, "stdin")
        path, prompt = str(Path(record["path"])), record.get("prompt")
    except (IvideoError, KeyError, TypeError):
        raise UsageError(f"stdin: a JSON line without a path: {line[:80]}") from None
    if not isinstance(prompt, str | None):
        raise UsageError(f"stdin: a JSON line whose prompt is no text: {line[:80]}")
    return path, prompt
