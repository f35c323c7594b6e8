"""What a sample draws depends on the sample, and which steps get the gradient on the optimiser step."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from ivideo.config.presets import PRESETS
from ivideo.config.settings import FinetuneSettings
from ivideo.core.gradients import run_detached, run_renoised, run_to_guess
from ivideo.core.sampler import run_chain
from ivideo.training.draws import Sample, choose_run, draw_caption, draw_frames, draw_noise, samples_of_step

SHAPE = (4, 4, 8, 8)
CPU = torch.device("cpu")
FIRST = [Sample(item=0, epoch=0, position=0)]


def make_settings(**values: Any) -> FinetuneSettings:
    small = {"model": "emoji-world", "num_frames": 4, "num_segments": 4, "batch_size": 2, "num_grad_steps": 3}
    return FinetuneSettings(**{**PRESETS["emoji-world"]["default"], **small, **values})


def choose(samples: list[Sample], **values: Any) -> Any:
    """The function that runs the samples' chains, as a `partial`."""
    return choose_run(samples, SHAPE, make_settings(**values), CPU)


def test_draws_do_not_depend_on_the_batch_size() -> None:
    settings = make_settings()
    drawn = {}
    for size in (1, 2, 6):
        batches = [samples_of_step(step, size, 3, seed=0) for step in range(6 // size)]
        noise = torch.cat([draw_noise(batch, SHAPE, settings) for batch in batches])
        frames = torch.cat([draw_frames(batch, settings) for batch in batches])
        anew = torch.cat([choose(batch, gradient="draft-lv").keywords["noise"] for batch in batches], dim=1)
        drawn[size] = noise, frames, anew
    for several in drawn.values():
        assert all(torch.equal(found, alone) for found, alone in zip(several, drawn[1], strict=True))
    noise, _, anew = drawn[1]
    assert anew.shape == (3, 6, *SHAPE)
    assert len({row.sum().item() for row in (*noise, *anew.flatten(0, 1))}) == 24


def test_each_sample_draws_one_of_its_captions() -> None:
    samples = [sample for step in range(40) for sample in samples_of_step(step, 2, 1, seed=0)]
    drawn = [draw_caption(sample, (4, 5, 6), seed=0) for sample in samples]
    assert {*drawn} == {4, 5, 6}
    assert drawn[7:] == [draw_caption(sample, (4, 5, 6), seed=0) for sample in samples[7:]]
    assert drawn != [draw_caption(sample, (4, 5, 6), seed=1) for sample in samples]
    assert draw_caption(samples[0], (4,), seed=0) == 4


def test_noise_has_temporal_offset_noise() -> None:
    plain = draw_noise(FIRST, SHAPE, make_settings(offset_noise=0.0))
    offset = draw_noise(FIRST, SHAPE, make_settings(offset_noise=0.5)) - plain
    assert torch.allclose(offset, offset[..., :1, :1].expand_as(offset), atol=1e-6)  # one value a frame and channel
    assert offset[..., 0, 0].std() > 0.2


def test_pure_noise_has_no_offset() -> None:
    noise = draw_noise(FIRST, SHAPE, make_settings(start="noise", offset_noise=0.5))
    assert torch.equal(noise, draw_noise(FIRST, SHAPE, make_settings(offset_noise=0.0)))


def test_the_first_frame_of_each_segment() -> None:
    settings = make_settings(num_frames=16, frame_draw="first")
    batch = samples_of_step(0, 3, 3, seed=0)
    assert draw_frames(batch, settings).tolist() == [[0, 4, 8, 12]] * 3
    assert draw_frames(batch, make_settings(num_frames=16)).tolist() != [[0, 4, 8, 12]] * 3


@pytest.mark.parametrize(("gradient", "drawn"), [("random", "grad_step"), ("drtune", "grad_steps")])
def test_steps_are_drawn_once_an_optimiser_step_for_every_part(gradient: str, drawn: str) -> None:
    chosen = []
    for step in range(40):
        first, second = (
            choose([sample], gradient=gradient, start="noise") for sample in samples_of_step(step, 2, 3, seed=0)
        )
        assert first.keywords[drawn] == second.keywords[drawn]
        chosen.append(first.keywords[drawn])
    assert chosen == [
        choose([Sample(0, 0, 2 * k)], gradient=gradient, start="noise").keywords[drawn] for k in range(40)
    ]
    steps = {*chosen} if gradient == "random" else {step for some in chosen for step in some}
    assert steps == ({5, 6, 7} if gradient == "random" else {*range(8)})  # of the 8 of the whole chain
    seeds = [choose(FIRST, gradient=gradient, start="noise", seed=seed).keywords[drawn] for seed in range(20)]
    assert any(found != seeds[0] for found in seeds)


@pytest.mark.parametrize(
    ("gradient", "function", "is_checkpointed"),
    [("last", run_chain, True), ("random", run_to_guess, False), ("drtune", run_detached, True)],
)
def test_several_calls_are_checkpointed_whole_and_one_is_not(
    gradient: str, function: object, is_checkpointed: bool
) -> None:
    run = choose(FIRST, gradient=gradient, gradient_checkpointing=True)
    assert (run.func, run.keywords["checkpoint"]) == (function, is_checkpointed)
    assert not choose(FIRST, gradient=gradient, gradient_checkpointing=False).keywords["checkpoint"]
    assert not choose(FIRST, gradient=gradient, gradient_checkpointing=True, num_grad_steps=1).keywords["checkpoint"]


def test_clips_noised_anew_are_checkpointed_one_by_one() -> None:
    run = choose(FIRST, gradient="draft-lv", gradient_checkpointing=True)
    assert (run.func, run.keywords["checkpoint"]) == (run_renoised, True)
