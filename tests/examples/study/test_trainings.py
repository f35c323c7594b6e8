"""A training of the study from its command to its result."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
import torch

from examples.emoji_world.evaluate import open_classifier
from examples.study import trainings
from examples.study.launches import add_up, launch
from examples.study.plan import Training
from examples.study.provenance import describe_origin
from examples.study.rendered_clips import render_clips
from examples.study.trainings import Workspace, spell_command, train_and_describe
from ivideo.errors import IvideoError
from ivideo.files.records import read_json_lines
from ivideo.inputs.clip_lists import read_source
from ivideo.progress import Silence
from ivideo.rewards.registry import load_rewards

SMALL = {
    "num_inference_steps": 2,
    "generation_num_inference_steps": 2,
    "num_grad_steps": 1,
    "batch_size": 1,
    "gradient_accumulation": 1,
    "max_steps": 2,
    "eval_every": 1,
    "num_eval_prompts": 2,
    "num_watched_prompts": 2,
    "num_warmup_steps": 0,
    "patience": 0,
    "min_motion": 0,
}


def test_a_command_can_be_typed() -> None:
    words = spell_command(Training("x", {"attenuation_rate": "none", "max_steps": 4}, seed=3))
    command = "ivideo finetune examples/prompts.txt --model emoji-world --seed 3 --attenuation-rate none --max-steps 4"
    assert " ".join(words) == command


def test_a_command_names_what_was_made_for_it() -> None:
    assert spell_command(Training("x", {}, real_clips=True))[2] == "build/study/rendered/clips.csv"
    command = " ".join(spell_command(Training("x", {}, spacing="leading")))
    model = "--model build/study/models/leading --config build/study/models/leading/preset.toml"
    assert f" {model} --eval-prompts ivideo/models/emoji_world/prompts/heldout.txt " in command


def test_a_launch_writes_down_its_cost_also_where_it_fails(tmp_path: Path) -> None:
    costs = tmp_path / "costs" / "one.jsonl"
    launch(["this"], costs)
    with pytest.raises(IvideoError, match="`no_module_of_that_name` failed with exit code 1"):
        launch(["no_module_of_that_name"], costs)
    assert [line["exit_code"] for line in read_json_lines(costs)] == [0, 1]
    cost = add_up(costs)
    assert min(cost.wall_seconds, cost.processor_seconds) > 0
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    assert 0 < cost.peak_memory < min(own, 1e8)
    launch(["timeit", "-n", "1", "-r", "1", "b'x' * 300_000_000; __import__('time').sleep(0.5)"], costs)
    assert 3e8 < add_up(costs).peak_memory < 4e8
    with pytest.raises(IvideoError, match="missing"):
        add_up(tmp_path / "none.jsonl")


def test_a_result_says_where_it_comes_from() -> None:
    origin = describe_origin()
    assert origin.keys() == {"date", "machine", "commit"}
    assert torch.__version__.split("+")[0] in origin["machine"]


@pytest.mark.needs_font
def test_rendered_clips_are_a_list_that_finetune_reads(tmp_path: Path) -> None:
    clips = read_source(render_clips(["a cat surfing", "a dog"], tmp_path / "clips"))
    assert [(Path(clip.video).name, clip.prompt) for clip in clips] == [
        ("000.mp4", "a cat surfing"),
        ("001.mp4", "a dog"),
    ]


@pytest.mark.slow
def test_a_training_in_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a cat surfing\na dog running\n")
    monkeypatch.setattr(trainings, "PROMPTS", prompts)
    monkeypatch.setattr(trainings, "ROOT", tmp_path)
    monkeypatch.setattr(trainings, "path_of", lambda split: prompts)
    rewards = load_rewards(("emoji-preference",), torch.device("cpu"))
    workspace = Workspace(tmp_path / "build", rewards, open_classifier(), Silence())
    result = train_and_describe(Training("small", SMALL), workspace)
    assert result["command"].startswith("ivideo finetune prompts.txt --model emoji-world --seed 0 ")
    assert [record["step"] for record in result["course"]] == [0, 1, 2]
    assert [record["evaluations"] for record in result["course"]] == [0, 1, 2]
    assert result["final"]["heldout"]["reward"]["prompts"] == ["a cat surfing", "a dog running"]
    assert len(result["final"]["things"]["diversity"]["values"]) == 2
    assert result["cost"]["num_steps"] == 2
    assert result["cost"]["evaluations_of_base_clips"] == 4
    again = train_and_describe(Training("small", SMALL), workspace)
    assert {**again, "cost": None} == {**result, "cost": None}  # nothing was trained again
    assert len(read_json_lines(workspace.costs_of("small"))) == 1
    for keeps_best, folder in {True: "best", False: "adapter"}.items():
        assert workspace.adapter_of(Training("small", SMALL, keeps_best=keeps_best)).path.name == folder
    assert trainings.time_steps(Training("small", SMALL), workspace) > 0
    monkeypatch.setattr(trainings, "NUM_TIMED_STEPS", 2)
    assert trainings.time_evaluations(workspace) > 0
