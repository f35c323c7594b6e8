from __future__ import annotations

from typing import get_args

import pytest
from pydantic import ValidationError

from ivideo.config.presets import preset_for
from ivideo.config.settings import FinetuneSettings, GradientName, StartName
from ivideo.core.gradients import Gradient, Start
from ivideo.core.sampler import num_steps_to_run


def finetune_settings(**changes):
    return FinetuneSettings(**{**preset_for("emoji-world"), "model": "emoji-world", **changes})


def test_settings_do_not_change():
    with pytest.raises(ValidationError, match="frozen"):
        finetune_settings().seed = 3


@pytest.mark.parametrize("strength", [0.01, 0.025, 0.1, 0.3, 0.58, 0.6, 0.625, 1.0])
@pytest.mark.parametrize("num_inference_steps", [1, 4, 20, 50])
def test_gradient_steps_may_be_as_many_as_the_core_runs(strength, num_inference_steps):
    most = num_steps_to_run(strength, num_inference_steps)
    chain = {"strength": strength, "num_inference_steps": num_inference_steps}
    assert finetune_settings(**chain, num_grad_steps=most).num_grad_steps == most
    with pytest.raises(ValidationError, match=f"more than the {most} steps"):
        finetune_settings(**chain, num_grad_steps=most + 1)


@pytest.mark.parametrize("gradient", ["last", "random", "drtune"])
def test_from_noise_gradient_steps_may_be_as_many_as_the_whole_chain_has(gradient):
    chain = {"start": "noise", "strength": 0.1, "num_inference_steps": 20, "gradient": gradient}
    settings = finetune_settings(**chain, num_grad_steps=20)
    assert settings.num_chain_steps == 20
    with pytest.raises(
        ValidationError, match="num_grad_steps 21 is more than the 20 steps that a chain from noise has"
    ):
        finetune_settings(**chain, num_grad_steps=21)


def test_clips_may_be_noised_anew_more_often_than_the_chain_has_steps():
    settings = finetune_settings(gradient="draft-lv", num_inference_steps=4, num_grad_steps=9)
    assert (settings.num_chain_steps, settings.num_grad_steps) == (2, 9)


def test_settings_and_core_have_the_same_words():
    assert get_args(StartName) == get_args(Start)
    assert get_args(GradientName) == get_args(Gradient)


def test_a_segment_has_at_least_one_frame():
    assert finetune_settings(num_segments=16).num_segments == 16
    with pytest.raises(ValidationError, match="num_segments 5 is more than num_frames 4"):
        finetune_settings(num_segments=5, num_frames=4)
