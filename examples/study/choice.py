"""Which training the shipped preset should be: the most reward in equal time, with motion and accuracies kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ivideo.metrics.statistics import PairedDifference, paired_difference

from .claims import HOLDS, MOST_MOTION_LOST, is_above, is_below
from .plan import PRESET_TABLES, PRESETS, SEGMENTS, SWEEPS, Sweep, all_trainings
from .results import TIMINGS, Results, by_prompt, compare, values_at

CANDIDATES = ("gradient", "attenuation", "segments", "strength", "batch", "data")  # all of the model's own timesteps
CLASSIFIER_SPLITS = ("heldout", "things")
ACCURACY_TITLES = {"subject_accuracy": "subject", "motion_accuracy": "motion seen", "place_accuracy": "place"}


@dataclass(frozen=True)
class Trial:
    """What may take another's place.

    Attributes:
        gain: of held-out reward over the other, after equal time.
        lost: what it does not keep at its end, in words; empty if it keeps all.
    """

    gain: PairedDifference
    lost: tuple[str, ...]

    @property
    def wins(self) -> bool:
        """Whether it should take the usual one's place: better by more than chance, and nothing is lost."""
        return is_above(self.gain) == HOLDS and not self.lost

    @property
    def outcome(self) -> str:
        """In words, of which "it" is the subject."""
        return "wins" if self.wins else f"loses {', '.join(self.lost)}" if self.lost else "is not better beyond chance"


@dataclass(frozen=True)
class Candidate(Trial):
    """A training against the usual one of its sweep.

    Attributes:
        sweep: its title.
        label: of the training.
        seconds: of training after which the two are compared: the time of the one that ended earlier.
    """

    sweep: str
    label: str
    seconds: float


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
    lost = find_losses(*(results.found[name]["final"] for name in (sweep.base, sweep.trainings[label])))
    return Candidate(paired_difference(usual, other), tuple(lost), sweep.title, label, seconds)


def draw_straight_course(results: Results, base: str, name: str) -> list[Mapping[str, Any]]:
    """A training as if its held-out reward had risen evenly: a course of two evaluations, of the base and of its end.

    For trainings whose own courses are of different frames; those that can be compared are nearly straight.
    """
    start, end = (by_prompt(results.found[one]["final"]["heldout"]["reward"]) for one in (base, name))
    return [
        {"seconds": 0.0, "by_prompt": {"reward": [*start.values()]}},
        {"seconds": results.course(name)[-1]["seconds"], "by_prompt": {"reward": [end[prompt] for prompt in start]}},
    ]


def find_losses(base: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """What is not kept, in words: 85 % of the motion, and, beyond chance, what the classifier recognises.

    Args:
        base: its values by split, metric and prompt (`keep_values`).
        other: likewise.
    """
    lost = []
    for split in CLASSIFIER_SPLITS:
        motion = compare(base[split], other[split], "motion")
        if motion.difference < -MOST_MOTION_LOST * motion.mean_a:
            lost.append(f"motion {motion.difference / motion.mean_a:+.0%} ({split})")
        for metric, title in ACCURACY_TITLES.items():
            if base[split].get(metric, {}).get("values"):  # else its captions name nothing of that kind
                change = compare(base[split], other[split], metric)
                if is_below(change) == HOLDS:
                    lost.append(f"{title} {100 * change.difference:+.1f} points ({split})")
    return lost


def check_winner(results: Results) -> Trial:
    """The winner's preset against the preset before by the same rule, each with three seeds.

    Their steps are of twice as many clips as those of the sweeps, whose seconds are taken.
    """
    tables = [results.found[one.name]["splits"] for one in PRESET_TABLES]
    steps = [results.step_seconds(SEGMENTS[str(num_segments)].name) for num_segments in PRESETS]
    start, *ends = (
        by_prompt(table["heldout"][one]["reward"])
        for table, one in ((tables[0], "base"), (tables[0], "pooled"), (tables[1], "pooled"))
    )
    winner, before = (
        [start[prompt] + min(steps) / own * (end[prompt] - start[prompt]) for prompt in start]
        for own, end in zip(steps, ends, strict=True)
    )
    base, pooled = ({split: tables[0][split][one] for split in CLASSIFIER_SPLITS} for one in ("base", "pooled"))
    return Trial(paired_difference(before, winner), tuple(find_losses(base, pooled)))
