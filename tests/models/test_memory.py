"""Memory that runs out becomes advice."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from ivideo.config.presets import PRESETS
from ivideo.config.settings import FinetuneSettings
from ivideo.errors import IvideoError
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


def test_fewer_steps_are_no_advice_where_one_of_them_is_drawn() -> None:
    assert "`num_grad_steps` below 4" in advise(make_settings(num_grad_steps=4, gradient="drtune"))
    assert "`num_grad_steps`" not in advise(make_settings(num_grad_steps=4, gradient="random"))
