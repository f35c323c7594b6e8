from __future__ import annotations

import tomllib

import pytest

from ivideo.config.merge import merge_settings, read_toml, write_toml
from ivideo.config.presets import preset_for
from ivideo.config.settings import FinetuneSettings, GenerationSettings, Settings
from ivideo.errors import IvideoError, UsageError

DEFAULTS = {**preset_for("emoji-world"), "model": "emoji-world"}


def finetune_settings(file=None, **flags):
    return merge_settings(FinetuneSettings, DEFAULTS, file or {}, flags)


def test_flags_win_over_the_file_and_the_file_over_defaults():
    assert finetune_settings().max_steps == DEFAULTS["max_steps"]
    assert finetune_settings({"max_steps": 7}).max_steps == 7
    assert finetune_settings({"max_steps": 7}, max_steps=9).max_steps == 9
    assert finetune_settings({"max_steps": 7}, max_steps=None).max_steps == 7
    assert finetune_settings({"seed": 7}, seed=0).seed == 0


def test_defaults_of_other_commands_are_left_out_but_not_those_of_the_file():
    settings = merge_settings(Settings, DEFAULTS, {}, {})
    assert settings.reward == "emoji-preference"
    with pytest.raises(UsageError, match=r"^unknown setting 'max_steps'$"):
        merge_settings(Settings, DEFAULTS, {"max_steps": 3}, {})


@pytest.mark.parametrize("word", ["none", "None", "OFF"])
def test_none_switches_attenuation_off(word):
    assert finetune_settings().attenuation_rate == DEFAULTS["attenuation_rate"]
    assert finetune_settings(attenuation_rate=word).attenuation_rate is None
    assert finetune_settings({"attenuation_rate": word}).attenuation_rate is None
    assert finetune_settings({"attenuation_rate": word}, attenuation_rate="0.5").attenuation_rate == 0.5


@pytest.mark.parametrize(
    ("file", "flags", "message"),
    [
        ({"learning_rat": 1}, {}, "unknown setting 'learning_rat'"),
        ({"finetune": {"seed": 1}}, {}, "unknown setting 'finetune'"),
        ({}, {"max_steps": -3}, "`max_steps` -3: input should be greater than or equal to 1"),
        ({"max_steps": -3}, {}, "max_steps -3: input should be greater than or equal to 1"),
        ({}, {"strength": 0.0}, "`strength` 0.0: input should be greater than 0"),
        ({}, {"strength": 1.1}, "`strength` 1.1: input should be less than or equal to 1"),
        ({}, {"num_inference_steps": 0}, "`num_inference_steps` 0: input should be greater than or equal to 1"),
        ({}, {"attenuation_rate": "-1"}, "`attenuation_rate` '-1': input should be greater than or equal to 0"),
        ({}, {"seed": -1}, "`seed` -1: input should be greater than or equal to 0"),
        ({}, {"height": 60}, "`height` 60: input should be a multiple of 8"),
        (
            {},
            {"negative_prompt": "caf\udce9"},
            "`negative_prompt` 'caf\\udce9': no UTF-8 text: check the terminal's encoding",
        ),
        ({}, {"model": ""}, "`model` '': string should have at least 1 character"),
        ({"dtype": "int8"}, {}, "dtype 'int8': input should be 'auto', 'float32', 'bfloat16' or 'float16'"),
        ({"seed": 1.5}, {}, "seed 1.5: input should be a valid integer, got a number with a fractional part"),
        ({"learning_rate": float("inf")}, {}, "learning_rate inf: input should be a finite number"),
        ({"guidance_scale": float("nan")}, {}, "guidance_scale nan: input should be a finite number"),
        ({}, {"num_segments": 17}, "num_segments 17 is more than num_frames 16"),
        (
            {},
            {"strength": 0.1, "num_grad_steps": 3},
            "num_grad_steps 3 is more than the 1 steps that strength 0.1 of 8 runs",
        ),
        (
            {"start": "noise"},
            {"num_grad_steps": 9},
            "num_grad_steps 9 is more than the 8 steps that a chain from noise has",
        ),
        ({}, {"start": "clips"}, "`start` 'clips': input should be 'clip' or 'noise'"),
        ({"frame_draw": "last"}, {}, "frame_draw 'last': input should be 'random' or 'first'"),
        ({"a": 1, "b": 2}, {"seed": -1}, None),
    ],
)
def test_what_cannot_be_is_told_in_one_line(file, flags, message):
    with pytest.raises(UsageError) as caught:
        finetune_settings(file, **flags)
    parts = str(caught.value).split("; ")
    expected = (
        [message]
        if message
        else [
            "`seed` -1: input should be greater than or equal to 0",
            "unknown setting 'a'",
            "unknown setting 'b'",
        ]
    )
    assert sorted(parts) == expected


def test_a_missing_setting_is_named():
    with pytest.raises(UsageError) as caught:
        merge_settings(Settings, {}, {}, {"reward": "hpsv2"})
    assert str(caught.value) == "model is missing"


@pytest.mark.parametrize(("num_frames", "num_segments"), [(16, 8), (8, 8), (5, 5)])
def test_segments_that_nobody_asked_for_give_way_to_few_frames(num_frames, num_segments):
    defaults = {**preset_for("emoji-world"), "num_segments": 8, "model": "emoji-world"}
    assert merge_settings(FinetuneSettings, defaults, {}, {"num_frames": num_frames}).num_segments == num_segments
    assert merge_settings(FinetuneSettings, defaults, {"num_frames": num_frames}, {}).num_segments == num_segments


@pytest.mark.parametrize("asked", [({"num_segments": 8}, {}), ({}, {"num_segments": 8})])
def test_segments_that_somebody_asked_for_do_not(asked):
    defaults = {**preset_for("emoji-world"), "model": "emoji-world", "num_frames": 5}
    with pytest.raises(UsageError, match="num_segments 8 is more than num_frames 5"):
        merge_settings(FinetuneSettings, defaults, *asked)


def test_dashes_in_a_file_may_stand_for_underscores(tmp_path):
    (tmp_path / "own.toml").write_text('max-steps = 5\nnum_segments = 2\nattenuation-rate = "none"\n')
    settings = finetune_settings(read_toml(tmp_path / "own.toml"))
    assert (settings.max_steps, settings.num_segments, settings.attenuation_rate) == (5, 2, None)


@pytest.mark.parametrize(
    "content",
    [
        b"seed = ",
        b"seed 1",
        b"\xff\xfe",
        b"seed = 1\nseed = 2",
        b"a = " + b"[" * 9999,
        b"a." * 999 + b"a = 1",
        b"a = " + b"1" * 5000,
    ],
)
def test_a_file_that_is_no_toml(tmp_path, content):
    (tmp_path / "own.toml").write_bytes(content)
    with pytest.raises(IvideoError, match=r"own\.toml (cannot be read: |is no UTF-8 text)") as caught:
        read_toml(tmp_path / "own.toml")
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(IvideoError, match=r"own\.toml does not exist$"):
        read_toml(tmp_path / "own.toml")
    with pytest.raises(IvideoError, match=r"^cannot read .*: it is a folder, not a file$"):
        read_toml(tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"attenuation_rate": None, "height": None, "evaluate": False, "learning_rate": 1e-7, "seed": 2**63 - 1},
        {"negative_prompt": 'say "no" to C:\\new\ttab, [x] = {y} # z'},
        {"negative_prompt": "na\u00efve \u732b \U0001f408\u200d\u2b1b \x7f\x00\x1b\u2028\r\n"},
        {"model": "/home/some one/\U0001f408", "guidance_scale": 1e22, "fps": 7.96875},
    ],
)
@pytest.mark.parametrize("model", ["emoji-world", "modelscope"])
def test_what_is_written_is_what_is_read(tmp_path, model, changes):
    settings = FinetuneSettings(**{**preset_for(model), "model": model, **changes})
    (tmp_path / "config.toml").write_text(write_toml(settings), encoding="utf-8", newline="")
    assert merge_settings(FinetuneSettings, {}, read_toml(tmp_path / "config.toml"), {}) == settings


def test_written_settings_are_readable():
    settings = GenerationSettings(**{key: DEFAULTS[key] for key in GenerationSettings.model_fields if key in DEFAULTS})
    text = write_toml(settings)
    assert "num_inference_steps = 8\n" in text
    assert 'negative_prompt = ""\n' in text
    assert tomllib.loads(text)["attenuation_rate"] == DEFAULTS["attenuation_rate"]
