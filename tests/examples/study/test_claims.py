"""Findings on made-up results whose answer is known."""

from __future__ import annotations

from typing import Any

import pytest

from examples.study.claims import FAILS, HOLDS, MISSING, OPEN, all_of, check_claims, is_above, is_below, show
from examples.study.plan import (
    ACTING,
    ATTENUATIONS,
    DRAFT,
    EVALUATIONS,
    INSTRUCT,
    RESPACED,
    RESPACED_BASE,
    STRENGTHS,
    TRAINED,
    UNTRAINED,
    all_trainings,
)
from examples.study.results import TIMINGS, Results, climb, values_at
from ivideo.metrics.statistics import paired_difference

PROMPTS = [f"prompt {i}" for i in range(8)]
METRICS = ("reward", "motion", "flicker", "subject_accuracy")
NOISE = (-0.004, 0.002, 0.001, -0.001, 0.003, -0.002, 0.004, -0.003)


def turn(shift: int) -> tuple[float, ...]:
    """The noise, of other prompts: differences of trainings vary over prompts, also where their means are alike."""
    return (*NOISE[shift % 8 :], *NOISE[: shift % 8])


def keep(values: float, shift: int = 0) -> dict[str, Any]:
    kept = {"prompts": PROMPTS, "values": [values * (1 + noise) for noise in turn(shift)]}
    return dict.fromkeys(METRICS, kept)


def make_course(*means: float, shift: int = 0) -> list[dict[str, Any]]:
    """Evaluations every 16 steps of 10 network evaluations."""
    return [
        {
            "step": 16 * i,
            "evaluations": 160 * i,
            "by_prompt": {metric: [mean * (1 + i * noise) for noise in turn(shift)] for metric in METRICS},
        }
        for i, mean in enumerate(means)
    ]


def make_training(heldout: float, *course: float, shift: int = 0) -> dict[str, Any]:
    cost = {"num_steps": 16 * (len(course) - 1), "evaluations_of_base_clips": 0}
    return {"final": {"heldout": keep(heldout, shift)}, "course": make_course(*course, shift=shift), "cost": cost}


def make_table(base: float, pooled: float) -> dict[str, Any]:
    return {
        "splits": {
            split: {"base": keep(base), "pooled": keep(pooled)} for split in ("heldout", "new_animals", "things")
        }
    }


@pytest.fixture
def found() -> dict[str, Any]:
    """Everything gains .1 at equal cost, but for DRaFT-1, which gains .05 at twice the cost a step."""
    found: dict[str, Any] = {
        name: make_training(0.7, 0.6, 0.65, 0.7, shift=i) for i, name in enumerate(all_trainings())
    }
    found |= {one.name: make_training(0.65, 0.6, 0.62, 0.65) for one in DRAFT}
    found |= {one.name: make_table(0.6, 0.65 if "draft" in one.name else 0.7) for one in EVALUATIONS}
    seconds = dict.fromkeys(all_trainings(), 1.0) | {one.name: 2.0 for one in DRAFT}
    timings = {"step_seconds": seconds, "evaluation_seconds": 0.01}
    return found | {"base": {"final": {"heldout": keep(0.6)}}, TIMINGS: timings}


def findings(found: dict[str, Any]) -> dict[str, str]:
    return {one.claim.split(":")[0].split(" (")[0]: one.word for one in check_claims(Results(found))}


def test_an_interval_decides_and_nothing_less() -> None:
    ups, changing = [1.0, 1.2, 1.4, 1.6, 1.8], [-1.0, -0.5, 0.0, 0.5, 1.0]
    above, below, both, unknown = (
        paired_difference([0.0] * len(changes), changes) for changes in (ups, [-up for up in ups], changing, [1.0] * 5)
    )
    assert (is_above(unknown), is_below(unknown), show(unknown)) == (OPEN, OPEN, "+1.000")
    assert [is_above(one) for one in (above, below, both)] == [HOLDS, FAILS, OPEN]
    assert [is_below(one) for one in (above, below, both)] == [FAILS, HOLDS, OPEN]
    assert is_above(above, bound=3.0) == FAILS
    assert [all_of(words) for words in ([HOLDS, HOLDS], [HOLDS, OPEN], [OPEN, FAILS])] == [HOLDS, OPEN, FAILS]


def test_claims_of_made_up_results(found: dict[str, Any]) -> None:
    told = findings(found)
    assert (
        told["InstructVideo raises the reward on captions like those trained on, on new animals and on things"] == HOLDS
    )
    assert told["It raises it more than DRaFT-1 does from pure noise, after as many steps"] == HOLDS
    assert told["Partial inference is cheaper and better than the full chain"] == HOLDS
    assert told["A gradient taken elsewhere gains more than the last step's in the same time"] == OPEN  # all the same
    assert told["A frame of each of 4 segments does as well as all 16 frames"] == OPEN  # differences without a spread


def test_a_cheaper_training_that_is_worse_at_the_same_cost_is_no_better(found: dict[str, Any]) -> None:
    for training in INSTRUCT:
        found[training.name] = make_training(0.7, 0.6, 0.6, 0.7)
        found[TIMINGS]["step_seconds"][training.name] = 40.0
    assert findings(found)["Partial inference is cheaper and better than the full chain"] == FAILS


def test_clips_that_cost_more_than_the_training_make_it_dearer(found: dict[str, Any]) -> None:
    claim = "It still is when the making of the edited clips is counted"
    assert findings(found)[claim] == HOLDS
    for training in INSTRUCT:
        found[training.name]["cost"]["evaluations_of_base_clips"] = 1000
    course = Results(found).course(INSTRUCT[0].name, count_clips=True)
    assert [(one["seconds"], one["evaluations"]) for one in course] == [(10, 1000), (26, 1160), (42, 1320)]
    assert findings(found)[claim] == FAILS
    assert findings(found)["Partial inference is cheaper and better than the full chain"] == HOLDS


@pytest.mark.parametrize(("course", "word"), [((0.6, 0.7, 0.5), HOLDS), ((0.6, 0.65, 0.7), OPEN)])
def test_collapse_is_a_fall_below_the_best(found: dict[str, Any], course: tuple[float, ...], word: str) -> None:
    found[STRENGTHS["0.1"].name] = make_training(0.7, *course)
    assert findings(found)["A low strength"] == word


@pytest.mark.parametrize(("motion", "word"), [(0.95, HOLDS), (0.9, OPEN), (0.85, FAILS)])
def test_motion_is_compared_at_equal_reward(found: dict[str, Any], motion: float, word: str) -> None:
    """Without attenuation the motion falls from 1 to .8 while the reward rises from .6 to .7; with it, half as far."""
    found[ATTENUATIONS["off"].name] = make_training(0.7, 0.6, 0.7)
    found[ATTENUATIONS["1"].name] = make_training(0.65, 0.6, 0.65)
    for rate, end in (("off", 0.8), ("1", motion)):
        for record, mean in zip(found[ATTENUATIONS[rate].name]["course"], (1.0, end), strict=True):
            record["by_prompt"]["motion"] = [
                mean + noise * (rate == "1") for noise in (*NOISE[:4], *(-n for n in NOISE[:4]))
            ]
    told = findings(found)["It keeps more than a training without it had lost when it had gained as much"]
    assert told == word


@pytest.mark.parametrize(("there", "elsewhere", "word"), [(0.6, 0.5, HOLDS), (0.55, 0.5, FAILS), (0.6, 0.61, FAILS)])
def test_harm_is_done_elsewhere_if_the_trained_step_does_little_of_it(
    found: dict[str, Any], there: float, elsewhere: float, word: str
) -> None:
    parts = {TRAINED: keep(there, 1), UNTRAINED: keep(elsewhere)}
    found |= {
        RESPACED_BASE: {"final": {"heldout": keep(0.6)}},
        RESPACED["last step"].name: make_training(0.5, 0.6, 0.5),
        ACTING: {"heldout": {RESPACED["last step"].name: parts}},
    }
    (told,) = (one for one in check_claims(Results(found)) if "spoils at the other steps" in one.claim)
    assert told.word == word


def test_what_was_not_measured_has_no_finding(found: dict[str, Any]) -> None:
    assert {one.word for one in check_claims(Results({}))} == {MISSING}
    del found[INSTRUCT[0].name]
    assert findings(found)["Partial inference is cheaper and better than the full chain"] == MISSING


def test_seconds_are_those_of_a_quiet_machine(found: dict[str, Any]) -> None:
    name = INSTRUCT[0].name
    assert [record["seconds"] for record in Results(found).course(name)] == [0, 16, 32]
    found[TIMINGS]["step_seconds"][name] = 0.5
    assert [record["seconds"] for record in Results(found).course(name)] == [0, 8, 16]
    del found[TIMINGS]
    assert Results(found).step_seconds(name) == 0
    told = findings(found)
    assert told["The last step's gradient is enough"] == MISSING
    assert told["A low strength"] != MISSING


def test_a_course_climbs_by_its_best_evaluations() -> None:
    course = [{"by_prompt": {"reward": [mean, mean + 2]}} for mean in (1.0, 3.0, 2.0, 3.0, 4.0)]
    assert [record["mean_reward"] for record in climb(course)] == [2.0, 4.0, 5.0]


def test_values_between_two_evaluations_lie_on_a_line() -> None:
    course = [{"seconds": s, "by_prompt": {"reward": [v, 2 * v]}} for s, v in ((0, 1.0), (10, 2.0))]
    assert values_at(course, "seconds", 3) == [pytest.approx(1.3), pytest.approx(2.6)]
    assert values_at(course, "seconds", 11) is None
    assert values_at([], "seconds", 0) is None
