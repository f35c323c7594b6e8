"""The paper's claims, each held against the results: a word and the interval that it rests on."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ivideo.metrics.statistics import PairedDifference, paired_difference

from .plan import (
    ACTING,
    ATTENUATIONS,
    DATA,
    DRAFT,
    GRADIENTS,
    INSTRUCT,
    RESPACED,
    RESPACED_BASE,
    SEGMENTS,
    STRENGTHS,
    TRAINED,
    UNTRAINED,
    Training,
)
from .results import TIMINGS, Results, compare, values_at

HOLDS, FAILS, OPEN = "holds here", "does not hold here", "can't tell at this size"
MISSING = "not measured yet"
LITTLE = 0.25  # share of a gain that counts as little more
MOST_MOTION_LOST = 0.15
SPLIT_NAMES = {"heldout": "held-out captions", "new_animals": "new animals", "things": "things"}


@dataclass(frozen=True)
class Finding:
    """What became of a claim.

    Attributes:
        claim: of the paper, or a question of ours.
        word: HOLDS, FAILS, OPEN or MISSING.
        evidence: differences with their intervals.
    """

    claim: str
    word: str
    evidence: str = ""


def ends_of(change: PairedDifference) -> tuple[float, float]:
    """Both ends of an interval; where there is none, it may be anything."""
    if change.ci_low is None or change.ci_high is None:
        return -math.inf, math.inf
    return change.ci_low, change.ci_high


def is_above(change: PairedDifference, bound: float = 0.0) -> str:
    """Whether a difference lies above a bound: with its whole interval, with none of it, or it can't be told."""
    low, high = ends_of(change)
    return HOLDS if low > bound else FAILS if high < bound else OPEN


def is_below(change: PairedDifference, bound: float = 0.0) -> str:
    """Likewise below."""
    low, high = ends_of(change)
    return HOLDS if high < bound else FAILS if low > bound else OPEN


def all_of(words: Sequence[str]) -> str:
    """One word for a claim of several parts, each of which must hold."""
    return FAILS if FAILS in words else OPEN if OPEN in words else HOLDS


def show(change: PairedDifference, digits: int = 3) -> str:
    """A difference with its interval."""
    return show_ends(change, lambda value: f"{value:+.{digits}f}")


def show_points(change: PairedDifference) -> str:
    """A difference of shares in points, with its interval."""
    return show_ends(change, lambda value: f"{100 * value:+.1f}")


def show_ends(change: PairedDifference, show_one: Callable[[float], str]) -> str:
    """A difference and both ends of its interval; alone where it has none, because every prompt changes as much."""
    if change.ci_low is None or change.ci_high is None:
        return show_one(change.difference)
    return f"{show_one(change.difference)} [{show_one(change.ci_low)}, {show_one(change.ci_high)}]"


def check_claims(results: Results) -> list[Finding]:
    """Every claim, in the order of the paper."""
    return [check(results) if check else Finding(claim, MISSING) for claim, check in find_claims(results)]


def find_claims(results: Results) -> list[tuple[str, Callable[[Results], Finding] | None]]:
    """Each claim with what checks it; None where results that it rests on are missing."""
    needed = (
        (rises, ("table_instructvideo_20",)),
        (beats_draft, ("table_instructvideo_20", "table_draft-1_20")),
        (is_cheaper, (TIMINGS, *(one.name for one in (*INSTRUCT, *DRAFT)))),
        (is_cheaper_with_its_clips, (TIMINGS, *(one.name for one in (*INSTRUCT, *DRAFT)))),
        (holds_at_fifty, ("table_instructvideo_50",)),
        (keeps_motion, ("table_instructvideo_20",)),
        (strength_helps, tuple(STRENGTHS[s].name for s in ("0.1", "0.3", "0.5"))),
        (low_strength_collapses, ("base", STRENGTHS["0.1"].name)),
        (high_strength_adds_little, (TIMINGS, STRENGTHS["0.6"].name, STRENGTHS["0.9"].name)),
        (attenuation_keeps_motion, (ATTENUATIONS["off"].name, ATTENUATIONS["1"].name)),
        (attenuation_keeps_motion_for_its_reward, (ATTENUATIONS["off"].name, ATTENUATIONS["1"].name)),
        (strong_attenuation_is_weak, (ATTENUATIONS["1"].name, ATTENUATIONS["2"].name)),
        (four_segments_suffice, ("base", SEGMENTS["4"].name, SEGMENTS["16"].name)),
        (random_frames_help, (SEGMENTS["4"].name, SEGMENTS["4, first frames"].name)),
        (one_gradient_step_suffices, (TIMINGS, *(GRADIENTS[g].name for g in ("last step", "last 2", "last 4")))),
        (gradient_elsewhere_helps, (TIMINGS, *(one.name for one in GRADIENTS.values()))),
        (last_step_works_where_it_is_weak, (RESPACED_BASE, RESPACED["last step"].name)),
        (harm_is_done_elsewhere, (ACTING, RESPACED_BASE)),
        (it_helps_where_the_last_step_is_weak, (TIMINGS, *(one.name for one in RESPACED.values()))),
        (own_clips_suffice, ("base", *(one.name for one in DATA.values()))),
    )
    return [(claim_of(check), check if all(results.get(name) for name in names) else None) for check, names in needed]


def by_split(
    results: Results, a: tuple[str, str], b: tuple[str, str], metric: str = "reward"
) -> dict[str, PairedDifference]:
    """A metric of one candidate of a table against another's, each (table, candidate), on every split."""
    first, second = results.found[a[0]]["splits"], results.found[b[0]]["splits"]
    return {split: compare(first[split][a[1]], second[split][b[1]], metric) for split in SPLIT_NAMES}


def check_splits(claim: Callable[[Results], Finding], changes: Mapping[str, PairedDifference]) -> Finding:
    """A claim that must hold on every split."""
    evidence = "; ".join(f"{SPLIT_NAMES[split]} {show(change)}" for split, change in changes.items())
    return Finding(claim_of(claim), all_of([is_above(change) for change in changes.values()]), evidence)


def claim_of(check: Callable[[Results], Finding]) -> str:
    """A claim in words: what its function says of itself."""
    return str(check.__doc__).rstrip(".")


def rises(results: Results) -> Finding:
    """InstructVideo raises the reward on captions like those trained on, on new animals and on things (table 1)."""
    table = "table_instructvideo_20"
    return check_splits(rises, by_split(results, (table, "base"), (table, "pooled")))


def beats_draft(results: Results) -> Finding:
    """It raises it more than DRaFT-1 does from pure noise, after as many steps (table 1)."""
    tables = ("table_draft-1_20", "pooled"), ("table_instructvideo_20", "pooled")
    return check_splits(beats_draft, by_split(results, *tables))


def is_cheaper(results: Results) -> Finding:
    """Partial inference is cheaper and better than the full chain: a higher reward at the same cost (figure 5a)."""
    return gains_more_at_equal_cost(is_cheaper, results, count_clips=False)


def is_cheaper_with_its_clips(results: Results) -> Finding:
    """It still is when the making of the edited clips is counted (the paper has real ones)."""
    return gains_more_at_equal_cost(is_cheaper_with_its_clips, results, count_clips=True)


def gains_more_at_equal_cost(claim: Callable[[Results], Finding], results: Results, *, count_clips: bool) -> Finding:
    """Whether InstructVideo's reward is above DRaFT-1's after the same seconds and as many network evaluations."""
    words, parts = [], []
    for axis, unit in (("seconds", "s"), ("evaluations", "network evaluations")):
        courses = [[results.course(one.name, count_clips=count_clips) for one in group] for group in (DRAFT, INSTRUCT)]
        place = min(course[-1][axis] for group in courses for course in group)
        draft, instruct = (np.mean([values_at(one, axis, place) or [] for one in group], axis=0) for group in courses)
        change = paired_difference([*draft], [*instruct])
        words.append(is_above(change))
        parts.append(f"after {place:.0f} {unit} {show(change)}")
    return Finding(claim_of(claim), all_of(words), "; ".join(parts))


def holds_at_fifty(results: Results) -> Finding:
    """What was trained with 20 steps also helps at 50 (table 1)."""
    table = "table_instructvideo_50"
    return check_splits(holds_at_fifty, by_split(results, (table, "base"), (table, "pooled")))


def keeps_motion(results: Results) -> Finding:
    """Motion is kept: it falls by less than 15 % on every split."""
    table = "table_instructvideo_20"
    changes = by_split(results, (table, "base"), (table, "pooled"), "motion")
    words = [is_above(change, -MOST_MOTION_LOST * change.mean_a) for change in changes.values()]
    evidence = "; ".join(
        f"{SPLIT_NAMES[split]} {show_ends(change, lambda value, mean=change.mean_a: f'{value / mean:+.0%}')}"
        for split, change in changes.items()
    )
    return Finding(claim_of(keeps_motion), all_of(words), evidence)


def best_of(course: Sequence[Mapping[str, Any]], metric: str = "reward") -> Mapping[str, Any]:
    """The evaluation with the highest mean."""
    return max(course, key=lambda record: float(np.mean(record["by_prompt"][metric])))


def strength_helps(results: Results) -> Finding:
    """The best reward along the training rises with the strength from .1 to .5 (figure 5b)."""
    best = {s: best_of(results.course(STRENGTHS[s].name)) for s in ("0.1", "0.3", "0.5")}
    rewards = {strength: record["by_prompt"]["reward"] for strength, record in best.items()}
    changes = [paired_difference(rewards[a], rewards[b]) for a, b in (("0.1", "0.3"), ("0.3", "0.5"))]
    evidence = f".1 to .3 {show(changes[0])}; .3 to .5 {show(changes[1])}"
    return Finding(claim_of(strength_helps), all_of([is_above(change) for change in changes]), evidence)


def low_strength_collapses(results: Results) -> Finding:
    """A low strength (.1) collapses when it is trained for long: its reward falls from its best (figure 5b)."""
    course = results.course(STRENGTHS["0.1"].name)
    best, last = best_of(course), course[-1]
    change = paired_difference(best["by_prompt"]["reward"], last["by_prompt"]["reward"])
    subject = final_change(results, "base", STRENGTHS["0.1"].name, "subject_accuracy")
    evidence = (
        f"step {last['step']} against step {best['step']}, its best: {show(change)}; "
        f"subjects that the classifier sees at the end, against the base: {show_points(subject)} points"
    )
    return Finding(claim_of(low_strength_collapses), is_below(change), evidence)


def high_strength_adds_little(results: Results) -> Finding:
    """Strength .9 gains little over .6 for the time that it takes (figure 5b)."""
    names = STRENGTHS["0.6"].name, STRENGTHS["0.9"].name
    return adds_little(high_strength_adds_little, results, *names)


def adds_little(claim: Callable[[Results], Finding], results: Results, usual: str, other: str) -> Finding:
    """Whether another training gains less than a quarter more than the usual one, in the time that the usual one takes.

    Where the other one ended earlier, in its own time.
    """
    courses = results.course(usual), results.course(other)
    place = min(course[-1]["seconds"] for course in courses)
    start = courses[0][0]["by_prompt"]["reward"]
    first, second = (values_at(course, "seconds", place) or [] for course in courses)
    gain, change = paired_difference(start, first).difference, paired_difference(first, second)
    evidence = f"after {place:.0f} s {show(change)}, where the usual gain is {gain:+.3f}"
    return Finding(claim_of(claim), is_below(change, LITTLE * gain), evidence)


def final_change(results: Results, a: str, b: str, metric: str, split: str = "heldout") -> PairedDifference:
    """A metric of one training's end against another's, on the prompts of a split."""
    return compare(results.found[a]["final"][split], results.found[b]["final"][split], metric)


def attenuation_keeps_motion(results: Results) -> Finding:
    """Attenuation (rate 1) keeps more motion than none (figure 5c)."""
    names = ATTENUATIONS["off"].name, ATTENUATIONS["1"].name
    change, reward = (final_change(results, *names, metric) for metric in ("motion", "reward"))
    evidence = f"motion {show(change)} pixels a frame; reward {show(reward)}"
    return Finding(claim_of(attenuation_keeps_motion), is_above(change), evidence)


def attenuation_keeps_motion_for_its_reward(results: Results) -> Finding:
    """It keeps more than a training without it had lost when it had gained as much."""
    place, change = results.compare_at_equal_reward(ATTENUATIONS["off"].name, ATTENUATIONS["1"].name, "motion")
    evidence = f"at a held-out reward of {place:.3f}: motion {show(change)} pixels a frame"
    return Finding(claim_of(attenuation_keeps_motion_for_its_reward), is_above(change), evidence)


def strong_attenuation_is_weak(results: Results) -> Finding:
    """Rate 2 is too weak a signal: its reward ends below that of rate 1."""
    change = final_change(results, ATTENUATIONS["1"].name, ATTENUATIONS["2"].name, "reward")
    return Finding(claim_of(strong_attenuation_is_weak), is_below(change), show(change))


def four_segments_suffice(results: Results) -> Finding:
    """A frame of each of 4 segments does as well as all 16 frames (within a quarter of the gain)."""
    gain = final_change(results, "base", SEGMENTS["4"].name, "reward").difference
    change = final_change(results, SEGMENTS["4"].name, SEGMENTS["16"].name, "reward")
    evidence = f"16 against 4: {show(change)}, where the gain of 4 is {gain:+.3f}"
    return Finding(claim_of(four_segments_suffice), is_below(change, LITTLE * gain), evidence)


def random_frames_help(results: Results) -> Finding:
    """Frames drawn at random flicker less than always the first of each segment (figure 7)."""
    names = SEGMENTS["4, first frames"].name, SEGMENTS["4"].name
    change, reward = (final_change(results, *names, metric) for metric in ("flicker", "reward"))
    evidence = f"flicker (1: none) {show(change, 4)}; reward {show(reward)}"
    return Finding(claim_of(random_frames_help), is_above(change), evidence)


def one_gradient_step_suffices(results: Results) -> Finding:
    """The last step's gradient is enough: 2 or 4 steps gain little more in the same time."""
    usual = GRADIENTS["last step"].name
    findings = [
        adds_little(one_gradient_step_suffices, results, usual, GRADIENTS[other].name) for other in ("last 2", "last 4")
    ]
    evidence = "; ".join(f"{k} steps {one.evidence}" for k, one in zip((2, 4), findings, strict=True))
    return Finding(claim_of(one_gradient_step_suffices), all_of([one.word for one in findings]), evidence)


def gradient_elsewhere_helps(results: Results) -> Finding:
    """A gradient taken elsewhere gains more than the last step's in the same time."""
    return gains_more(gradient_elsewhere_helps, results, GRADIENTS)


def last_step_works_where_it_is_weak(results: Results) -> Finding:
    """The last step's gradient also raises the reward with the paper's timesteps, where its prediction hardly acts."""
    change = final_change(results, RESPACED_BASE, RESPACED["last step"].name, "reward")
    return Finding(claim_of(last_step_works_where_it_is_weak), is_above(change), show(change))


def harm_is_done_elsewhere(results: Results) -> Finding:
    """What that gradient spoils, it spoils at the other steps: at t = 1 the adapter does less than a quarter of it."""
    changes = {part: acting_change(results, RESPACED["last step"], part, "reward") for part in (TRAINED, UNTRAINED)}
    whole = final_change(results, RESPACED_BASE, RESPACED["last step"].name, "reward").difference
    word = all_of([is_below(changes[UNTRAINED]), is_above(changes[TRAINED], LITTLE * whole)])
    evidence = f"acting at t = 1 only {show(changes[TRAINED], 4)}; at the others only {show(changes[UNTRAINED])}"
    return Finding(claim_of(harm_is_done_elsewhere), word, evidence)


def acting_change(results: Results, training: Training, part: str, metric: str) -> PairedDifference:
    """A metric on held-out captions against the base, with a training's adapter at a part of the steps only."""
    base = results.found[training.base]["final"]["heldout"]
    return compare(base, results.found[ACTING]["heldout"][training.name][part], metric)


def it_helps_where_the_last_step_is_weak(results: Results) -> Finding:
    """A gradient taken elsewhere gains more than the last step's with the paper's timesteps, in the same time."""
    return gains_more(it_helps_where_the_last_step_is_weak, results, RESPACED)


def gains_more(claim: Callable[[Results], Finding], results: Results, trainings: Mapping[str, Training]) -> Finding:
    """Whether any training that takes its gradient elsewhere gains more than the usual one in the same time."""
    usual = results.course(trainings["last step"].name)
    words, parts = [], []
    for label in (label for label in trainings if not label.startswith("last")):
        course = results.course(trainings[label].name)
        place = min(usual[-1]["seconds"], course[-1]["seconds"])
        first, second = (values_at(one, "seconds", place) or [] for one in (usual, course))
        change = paired_difference(first, second)
        words.append(is_above(change))
        parts.append(f"{label} {show(change)}")
    word = HOLDS if HOLDS in words else FAILS if set(words) == {FAILS} else OPEN
    return Finding(claim_of(claim), word, "; ".join(parts))


def own_clips_suffice(results: Results) -> Finding:
    """The model's own clips are as good a source of the edit as rendered ones (within a quarter of the gain)."""
    own, rendered = (one.name for one in DATA.values())
    gain = final_change(results, "base", own, "reward").difference
    change = final_change(results, own, rendered, "reward")
    return Finding(
        claim_of(own_clips_suffice), is_below(change, LITTLE * gain), f"rendered against own: {show(change)}"
    )
