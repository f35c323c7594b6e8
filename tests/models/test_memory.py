"""Memory that runs out becomes advice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import ivideo
from ivideo.config.presets import PRESETS
from ivideo.config.settings import FinetuneSettings, GenerationSettings, ScoreSettings, generation_defaults
from ivideo.errors import IvideoError
from ivideo.models.loading import explain_damage
from ivideo.models.memory import advise, explain_out_of_memory


def make_settings(**values: Any) -> FinetuneSettings:
    return FinetuneSettings(model="modelscope", **{**PRESETS["modelscope"]["default"], **values})


def allocate_too_much() -> torch.Tensor:
    return torch.empty(2**60, dtype=torch.uint8)


def raise_inside(error: Exception) -> None:
    with explain_out_of_memory(make_settings()):
        raise error


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError()])
def test_an_allocators_error_is_one_line(error: Exception) -> None:
    with pytest.raises(IvideoError) as caught:
        raise_inside(error)
    assert str(caught.value).startswith("out of memory: go on with `guidance_batching` False; or start anew with ")
    assert caught.value.__cause__ is error


def test_the_cpu_allocators_own_error_is_known() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    with pytest.raises(IvideoError, match=r"^out of memory \(\d+ bytes were wanted\): go on with "):
        raise_inside(caught.value)


def test_other_errors_stay_as_they_are() -> None:
    with pytest.raises(RuntimeError, match="shapes differ"):
        raise_inside(RuntimeError("shapes differ"))


def test_the_advice_starts_from_what_is_set() -> None:
    thrifty = make_settings(guidance_batching=False, num_frames=4, height=64, width=64)
    assert advise(thrifty) == "start anew with a smaller `height` and `width`"
    wasteful = make_settings(
        gradient_checkpointing=False, gradient_accumulation=2, dtype="float32", num_grad_steps=2, batch_size=8
    )
    assert advise(wasteful, num_processes=2) == (
        "go on with `gradient_checkpointing` True, `gradient_accumulation` 4 (now 2), `guidance_batching` False; or "
        "start anew with `batch_size` below 8, `dtype` bfloat16 (now float32), `num_grad_steps` below 2, "
        "`num_frames` below 16, a smaller `height` and `width`"
    )


def test_every_command_has_advice_of_its_own() -> None:
    values = {**PRESETS["modelscope"]["default"], "model": "modelscope"}
    generation = GenerationSettings(**generation_defaults(values))
    assert advise(generation) == "try `guidance_batching` False, `num_frames` below 16, a smaller `height` and `width`"
    assert advise(generation.model_copy(update={"guidance_scale": 1.0, "dtype": "float32", "num_frames": 4})) == (
        "try `dtype` bfloat16 (now float32), a smaller `height` and `width`"
    )
    score = ScoreSettings(model="modelscope", reward=("clip", "hpsv2"))
    assert advise(score) == "try `batch_size` below 16, one `reward` at a time, smaller videos"
    assert advise(score.model_copy(update={"batch_size": 1, "reward": "clip"})) == "try smaller videos"


@pytest.mark.parametrize(
    ("module", "call"),
    [
        ("ivideo.generating.generate", lambda: ivideo.generate("a cat", model="emoji-world")),
        ("ivideo.scoring.videos.score", lambda: ivideo.score("a.mp4", model="emoji-world")),
        ("ivideo.comparing.compare.compare", lambda: ivideo.compare("base", "emoji-world")),
        ("ivideo.training.run.finetune", lambda: ivideo.finetune(["a cat"], model="emoji-world")),
    ],
)
def test_every_command_explains_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, module: str, call: Callable[[], object]
) -> None:
    def run_out(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has ...")

    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.mp4").touch()
    monkeypatch.setattr(module, run_out)
    with pytest.raises(IvideoError, match=r"^out of memory \(20\.00 MiB were wanted\): "):
        call()


def test_damage_is_not_what_a_lack_of_memory_is() -> None:
    with pytest.raises(RuntimeError, match="allocate memory"), explain_damage("it is damaged"):
        allocate_too_much()


def test_fewer_steps_are_no_advice_where_one_of_them_is_drawn() -> None:
    assert "`num_grad_steps` below 4" in advise(make_settings(num_grad_steps=4, gradient="drtune"))
    assert "`num_grad_steps`" not in advise(make_settings(num_grad_steps=4, gradient="random"))
