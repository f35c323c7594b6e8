"""The page that the results become."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from examples.study.plan import (
    ACTING,
    ACTING_TRAININGS,
    EVALUATIONS,
    RESPACED_BASE,
    SWEEPS,
    TRAINED,
    UNTRAINED,
    all_trainings,
)
from examples.study.render import HERE, describe_motion_kept, main, make_table, render
from examples.study.results import Results, read_results

ORIGIN = {"date": "2026-01-01", "machine": "a machine", "commit": "0123456789"}
PROMPTS = ["a cat", "a dog"]
METRICS = ("reward", "second_judge", "subject_accuracy", "motion_accuracy", "place_accuracy", "motion", "flicker")


def keep(mean: float) -> dict[str, Any]:
    values = {metric: {"prompts": PROMPTS, "values": [mean, mean + 0.1]} for metric in METRICS}
    return {**values, "diversity": {"prompts": [], "values": []}}


def finish(mean: float) -> dict[str, Any]:
    return {"heldout": keep(mean), "things": keep(mean)}


def make_result(name: str) -> dict[str, Any]:
    course = [
        {
            "step": step,
            "evaluations": 10 * step,
            "by_prompt": {metric: [0.6 + step / 100, 0.7 + step / 100] for metric in ("reward", "motion", "flicker")},
        }
        for step in (0, 8)
    ]
    cost = {
        "num_steps": 8,
        "evaluations_a_step": 48,
        "differentiated_a_step": 4,
        "evaluations_of_base_clips": 2000,
        "peak_memory": 2**31,
    }
    return {
        "origin": ORIGIN,
        "command": f"ivideo finetune {name}",
        "course": course,
        "cost": cost,
        "final": finish(0.7),
    }


@pytest.fixture
def complete(tmp_path: Path) -> Path:
    folder = tmp_path / "results"
    folder.mkdir()
    found: dict[str, Any] = {name: make_result(name) for name in all_trainings()}
    found["timings"] = {
        "origin": ORIGIN,
        "step_seconds": dict.fromkeys(all_trainings(), 2.0),
        "evaluation_seconds": 0.05,
    }
    found |= {base: {"origin": ORIGIN, "final": finish(0.6)} for base in ("base", RESPACED_BASE)}
    for one in EVALUATIONS:
        splits = {name: {"base": keep(0.6), "pooled": keep(0.75)} for name in ("heldout", "new_animals", "things")}
        found[one.name] = {"origin": ORIGIN, "num_inference_steps": 20, "num_seeds": 2, "splits": splits}
    parts = {TRAINED: keep(0.65), UNTRAINED: keep(0.5)}
    heldout = {training.name: parts for training in ACTING_TRAININGS.values()}
    found[ACTING] = {"origin": ORIGIN, "heldout": heldout}
    for name, result in found.items():
        (folder / f"{name}.json").write_text(json.dumps(result))
    return folder


def test_a_complete_study_has_every_part(complete: Path, tmp_path: Path) -> None:
    main(["--results", str(complete), "--output", str(tmp_path)])
    text = (tmp_path / "study.md").read_text()
    assert "not measured yet" not in text
    assert "missing:" not in text
    assert "Seconds were not" not in text
    assert "| held-out captions | base | 0.6500 ± 0.0707 |" in text
    assert "| +0.150 |" in text
    assert "| instructvideo_seed-0 | 2.0 | 16 | 384 | 32 | 2000 | 2.00 |" in text
    assert "Three seeds each, the preset with 8 segments against the preset with 4 segments. Reward: held-out" in text
    assert "It is not better beyond chance: the emoji world has the preset with 4 segments." in text
    assert "InstructVideo: 20 steps, 2 clips of every prompt, 3 training seeds pooled:" in text
    assert "InstructVideo: 20 steps, 2 clips of one prompt in 2, 3 training seeds pooled:" in text
    assert "| last step, t = 1 | all | +0.100 |" in text
    assert "|  | steps with gradient | +0.050 |" in text
    assert "|  | other steps | -0.100 |" in text
    pictures = {line.split("(")[1].rstrip(")") for line in text.splitlines() if line.startswith("![")}
    assert pictures == {f"figures/{name}.png" for name in ("cost", "strengths", *SWEEPS)}
    assert all((tmp_path / picture).is_file() for picture in pictures)


def test_a_sweep_of_one_training_is_not_shown_yet(tmp_path: Path) -> None:
    text = render(Results({"base": {"origin": ORIGIN, "final": finish(0.6)}, "default": make_result("x")}), tmp_path)
    assert "1 of " in text
    assert "Seconds were not measured" in text
    assert "## Attenuation rate" not in text


def test_motion_at_equal_reward_is_told_only_where_both_rose_on_the_same_frames() -> None:
    fallen = make_result("x")
    fallen["course"] = [{**fallen["course"][1], "step": 0}, {**fallen["course"][0], "step": 8}]
    found = {name: make_result(name) for name in ("default", "attenuation-rate-1.0", "num-segments-8")}
    results = Results({**found, "num-grad-steps-1": fallen})
    assert describe_motion_kept(results, "default", "attenuation-rate-1.0") == "+0.000"
    for other in ("default", "num-segments-8", "num-grad-steps-1"):
        assert describe_motion_kept(results, "default", other) == ""
    assert describe_motion_kept(results, "num-grad-steps-1", "default") == ""


def test_without_results_it_says_so(tmp_path: Path) -> None:
    text = render(Results({}), tmp_path)
    assert "0 of " in text
    assert "| **" not in text
    assert not (tmp_path / "figures").exists()


def test_bars_in_cells_do_not_break_a_table() -> None:
    assert make_table(("a",), [("x | y",)]) == "| a |\n| --- |\n| x \\| y |"


def test_the_committed_page_is_that_of_the_committed_results(tmp_path: Path) -> None:
    assert (HERE / "study.md").read_text(encoding="utf-8") == render(read_results(HERE / "results"), tmp_path)
