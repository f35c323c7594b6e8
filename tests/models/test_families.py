"""A family is a module and a row: one that is added at run time generates, trains, resumes and is compared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from ivideo.errors import IvideoError
from ivideo.models.families import FAMILIES, load_model
from tests.models import toy_family

CPU = torch.device("cpu")
SIZE = ("--num-frames", "4", "--num-inference-steps", "2", "--reward", "emoji-preference", "--quiet")
TRAINING = ("--generation-num-inference-steps", "2", "--batch-size", "2", "--save-every", "1", "--learning-rate", ".01")


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder of a family that the house learned of just now."""
    monkeypatch.setitem(FAMILIES, "ToyPipeline", toy_family)
    return toy_family.write_toy(tmp_path / "toy")


def read_weights(run: Path) -> bytes:
    return (run / "adapter" / "adapter_model.safetensors").read_bytes()


def test_a_new_family_works_by_every_command(ivideo: Any, toy: Path, tmp_path: Path) -> None:
    prompts, held_out = tmp_path / "prompts.txt", tmp_path / "heldout.txt"
    prompts.write_text("a cat\na dog\n")
    held_out.write_text("an owl\na pig\n")
    train = ("finetune", prompts, "--model", toy, *SIZE, *TRAINING, "--eval-prompts", held_out)
    done = ivideo(*train, "--max-steps", "2", "-o", tmp_path / "whole")
    assert done.exit_code == 0, done.stderr
    summary = json.loads((tmp_path / "whole" / "summary.json").read_text())
    assert (summary["num_steps"], summary["heldout"]["reward"]["n"]) == (2, 2)

    ivideo(*train, "--max-steps", "1", "-o", tmp_path / "cut")
    resumed = ivideo("finetune", "--resume", tmp_path / "cut", "--max-steps", "2", "--quiet")
    assert resumed.exit_code == 0, resumed.stderr
    assert read_weights(tmp_path / "cut") == read_weights(tmp_path / "whole")

    compared = ivideo("compare", "base", tmp_path / "whole", "--num-frames", "4", "--format", "json", "--quiet")
    assert compared.exit_code == 0, compared.stderr
    assert {row["prompt"] for row in json.loads(compared.stdout)["rows"]} == {"an owl", "a pig"}

    odd = ivideo("generate", "a cat", "--model", toy, "--num-frames", "5", "--num-inference-steps", "2")
    assert (odd.exit_code, odd.stderr.splitlines()[-1]) == (2, f"error: --num-frames 5: {toy} makes an even number")


def test_an_unknown_class_is_told_with_those_that_are_known(tmp_path: Path) -> None:
    toy_family.write_toy(tmp_path / "toy")
    with pytest.raises(IvideoError, match=r"is a ToyPipeline, which is not supported; known are TextToVideoSDPipeline"):
        load_model(str(tmp_path / "toy"), CPU, torch.float32)
