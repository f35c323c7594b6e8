"""Runs the study on the emoji world: trainings and evaluations, one after the other, each kept as soon as it is done.

    python -m examples.study.run build/study
    python -m examples.study.run build/study --only gradient attenuation --hours 2
    python -m examples.study.run build/study --list

Results go to examples/study/results, a JSON file each, with date, machine and commit; what is there is not done again.
Seconds are measured last (`--only timings`), when nothing else should run.
Stop it at any time: the same command goes on, within a training from its last checkpoint. `render` turns the results
into study.md.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from examples.emoji_world.evaluate import open_classifier
from ivideo.cli.output import Reporter, format_seconds
from ivideo.errors import IvideoError, UsageError
from ivideo.files.records import write_json
from ivideo.models.devices import choose_device
from ivideo.rewards.registry import load_rewards

from .acting import measure_acting
from .plan import (
    ACTING,
    ACTING_TRAININGS,
    BASE,
    DRAFT,
    EVALUATIONS,
    INSTRUCT,
    PAPER_SPACING,
    PRESET_TABLES,
    PRESETS,
    RESPACED_BASE,
    REWARDS,
    SWEEPS,
    TABLE_1,
    TIMED,
    Evaluation,
    Training,
    all_trainings,
)
from .provenance import describe_origin
from .results import TIMINGS
from .tables import evaluate_splits
from .trainings import Workspace, measure_base, time_evaluations, time_steps, train_and_describe

RESULTS = Path(__file__).parent / "results"
TABLE, PRESET = "table", "preset"


def result_path(name: str, results: Path = RESULTS) -> Path:
    """Where a result is kept."""
    return results / f"{name}.json"


def find_wanted(only: Sequence[str] | None) -> list[Training | Evaluation]:
    """What is asked for, by names of sweeps, trainings or evaluations, and what that needs; everything by default.

    Raises:
        UsageError: nothing of that name.
    """
    trainings, evaluations = all_trainings(), {one.name: one for one in EVALUATIONS}
    groups = {sweep: [*SWEEPS[sweep].trainings.values()] for sweep in SWEEPS}
    groups[TABLE] = [*(one.name for one in (*INSTRUCT, *DRAFT)), *(one.name for one in TABLE_1)]
    groups[PRESET] = [*(one.name for group in PRESETS.values() for one in group), *(one.name for one in PRESET_TABLES)]
    groups[ACTING] = [one.name for one in ACTING_TRAININGS.values()]
    groups[TIMINGS] = [*TIMED]
    names: set[str] = set()
    for asked in only if only else groups:
        if asked not in {*groups, *trainings, *evaluations}:
            raise UsageError(f"--only {asked}: one of {', '.join(groups)}, or a name that --list tells")
        names.update(groups.get(asked, [asked]))
    for name in names & evaluations.keys():
        names = names | {*evaluations[name].trainings}
    names |= {trainings[name].clips_of or name for name in names & trainings.keys()}
    found: list[Training | Evaluation] = [one for one in trainings.values() if one.name in names]
    return [*found, *(one for one in EVALUATIONS if one.name in names)]


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=Path, help="folder for runs and clips, which may be thrown away at the end")
    parts = ", ".join((*SWEEPS, TABLE, PRESET, ACTING, TIMINGS))
    parser.add_argument("--only", nargs="+", metavar="NAME", help=f"{parts}, or single names")
    parser.add_argument("--hours", type=float, metavar="H", help="begin nothing new after so many hours")
    parser.add_argument("--list", action="store_true", help="tell what is done and what is not, and do nothing")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where results are kept (%(default)s)")
    return parser.parse_args(arguments)


def work(arguments: argparse.Namespace, reporter: Reporter) -> None:
    """Do what is missing.

    Raises:
        IvideoError: bad input, or a training that failed.
        Interrupted: a signal came.
    """
    started = time.monotonic()
    wanted = find_wanted(arguments.only)
    last = {ACTING: measure_acting, TIMINGS: time_trainings}  # in this order, after the trainings that they look at
    last = {name: measure for name, measure in last.items() if arguments.only is None or name in arguments.only}
    if arguments.list:
        for name in (*(one.name for one in wanted), *last):
            print(f"{'done' if result_path(name, arguments.results).is_file() else 'missing'}\t{name}")
        return
    workspace = Workspace(arguments.build, load_rewards(REWARDS, choose_device("cpu")), open_classifier(), reporter)

    def keep(name: str, measure: Callable[[], dict[str, Any]]) -> None:
        path = result_path(name, arguments.results)
        if path.is_file():
            return
        if arguments.hours is not None and time.monotonic() - started > 3600 * arguments.hours:
            raise TimeIsUp
        begun = time.monotonic()
        write_json(path, measure())
        reporter.say(f"{name}: {path}, after {format_seconds(time.monotonic() - begun)}")

    try:
        keep(BASE, partial(measure_base, BASE, workspace))
        if any(isinstance(one, Training) and one.spacing for one in wanted):
            keep(RESPACED_BASE, partial(measure_base, RESPACED_BASE, workspace, PAPER_SPACING))
        for one in wanted:
            if isinstance(one, Training):
                keep(one.name, partial(train_and_describe, one, workspace))
            else:
                keep(one.name, partial(evaluate_splits, one, workspace))
        for name, measure in last.items():
            keep(name, partial(measure, workspace))
    except TimeIsUp:
        reporter.say("time is up: the same command goes on")


def time_trainings(workspace: Workspace) -> dict[str, Any]:
    """Seconds a step of trainings, measured again one after the other: nothing else should run meanwhile.

    Trainings whose steps do the same work are timed once.
    """
    timed: dict[frozenset[tuple[str, Any]], float] = {}
    seconds = {}
    for name, training in TIMED.items():
        work = training.work_of_a_step
        if work not in timed:
            timed[work] = time_steps(training, workspace)
        seconds[name] = timed[work]
    return {
        "schema_version": 1,
        "name": TIMINGS,
        "origin": describe_origin(),
        "step_seconds": seconds,
        "evaluation_seconds": time_evaluations(workspace),
    }


class TimeIsUp(Exception):
    """--hours are over."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    parsed = parse_arguments(arguments)
    with Reporter(quiet=False) as reporter:
        try:
            work(parsed, reporter)
        except IvideoError as error:
            reporter.say(f"error: {' '.join(str(error).split())}")
            sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
