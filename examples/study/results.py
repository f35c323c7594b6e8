"""Reads the study's results, and sets two of them against each other prompt by prompt."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ivideo.metrics.statistics import PairedDifference, paired_difference

TIMINGS = "timings"


def by_prompt(kept: Mapping[str, Any]) -> dict[str, float]:
    """A metric's values by prompt, as they were kept."""
    return dict(zip(kept["prompts"], kept["values"], strict=True))


def compare(a: Mapping[str, Any], b: Mapping[str, Any], metric: str) -> PairedDifference:
    """One metric of b against a; both as `keep_values` keeps them."""
    return paired_difference(by_prompt(a[metric]), by_prompt(b[metric]))


@dataclass(frozen=True)
class Results:
    """All results that are there, by name."""

    found: Mapping[str, Mapping[str, Any]]

    def get(self, name: str) -> Mapping[str, Any] | None:
        """A result; None if it was not measured yet."""
        return self.found.get(name)

    def course(self, name: str, *, count_clips: bool = False) -> list[Mapping[str, Any]]:
        """The evaluations along a training; empty if it was not run.

        Args:
            name: of the training.
            count_clips: start after the network evaluations and seconds that the edited clips took to make, if it made
                any; needs the timings.
        """
        result, seconds = self.get(name), self.step_seconds(name)
        if result is None:
            return []
        evaluations = result["cost"]["evaluations_of_base_clips"] if count_clips else 0
        spent = evaluations * self.found[TIMINGS]["evaluation_seconds"] if count_clips else 0.0
        return [
            {
                **record,
                "seconds": spent + record["step"] * seconds,
                "evaluations": evaluations + record["evaluations"],
            }
            for record in result["course"]
        ]

    def compare_at_equal_reward(self, a: str, b: str, metric: str) -> tuple[float, PairedDifference]:
        """A metric of training b against training a where their mean held-out rewards were last equal.

        Their courses must be of the same frames (`Training.watched`).

        Returns:
            That reward, the highest that both reached; and the difference, over the prompts that were watched.
        """
        courses = [climb(self.course(name)) for name in (a, b)]
        place = min(course[-1]["mean_reward"] for course in courses)
        first, second = (values_at(course, "mean_reward", place, metric) or [] for course in courses)
        return place, paired_difference(first, second)

    def step_seconds(self, name: str) -> float:
        """Seconds a step of a training on a machine without other work; 0 where that was not measured."""
        timings = self.get(TIMINGS)
        return float(timings["step_seconds"][name]) if timings else 0.0


def read_results(folder: Path) -> Results:
    """Every result of a folder."""
    paths = sorted(folder.glob("*.json"))
    return Results({path.stem: json.loads(path.read_text(encoding="utf-8")) for path in paths})


def climb(course: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The evaluations of a course that were better than all before, each with its `mean_reward`."""
    found: list[Mapping[str, Any]] = []
    for record in course:
        mean_reward = float(np.mean(record["by_prompt"]["reward"]))
        if not found or mean_reward > found[-1]["mean_reward"]:
            found.append({**record, "mean_reward": mean_reward})
    return found


def values_at(
    course: Sequence[Mapping[str, Any]], axis: str, place: float, metric: str = "reward"
) -> list[float] | None:
    """Each prompt's value at a place between two evaluations of a course, on a straight line between them.

    Values 1 and 2 at 0 and 10 seconds give 1.3 at 3 seconds.

    Args:
        course: evaluations of a training, from its start.
        axis: `seconds`, `evaluations` or another number that grows along the course.
        place: on that axis.
        metric: whose values.

    Returns:
        (num_prompts,); None where the course ends before.
    """
    places = [record[axis] for record in course]
    if not places or place > places[-1]:
        return None
    table = np.array([record["by_prompt"][metric] for record in course])  # (num_evaluations, num_prompts)
    return [float(np.interp(place, places, column)) for column in table.T]
