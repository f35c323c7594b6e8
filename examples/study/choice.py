"""Which training the shipped preset should be: the most reward in equal time, with motion and the referee kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ivideo.metrics.statistics import PairedDifference, paired_difference

from .claims import MOST_MOTION_LOST, final_change
from .plan import SWEEPS, Sweep, all_trainings
from .results import TIMINGS, Results, by_prompt, values_at

CANDIDATES = ("gradient", "attenuation", "segments", "strength", "batch", "data")  # all of the model's own timesteps
REFEREE_SPLITS = ("heldout", "things")
ACCURACY_TITLES = {"subject_accuracy": "subject", "motion_accuracy": "motion seen", "place_accuracy": "place"}


@dataclass(frozen=True)
class Candidate:
    """A training against the usual one of its sweep.

    Attributes:
        sweep: its title.
        label: of the training.
        seconds: of training after which the two are compared: the time of the one that ended earlier.
        gain: of held-out reward over the usual one there.
        lost: what it does not keep at its end, in words; empty if it keeps all.
    """

    sweep: str
    label: str
    seconds: float
    gain: PairedDifference
    lost: tuple[str, ...]

    @property
    def wins(self) -> bool:
        """Whether it should take the usual one's place: better by more than chance, and nothing is lost."""
        return self.gain.ci_low > 0 and not self.lost


def list_candidates(results: Results) -> list[Candidate]:
    """Every training that was measured and could take the place of its sweep's usual one, the best gain first.

    None before the seconds were measured on a quiet machine.
    """
    if not results.get(TIMINGS):
        return []
    found = [
        compare_with_usual(results, sweep, label)
        for sweep in (SWEEPS[key] for key in CANDIDATES)
        for label, name in sweep.trainings.items()
        if label != sweep.usual and all(results.get(one) for one in (sweep.base, name, sweep.trainings[sweep.usual]))
    ]
    return sorted(found, key=lambda one: -one.gain.difference)


def compare_with_usual(results: Results, sweep: Sweep, label: str) -> Candidate:
    """A training of a sweep against the usual one, after the time of the one that ended earlier."""
    names = [sweep.trainings[one] for one in (sweep.usual, label)]
    usual_frames, other_frames = (all_trainings()[name].watched for name in names)
    if usual_frames == other_frames:
        courses = [results.course(name) for name in names]
    else:
        courses = [draw_straight_course(results, sweep.base, name) for name in names]
    seconds = min(course[-1]["seconds"] for course in courses)
    usual, other = (values_at(course, "seconds", seconds) or [] for course in courses)
    lost = find_losses(results, sweep.base, sweep.trainings[label])
    return Candidate(sweep.title, label, seconds, paired_difference(usual, other), tuple(lost))


def draw_straight_course(results: Results, base: str, name: str) -> list[Mapping[str, Any]]:
    """A training as if its held-out reward had risen evenly: a course of two evaluations, of the base and of its end.

    For trainings whose own courses are of different frames; those that can be compared are nearly straight.
    """
    start, end = (by_prompt(results.found[one]["final"]["heldout"]["reward"]) for one in (base, name))
    return [
        {"seconds": 0.0, "by_prompt": {"reward": [*start.values()]}},
        {"seconds": results.course(name)[-1]["seconds"], "by_prompt": {"reward": [end[prompt] for prompt in start]}},
    ]


def find_losses(results: Results, base: str, name: str) -> Sequence[str]:
    """What a training does not keep: 85 % of the motion, and, beyond chance, what the referee recognises."""
    lost = []
    for split in REFEREE_SPLITS:
        motion = final_change(results, base, name, "motion", split)
        if motion.difference < -MOST_MOTION_LOST * motion.mean_a:
            lost.append(f"motion {motion.difference / motion.mean_a:+.0%} ({split})")
        for metric, title in ACCURACY_TITLES.items():
            change = change_if_named(results, base, name, metric, split)
            if change is not None and change.ci_high < 0:
                lost.append(f"{title} {100 * change.difference:+.1f} points ({split})")
    return lost


def change_if_named(results: Results, base: str, name: str, metric: str, split: str) -> PairedDifference | None:
    """The change of an accuracy; None where a split's captions name nothing of that kind."""
    if not results.found[base]["final"][split].get(metric, {}).get("values"):
        return None
    return final_change(results, base, name, metric, split)
