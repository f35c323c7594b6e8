"""The table of a run that goes too far."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples.past_the_best import average, describe, main


def test_each_step_says_what_the_guard_made_of_it() -> None:
    stopped = {"chosen_step": 9, "num_steps": 36, "stop_reason": "motion fell"}
    assert [describe(step, stopped) for step in (0, 9, 36, 45)] == ["", "chosen", "stops here", "not reached"]
    ended = {"chosen_step": 36, "num_steps": 36, "stop_reason": None}
    assert [describe(step, ended) for step in (27, 36)] == ["", "chosen"]


def test_captions_that_do_not_name_a_motion_do_not_count_for_it() -> None:
    clips = [
        {
            "reward": 0.5,
            "second_judge": 0.2,
            "motion": 1.0,
            "subject_accuracy": 1.0,
            "motion_accuracy": 1.0,
            "place_accuracy": 0.0,
        },
        {"reward": 0.7, "second_judge": 0.4, "motion": 2.0, "subject_accuracy": 0.0},
    ]
    assert average(clips) == {
        "reward": pytest.approx(0.6),
        "second": pytest.approx(0.3),
        "motion": 1.5,
        "subject": 0.5,
        "motion_seen": 1.0,
        "place": 0.0,
    }


@pytest.mark.slow
def test_both_runs_and_the_classifier_in_small(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "prompts.txt").write_text("a cat surfing\na dog running\n")
    (tmp_path / "small.toml").write_text(
        "num_inference_steps = 2\ngeneration_num_inference_steps = 2\nnum_grad_steps = 1\n"
        "num_watched_prompts = 2\nnum_warmup_steps = 0\n"
    )
    files = ("--prompts", tmp_path / "prompts.txt", "--config", tmp_path / "small.toml")
    steps = ("--max-steps", 2, "--eval-every", 1, "--num-eval-prompts", 2, "--learning-rate", 0.3)
    main([str(word) for word in (tmp_path / "out", *files, *steps)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["step", "reward", "second", "motion", "subject", "motion_seen", "place", "guard"]
    assert [line.split()[0] for line in lines[2:5]] == ["0", "1", "2"]
    assert lines[-1].startswith("guard: ")
