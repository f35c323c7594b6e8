"""The guard decides by the evaluations alone; every course here was decided by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from ivideo.config.presets import PRESETS
from ivideo.config.settings import FinetuneSettings
from ivideo.training.heldout import decide, falls_below, find_standstill, untrained_rewards


def make_settings(**values: object) -> FinetuneSettings:
    guard = {"patience": 3, "min_motion": 0.85, "min_judge": 0.95, "reward": ("trained", "second")}
    return FinetuneSettings(**{**PRESETS["emoji-world"]["default"], "model": "m", **guard, **values})


def make_history(
    rewards: Sequence[float], motions: Sequence[float] | None = None, seconds: Sequence[float] | None = None
) -> list[dict[str, Any]]:
    """Evaluations at the steps 0, 9, 18, ...; the second reward gives both prompts the same."""
    history = []
    for index, reward in enumerate(rewards):
        motion, second = motions[index] if motions else 1.0, seconds[index] if seconds else 0.3
        history.append(
            {
                "step": 9 * index,
                "values": {"reward": reward, "trained": reward, "motion": motion, "second": second},
                "by_prompt": {"second": [second, second]},
            }
        )
    return history


@pytest.mark.parametrize(
    ("rewards", "best_step", "stops"),
    [
        ([0.60], 0, False),
        ([0.60, 0.70], 9, False),
        ([0.60, 0.70, 0.69, 0.68], 9, False),
        ([0.60, 0.70, 0.69, 0.68, 0.67], 9, True),
        ([0.60, 0.70, 0.69, 0.68, 0.71], 36, False),  # a new best, if late
        ([0.60, 0.70, 0.70, 0.70, 0.70], 9, True),  # as good is not better, and the first of them is the best
        ([0.60, 0.59, 0.58, 0.57], 9, True),  # never above the base: the least bad adapter, and an end
        ([0.60, 0.50, 0.55, 0.58], 27, True),  # rises, but not above the base
        ([0.60, 0.50, 0.55, 0.61], 27, False),
    ],
)
def test_the_best_is_the_highest_and_patience_counts_what_came_after_it(
    rewards: list[float], best_step: int, stops: bool
) -> None:
    decision = decide(make_history(rewards), make_settings())
    assert (decision.best_step, decision.stop_reason is not None) == (best_step, stops)


def test_the_reason_names_the_best_so_far() -> None:
    decision = decide(make_history([0.6, 0.7, 0.69, 0.68, 0.67]), make_settings())
    assert decision.stop_reason == "the held-out reward has not risen above 0.7000 of step 9 in the last 3 evaluations"
    assert find_standstill(make_history([0.6, 0.5]), 1) == (
        "the held-out reward has not risen above 0.6000 of the base in the last evaluation"
    )


def test_lost_motion_stops_and_cannot_be_the_best() -> None:
    decision = decide(make_history([0.6, 0.7, 0.9], [1.0, 0.9, 0.84]), make_settings())
    assert decision.best_step == 9
    assert decision.stop_reason == "motion fell to 0.840, below 0.85 of the base's 1.000"
    assert decide(make_history([0.6, 0.7, 0.9], [1.0, 0.9, 0.85]), make_settings()).stop_reason is None
    # What once broke the floor stays out of the question when a later evaluation is fine.
    assert decide(make_history([0.6, 0.9, 0.7], [1.0, 0.5, 1.0]), make_settings()).best_step == 18
    assert decide(make_history([0.6, 0.9], [1.0, 0.5]), make_settings()).best_step == 0


def test_a_still_base_has_no_motion_to_lose() -> None:
    assert decide(make_history([0.6, 0.7], [0.0, 0.0]), make_settings()).stop_reason is None


def test_a_second_reward_that_falls_stops_and_cannot_be_the_best() -> None:
    decision = decide(make_history([0.6, 0.7, 0.9], seconds=[0.3, 0.3, 0.28]), make_settings())
    assert decision.best_step == 9
    assert decision.stop_reason == "second, which is not trained on, fell from 0.3000 to 0.2800 (`min_judge`)"
    assert decide(make_history([0.6, 0.7], seconds=[0.3, 0.29]), make_settings()).stop_reason is None


@pytest.mark.parametrize(
    ("rule", "history"),
    [
        ("patience", make_history([0.6, 0.5, 0.5, 0.5])),
        ("min_motion", make_history([0.6, 0.7], [1.0, 0.0])),
        ("min_judge", make_history([0.6, 0.7], seconds=[0.3, 0.0])),
    ],
)
def test_zero_switches_a_rule_off(rule: str, history: list[dict[str, Any]]) -> None:
    assert decide(history, make_settings()).stop_reason is not None
    decision = decide(history, make_settings(**{rule: 0}))
    assert decision.stop_reason is None
    assert decision.best_step == 9


@pytest.mark.parametrize(
    ("before", "now", "falls"),
    [
        ([0.2, 0.2, 0.2, 0.2], [0.19, 0.19, 0.19, 0.189], True),  # allowed: .01; lost: .01025
        ([0.2, 0.2, 0.2, 0.2], [0.19, 0.19, 0.19, 0.191], False),
        ([-0.2, -0.2], [-0.22, -0.22], True),  # a negative score that falls by more than .05 of its size
        ([-0.2, -0.2], [-0.205, -0.205], False),
        ([-0.2, -0.2], [-0.1, -0.1], False),  # rises
        ([0.1, -0.1, 0.1, -0.1], [0.0, 0.0, -0.2, 0.0], False),  # about zero: lost .05, by chance up to .186
        ([0.1, -0.1, 0.1, -0.1], [0.0, -0.2, 0.0, -0.2], True),  # about zero: every prompt lost .1
        ([0.3], [0.2], True),  # one prompt knows no chance
    ],
)
def test_a_fall_is_more_than_a_share_and_more_than_chance(before: list[float], now: list[float], falls: bool) -> None:
    assert falls_below(before, now, 0.95) is falls


def test_a_part_of_the_trained_sum_is_no_second_reward() -> None:
    assert untrained_rewards(("a=1,b=0.5", "b", "c", "a=1,c=1")) == ["c", "a=1,c=1"]
    assert untrained_rewards(("a",)) == []


def test_a_resumed_run_decides_as_an_uninterrupted_one() -> None:
    history = make_history([0.6, 0.7, 0.72, 0.71, 0.7, 0.69])
    decisions = [decide(history[:end], make_settings()) for end in range(1, 7)]
    assert [decision.best_step for decision in decisions] == [0, 9, 18, 18, 18, 18]
    assert [decision.stop_reason is None for decision in decisions] == [True] * 5 + [False]
