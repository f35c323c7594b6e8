"""Adapters that are broken, or that belong to another model."""

from __future__ import annotations

import json
import shutil

import pytest
from safetensors.torch import load_file, save_file

from ivideo.errors import IvideoError
from ivideo.models.lora import CONFIG_FILE, WEIGHTS_FILE, check_lora
from ivideo.models.lora_files import load_lora


def rewrite_config(**changes):
    def change(folder):
        config = json.loads((folder / CONFIG_FILE).read_text())
        (folder / CONFIG_FILE).write_text(json.dumps({**config, **changes}))

    return change


def write_config(content):
    return lambda folder: (folder / CONFIG_FILE).write_bytes(content)


def write_weights(content):
    return lambda folder: (folder / WEIGHTS_FILE).write_bytes(content)


def cut_weights(folder):
    (folder / WEIGHTS_FILE).write_bytes((folder / WEIGHTS_FILE).read_bytes()[:-100])


def drop_a_weight(folder):
    weights = load_file(folder / WEIGHTS_FILE)
    weights.pop(next(iter(weights)))
    save_file(weights, folder / WEIGHTS_FILE)


def rename_a_weight(folder):
    weights = load_file(folder / WEIGHTS_FILE)
    weights["base_model.model.elsewhere.lora_A.weight"] = weights.pop(next(iter(weights)))
    save_file(weights, folder / WEIGHTS_FILE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (shutil.rmtree, f"no adapter in .*: {CONFIG_FILE} is missing"),
        (lambda folder: (folder / WEIGHTS_FILE).unlink(), f"no adapter in .*: {WEIGHTS_FILE} is missing"),
        (write_config(b"{"), "is damaged: "),
        (write_config(b"\xff\xfe\x00"), "is damaged: "),
        (write_config(b"[]"), f"no LoRA adapter in .*: {CONFIG_FILE} does not describe one"),
        (rewrite_config(peft_type="LOHA"), f"no LoRA adapter in .*: {CONFIG_FILE} does not describe one"),
        (rewrite_config(peft_type="UNHEARD_OF"), f"no LoRA adapter in .*: {CONFIG_FILE} does not describe one"),
        (
            write_config(b'{"peft_type": "LORA"}'),
            "is damaged: adapter_config.json says the rank 8, but the weights have",
        ),
        (rewrite_config(r=8), "is damaged: adapter_config.json says the rank 8, but the weights have"),
        (rewrite_config(r="four"), "is damaged: adapter_config.json says what cannot be: r: "),
        (rewrite_config(r=0), "is damaged: adapter_config.json says what cannot be: r: "),
        (rewrite_config(r=10**9, rank_pattern={"to_q": 4}), "says what cannot be: r: "),
        (rewrite_config(lora_alpha=float("nan")), "says what cannot be: lora_alpha: Input should be a finite number"),
        (rewrite_config(alpha_pattern={"to_q": 10**400}), "says what cannot be: alpha_pattern.to_q: "),
        (rewrite_config(target_modules="((("), "was trained on another model"),
        (write_config(b'{"a":' * 9999), "is damaged: adapter_config.json is no JSON: recursion limit exceeded"),
        (rewrite_config(use_dora=True), "was trained on another model"),
        (rewrite_config(target_modules=["nowhere"]), "was trained on another model"),
        (write_weights(b""), "is damaged: "),
        (write_weights(b"no tensors here, just words"), "is damaged: "),
        (cut_weights, "is damaged: "),
        (drop_a_weight, "no part of a pair of matrices"),
        (rename_a_weight, "no part of a pair of matrices"),
    ],
)
def test_a_broken_adapter_is_told_in_one_line(adapter, make_unet, change, message):
    change(adapter)
    with pytest.raises(IvideoError, match=message) as caught:
        load_lora(make_unet(), adapter)
    assert str(adapter) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_adapter_that_makes_no_numbers_is_named(adapter, make_unet, value):
    unet = make_unet()
    load_lora(unet, adapter)
    check_lora(unet, adapter)
    weights = load_file(adapter / WEIGHTS_FILE)
    next(iter(weights.values()))[0, 0] = value
    save_file(weights, adapter / WEIGHTS_FILE)
    unet = make_unet()
    load_lora(unet, adapter)
    with pytest.raises(IvideoError, match=f"^adapter {adapter} is damaged: .* holds values that are no"):
        check_lora(unet, adapter)


@pytest.mark.parametrize(
    "sizes",
    [
        {"block_out_channels": (32, 64)},
        {"layers_per_block": 2},
        {"cross_attention_dim": 16},
        {
            "down_block_types": ("DownBlock3D", "CrossAttnDownBlock3D"),
            "up_block_types": ("CrossAttnUpBlock3D", "UpBlock3D"),
        },
    ],
)
def test_an_adapter_of_another_model_is_told_in_one_line(adapter, make_unet, sizes):
    with pytest.raises(IvideoError, match=r"was trained on another model: .*blocks\.") as caught:
        load_lora(make_unet(**sizes), adapter)
    assert "\n" not in str(caught.value)
