"""An evaluation as tables for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from examples.emoji_world.evaluation.report import METRICS
from ivideo.cli.output import print_table

SOURCES = ("clean", "round_trip", "base")
CHANGES = ("base", "mean", "difference", "ci_low", "ci_high", "n")


def print_report(result: Mapping[str, Any]) -> None:
    """Print an evaluation on stdout: the means of each split, and a table a run."""
    for name, split in result["splits"].items():
        print(f"\n{name}: {split['num_prompts']} prompts, {split['num_videos']} videos\n")
        columns = {source: split[source] for source in SOURCES}
        rows = {metric: {name: means[metric] for name, means in columns.items()} for metric in METRICS}
        print_rows(rows, SOURCES)
        for run in [*split["runs"], *([split["pooled"]] if "pooled" in split else [])]:
            print(f"\n{name}, {run['name']} against the base\n")
            print_rows({metric: change or {} for metric, change in run["metrics"].items()}, CHANGES)
            print(describe_gaps(run))


def print_rows(rows: Mapping[str, Mapping[str, Any]], columns: tuple[str, ...]) -> None:
    """A row a metric; a metric that applies to no prompt is left out."""
    shown = [{"metric": metric, **row} for metric, row in rows.items() if {*row.values()} - {None}]
    print_table(("metric", *columns), shown)


def describe_gaps(run: Mapping[str, Any]) -> str:
    """How much of the reward's gaps a run closed, in a line."""
    gain = run["gain_in_sd"]
    closed = [
        f"gap to {name} closed: {describe_share(run[f'gap_to_{key}_closed'])}"
        for key, name in (("clean", "clean renders"), ("round_trip", "round trips"))
    ]
    return "\n".join(
        [*closed, f"gain: {'unknown' if gain is None else f'{gain:+.2f}'} standard deviations of the base"]
    )


def describe_share(gap: Mapping[str, float | None]) -> str:
    """A share with its interval, in per cent."""
    if gap["share"] is None:
        return "no gap"
    low, high = ("open" if end is None else f"{end:.1%}" for end in (gap["ci_low"], gap["ci_high"]))
    return f"{gap['share']:.1%} ({low} to {high})"
