from __future__ import annotations

import pytest

from ivideo.config.presets import PRESETS, preset_for
from ivideo.config.settings import FinetuneSettings
from ivideo.errors import UsageError


@pytest.mark.parametrize(("model", "preset"), [(model, name) for model, named in PRESETS.items() for name in named])
def test_presets_are_valid_and_their_parts_fill_a_batch(model, preset):
    settings = FinetuneSettings(**preset_for(model, preset), model=model)
    assert settings.batch_size % settings.gradient_accumulation == 0
    assert settings.num_warmup_steps < settings.max_steps


def test_modelscope_gets_the_papers_numbers():
    settings = FinetuneSettings(**preset_for("modelscope"), model="modelscope")
    expected = {
        "reward": "hpsv2",
        "num_frames": 16,
        "height": 256,
        "width": 256,
        "fps": 8.0,
        "num_inference_steps": 20,
        "guidance_scale": 3.0,
        "generation_num_inference_steps": 20,
        "generation_guidance_scale": 9.0,
        "strength": 0.6,
        "num_segments": 4,
        "attenuation_rate": 1.0,
        "num_grad_steps": 1,
        "offset_noise": 0.1,
        "lora_rank": 4,
        "learning_rate": 1e-5,
        "num_warmup_steps": 10,
        "lr_schedule": "constant",
        "batch_size": 8,
        "max_steps": 20_000,
    }
    assert settings.model_dump(include={*expected}) == expected
    assert settings.lora_alpha / settings.lora_rank == 1


def test_zeroscope_generates_as_its_card_says_and_trains_as_the_paper():
    settings = FinetuneSettings(**preset_for("zeroscope"), model="zeroscope")
    own = {
        "num_frames": 24,
        "height": 320,
        "width": 576,
        "fps": 8.0,
        "generation_num_inference_steps": 40,
        "generation_guidance_scale": 9.0,
        "guidance_batching": False,
    }
    assert settings.model_dump(include={*own}) == own
    paper = FinetuneSettings(**preset_for("modelscope"), model="modelscope")
    assert settings.model_dump(exclude={*own, "model"}) == paper.model_dump(exclude={*own, "model"})


def test_quick_changes_the_length_and_not_the_method():
    for model, named in PRESETS.items():
        assert named["quick"]["max_steps"] < named["default"]["max_steps"]
        changed = {key for key in named["quick"] if named["quick"][key] != named["default"].get(key)}
        length = {"max_steps", "num_eval_prompts", "eval_every", "num_watched_prompts", "patience"}
        allowed = {*length, "learning_rate", "batch_size", "gradient_accumulation"}
        assert changed <= allowed, model


def test_the_emoji_world_is_scored_by_its_own_reward_model_at_its_own_size():
    preset = preset_for("emoji-world")
    assert (preset["reward"], preset["height"], preset["width"]) == ("emoji-preference", 64, 64)


@pytest.mark.parametrize("preset", ["default", "quick"])
def test_other_models_get_modelscopes_at_their_own_size(preset):
    assert preset_for("someone/model", preset) == {**PRESETS["modelscope"][preset], "height": None, "width": None}


def test_an_unknown_preset():
    with pytest.raises(UsageError, match=r"^unknown preset 'slow': one of default, quick$"):
        preset_for("emoji-world", "slow")
