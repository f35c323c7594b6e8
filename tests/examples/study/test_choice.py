"""The choice of a preset on made-up results whose answer is known."""

from __future__ import annotations

from typing import Any

import pytest

from examples.study.choice import Candidate, check_winner, list_candidates
from examples.study.plan import DEFAULT, K1, K4, PRESET_TABLES, SEGMENTS
from examples.study.results import TIMINGS, Results

PROMPTS = [f"prompt {i}" for i in range(8)]
NOISE = (-0.004, 0.002, 0.001, -0.001, 0.003, -0.002, 0.004, -0.003)
METRICS = ("reward", "motion", "subject_accuracy")


def keep(**means: float) -> dict[str, Any]:
    return {
        name: {"prompts": PROMPTS, "values": [mean * (1 + noise) for noise in NOISE]} for name, mean in means.items()
    }


def make_training(*course: float, motion: float = 1.0, things_subject: float = 0.9) -> Any:
    """Evaluations every 10 steps."""
    final = {
        "heldout": keep(reward=course[-1], motion=motion, subject_accuracy=0.9),
        "things": keep(reward=course[-1], motion=motion, subject_accuracy=things_subject),
    }
    records = [
        {"step": 10 * i, "evaluations": 10 * i, "by_prompt": {"reward": [mean * (1 + i * noise) for noise in NOISE]}}
        for i, mean in enumerate(course)
    ]
    return {"final": final, "course": records}


def choose(*, seconds_of_eight: float = 1.0, **trainings: Any) -> dict[str, Candidate]:
    """Candidates against a usual training with a gradient through 2 steps; `one` step takes half its time."""
    names = {"usual": DEFAULT.name, "one": K1.name, "four": K4.name, "eight": SEGMENTS["8"].name}
    found = {names[name]: training for name, training in trainings.items()}
    step_seconds = {DEFAULT.name: 1.0, K1.name: 0.5, K4.name: 1.0, SEGMENTS["8"].name: seconds_of_eight}
    timings = {"step_seconds": step_seconds}
    found |= {"base": make_training(0.6), TIMINGS: timings}
    return {one.label: one for one in list_candidates(Results(found))}


def test_the_gain_is_that_of_equal_time() -> None:
    chosen = choose(
        usual=make_training(0.6, 0.65, 0.7),
        one=make_training(0.6, 0.64, 0.68),
        four=make_training(0.6, 0.65, 0.7),
    )
    assert [*chosen] == ["last step", "last 4"]
    assert chosen["last step"].seconds == 10
    assert chosen["last step"].gain.difference == pytest.approx(0.03)
    assert chosen["last step"].wins
    assert chosen["last 4"].gain.difference == 0
    assert not chosen["last 4"].wins


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        ({"motion": 0.84}, ("motion -16% (heldout)", "motion -16% (things)")),
        ({"things_subject": 0.8}, ("subject -10.0 points (things)",)),
    ],
)
def test_a_training_that_loses_something_does_not_win(loss: dict[str, float], words: tuple[str, ...]) -> None:
    better = make_training(0.6, 0.7, 0.8, **loss)
    chosen = choose(usual=make_training(0.6, 0.65, 0.7), four=better)
    assert chosen["last 4"].gain.ci_low > 0
    assert chosen["last 4"].lost == words
    assert not chosen["last 4"].wins


def test_courses_of_different_frames_are_straight_lines_from_the_base() -> None:
    chosen = choose(usual=make_training(0.6, 0.69, 0.7), eight=make_training(0.6, 0.69, 0.72), seconds_of_eight=1.25)
    assert chosen["8"].seconds == 20
    assert chosen["8"].gain.difference == pytest.approx(0.6 + 0.12 * 20 / 25 - 0.7)


def test_nothing_is_compared_before_both_are_measured() -> None:
    assert choose(four=make_training(0.6, 0.7)) == {}


def test_nothing_is_chosen_before_the_seconds_are_known() -> None:
    trained = {name: make_training(0.6, 0.7) for name in (DEFAULT.name, K4.name)}
    assert list_candidates(Results({"base": make_training(0.6), **trained})) == []


@pytest.mark.parametrize(
    ("reward", "motion", "seconds", "gain", "outcome"),
    [
        (0.8, 1.0, 1.0, 0.1, "wins"),
        (0.8, 1.0, 4.0, -0.05, "is not better beyond chance"),  # in the time of the other it gains a quarter of .2
        (0.8, 0.8, 1.0, 0.1, "loses motion -20% (heldout), motion -20% (things)"),
        (0.7, 1.0, 1.0, 0.0, "is not better beyond chance"),
    ],
)
def test_a_winner_is_held_against_the_preset_before_by_the_same_rule(
    reward: float, motion: float, seconds: float, gain: float, outcome: str
) -> None:
    base = keep(reward=0.6, motion=1.0, subject_accuracy=0.9)
    pooled = [keep(reward=reward, motion=motion, subject_accuracy=0.9), keep(reward=0.7, motion=1.0)]
    tables = [{"heldout": {"base": base, "pooled": one}, "things": {"base": base, "pooled": one}} for one in pooled]
    found: dict[str, Any] = {one.name: {"splits": table} for one, table in zip(PRESET_TABLES, tables, strict=True)}
    step_seconds = {SEGMENTS["8"].name: seconds, SEGMENTS["4"].name: 1.0}
    trial = check_winner(Results({**found, TIMINGS: {"step_seconds": step_seconds}}))
    assert trial.gain.difference == pytest.approx(gain, abs=1e-9)
    assert trial.outcome == outcome
