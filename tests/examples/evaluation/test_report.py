"""The arithmetic of the report and its table, by hand-made records."""

from __future__ import annotations

import numpy as np
import pytest

from examples.emoji_world.evaluation.records import ClipRecord
from examples.emoji_world.evaluation.report import (
    describe_split,
    diversity,
    gain_in_sd,
    mean_values,
    pool_values,
    prompt_values,
)
from examples.emoji_world.evaluation.table import print_report

AXES = np.eye(3)


def record(prompt, reward, axis=0, **others):
    others = {"subject_accuracy": 1.0, "motion": 1.0, "flicker": 1.0, **others}
    return ClipRecord(prompt, {"reward": reward, **others}, AXES[axis])


def test_seeds_of_a_prompt_are_one_observation():
    values = prompt_values([record("a", 1), record("b", 7, motion_accuracy=1.0), record("a", 2, 1), record("a", 6, 1)])
    assert values["reward"] == {"a": 3, "b": 7}
    assert values["motion_accuracy"] == {"b": 1}
    assert values["place_accuracy"] == {}
    assert values["diversity"] == {"a": pytest.approx(2 * 2**0.5 / 3)}
    means = mean_values(values)
    assert (means["reward"], means["place_accuracy"]) == (5, None)


def test_diversity_by_hand():
    rows = [np.array(row, float) for row in [(1, 0), (0, 1), (0, -1)]]
    assert diversity(rows) == pytest.approx((2 * 2**0.5 + 2) / 3)


def test_gain_in_standard_deviations_of_the_base():
    assert gain_in_sd({"a": 1, "b": 3}, {"b": 4, "a": 2}) == pytest.approx(1 / 2**0.5)
    assert gain_in_sd({"a": 1}, {"a": 2}) is None
    assert gain_in_sd({"a": 1, "b": 1}, {"a": 2, "b": 2}) is None


def hand_made_split(**rewards_of_runs):
    """Base rewards 1 to 4, ceilings 4 and 2 above; the second prompt has a motion, and only it."""

    def of(rewards, right=1.0):
        return [
            record(prompt, reward, **({"motion_accuracy": right} if prompt == "b" else {}))
            for prompt, reward in zip("abcd", rewards, strict=True)
        ]

    runs = {name: of(rewards) for name, rewards in rewards_of_runs.items()}
    return describe_split(of([5, 6, 7, 8]), of([3, 4, 5, 6]), of([1, 2, 3, 4], right=0.0), runs)


def test_a_split_by_hand():
    split = hand_made_split(mine=[2, 2, 5, 3])
    assert (split["num_prompts"], split["num_videos"]) == (4, 4)
    assert [split[name]["reward"] for name in ("clean", "round_trip", "base")] == [6.5, 4.5, 2.5]
    (run,) = split["runs"]
    reward = run["metrics"]["reward"]
    assert {*reward} == {"mean", "base", "difference", "ci_low", "ci_high", "n"}
    assert (reward["mean"], reward["base"], reward["difference"], reward["n"]) == (3, 2.5, 0.5, 4)
    assert (reward["ci_low"], reward["ci_high"]) == (None, None)  # too few prompts
    assert run["gap_to_clean_closed"]["share"] == 0.125
    assert run["gap_to_round_trip_closed"]["share"] == 0.25
    assert run["gap_to_round_trip_closed"]["ci_low"] < 0.25 < run["gap_to_round_trip_closed"]["ci_high"]
    assert run["gain_in_sd"] == pytest.approx(0.5 / np.std([1, 2, 3, 4], ddof=1))
    accuracy = run["metrics"]["motion_accuracy"]
    assert accuracy == {"mean": 1, "base": 0, "difference": 1, "ci_low": None, "ci_high": None, "n": 1}
    assert run["metrics"]["place_accuracy"] is None
    assert run["metrics"]["diversity"] is split["base"]["diversity"] is None
    assert "pooled" not in split


def test_several_runs_are_pooled_prompt_by_prompt():
    split = hand_made_split(x=[3, 2, 3, 4], y=[1, 2, 7, 8])
    assert [run["name"] for run in split["runs"]] == ["x", "y"]
    assert [run["metrics"]["reward"]["difference"] for run in split["runs"]] == [0.5, 2]
    as_one = hand_made_split(pooled=[2, 2, 5, 6])
    assert split["pooled"] == as_one["runs"][0]
    single = prompt_values([record("a", 1)])
    assert pool_values([single, single]) == single


def test_the_table_tells_changes_and_gaps(capsys):
    split = hand_made_split(mine=[2, 3, 4, 5], worse=[1, 1, 1, 1])
    print_report({"splits": {"heldout": split}})
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["heldout:", "4", "prompts,", "4", "videos"] in lines
    assert ["reward", "6.5000", "4.5000", "2.5000"] in lines
    assert ["reward", "2.5000", "3.5000", "1.0000", "4"] in lines
    assert "gap to clean renders closed: 25.0% (25.0% to 25.0%)".split() in lines
    assert "gain: +0.77 standard deviations of the base".split() in lines
    assert "heldout, pooled against the base".split() in lines
    assert not [line for line in lines if line[:1] == ["diversity"]]
