"""Adapters in the names of every program act as they do in PEFT; what does not fit is told in one line."""

from __future__ import annotations

import functools
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.lora import LoraLayer
from safetensors.torch import load_file, save_file
from torch import Tensor

from ivideo.errors import IvideoError
from ivideo.models.lora import PEFT_PREFIX, WEIGHTS_FILE, adapter_merged, adapter_off, merge_lora
from ivideo.models.lora_files import DIFFUSERS_CONFIG, DIFFUSERS_FILE, find_lora, load_lora
from ivideo.models.unet3d.authors_weights import load_adapter, name_weights
from tests.models.test_lora import predict

Weights = dict[str, Tensor]
RANK, ALPHA = 4, 2.0  # their ratio is no 1, so that a lost alpha shows
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "rsLoRA": {"use_rslora": True},
    "DoRA": {"use_dora": True},
    "ranks": {"rank_pattern": {"attn1.to_q": 8}, "alpha_pattern": {"attn2.to_q": 5}},
    "convolutions": {"use_dora": True, "target_modules": r".*resnets\.\d+\.conv1|.*proj_in|conv_in"},
    "biases": {"lora_bias": True, "target_modules": ["to_out.0"]},
}


@pytest.fixture(scope="module")
def make_adapter(
    make_unet: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., tuple[Path, Tensor]]:
    """`make_adapter(**options)`: the folder of an adapter that PEFT made, and what the U-Net predicts with it."""

    @functools.cache
    def make_kind(kind: str) -> tuple[Path, Tensor]:
        config = {"r": RANK, "lora_alpha": ALPHA, "target_modules": ["to_q", "to_out.0"], **KINDS[kind]}
        model = get_peft_model(make_unet(), LoraConfig(**config)).eval()
        generator = torch.Generator().manual_seed(1)
        for name, weight in model.named_parameters():
            if ".lora_A." in name or ".lora_B." in name:
                weight.data = 0.2 * torch.randn(weight.shape, generator=generator)
            elif ".lora_magnitude" in name:
                weight.data *= 1 + 0.3 * torch.rand(weight.shape, generator=generator)
        folder = tmp_path_factory.mktemp("peft")
        model.save_pretrained(str(folder), save_embedding_layers=False)
        return folder, predict(model)

    return make_kind


def read(folder: Path) -> Weights:
    return {name.removeprefix(PEFT_PREFIX): one for name, one in load_file(folder / WEIGHTS_FILE).items()}


def write(path: Path, weights: Weights, **metadata: str) -> Path:
    save_file({name: one.contiguous() for name, one in weights.items()}, path, metadata=metadata)
    return path


def scaled(weights: Weights, factor: float = ALPHA / RANK) -> Weights:
    """Pairs for a format that has no alpha."""
    return {name: factor * one if ".lora_B." in name else one for name, one in weights.items()}


def in_kohyas_names(weights: Weights, rename: Callable[[str], str] = str) -> Weights:
    made = {}
    for name, one in weights.items():
        layer, part = name.split(".lora_")
        start = "lora_unet_" + rename(layer).replace(".", "_")
        if part.startswith("magnitude"):
            made[f"{start}.dora_scale"] = one.reshape(-1, 1)
        else:
            made[f"{start}.lora_{'down' if part[0] == 'A' else 'up'}.weight"] = one
            made[f"{start}.alpha"] = torch.tensor(ALPHA)
    return made


def in_old_names(weights: Weights) -> Weights:
    names = ((".to_out.0.", ".to_out."), (r"\.(to_\w+)\.lora_A\.", r".processor.\1_lora.down."))
    made = {}
    for name, one in scaled(weights).items():
        for pattern, text in (*names, (r"\.(to_\w+)\.lora_B\.", r".processor.\1_lora.up.")):
            name = re.sub(pattern, text, name)
        made[f"unet.{name}"] = one
    return made


FORMATS: dict[str, Callable[[Weights], Weights]] = {
    "diffusers": lambda weights: {f"unet.{name}": one for name, one in scaled(weights).items()},
    "diffusers of 2023": in_old_names,
    "bare": scaled,
    "PEFT without its configuration": lambda weights: {
        PEFT_PREFIX + name: one for name, one in scaled(weights).items()
    },
    "ComfyUI": lambda weights: {f"diffusion_model.{name}": one for name, one in scaled(weights).items()},
    "kohya": in_kohyas_names,
    "kohya at the root": lambda weights: {
        name.replace("unet_", "unet__"): one for name, one in in_kohyas_names(weights).items()
    },
}


@pytest.mark.parametrize("rename", FORMATS.values(), ids=FORMATS)
def test_every_naming_acts_as_in_peft(make_adapter: Any, make_unet: Any, tmp_path: Path, rename: Any) -> None:
    folder, wanted = make_adapter("plain")
    unet = make_unet()
    assert load_lora(unet, write(tmp_path / "lora.safetensors", rename(read(folder)))) == []
    torch.testing.assert_close(predict(unet), wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "plain"])
def test_every_kind_acts_as_in_peft(make_adapter: Any, make_unet: Any, kind: str) -> None:
    folder, wanted = make_adapter(kind)
    unet, base = make_unet(), predict(make_unet())
    load_lora(unet, folder)
    assert torch.equal(predict(unet), wanted)
    with adapter_merged(unet):
        torch.testing.assert_close(predict(unet), wanted, rtol=0, atol=2e-6)
    assert torch.equal(predict(unet), wanted)
    with adapter_off(unet):
        assert torch.equal(predict(unet), base)
    assert not torch.allclose(base, wanted, atol=0.01)
    merge_lora(unet)
    torch.testing.assert_close(predict(unet), wanted, rtol=0, atol=2e-6)


def test_the_scale_multiplies_the_effect_of_a_dora(make_adapter: Any, make_unet: Any) -> None:
    folder, _ = make_adapter("DoRA")
    whole, half, off = (make_unet() for _ in range(3))
    for unet, scale in ((whole, 1.0), (half, 0.5), (off, 0.0)):
        load_lora(unet, folder, scale)
    assert torch.equal(predict(off), predict(make_unet()))
    for name, layer in whole.named_modules():
        if isinstance(layer, LoraLayer):
            inputs = torch.linspace(-1, 1, layer.in_features)[None]
            base = layer.get_base_layer()(inputs)
            torch.testing.assert_close(half.get_submodule(name)(inputs), (base + layer(inputs)) / 2)


def test_the_authors_names_and_a_dora_of_lycoris(make_adapter: Any, make_unet: Any, tmp_path: Path) -> None:
    folder, wanted = make_adapter("DoRA")
    unet = make_unet()
    theirs = {ours.removesuffix(".weight"): name.removesuffix(".weight") for ours, name in name_weights(unet).items()}
    load_adapter(unet, write(tmp_path / "lora.safetensors", in_kohyas_names(read(folder), theirs.__getitem__)))
    torch.testing.assert_close(predict(unet), wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", ["rsLoRA", "ranks"])
def test_diffusers_own_file_says_its_scale(make_adapter: Any, make_unet: Any, tmp_path: Path, kind: str) -> None:
    folder, wanted = make_adapter(kind)
    config = {f"unet.{name}": value for name, value in json.loads((folder / "adapter_config.json").read_text()).items()}
    weights = {f"unet.{name}": one for name, one in read(folder).items()}
    (tmp_path / "mine").mkdir()
    path = write(tmp_path / "mine" / DIFFUSERS_FILE, weights, **{DIFFUSERS_CONFIG: json.dumps(config)})
    assert find_lora(tmp_path / "mine") == path
    unet = make_unet()
    load_lora(unet, path)
    assert torch.equal(predict(unet), wanted)


def test_peft_s_folder_may_have_other_names_and_keeps_its_scale(
    make_adapter: Any, make_unet: Any, tmp_path: Path
) -> None:
    made, wanted = make_adapter("ranks")
    folder = shutil.copytree(made, tmp_path / "mine")
    write(folder / WEIGHTS_FILE, {f"diffusion_model.{name}": one for name, one in read(made).items()})
    unet = make_unet()
    load_lora(unet, folder)
    torch.testing.assert_close(predict(unet), wanted, rtol=0, atol=1e-6)
    assert find_lora(folder / WEIGHTS_FILE) == folder  # the file alone would lose it


def test_text_encoders_are_said_to_be_left_out(make_adapter: Any, make_unet: Any, tmp_path: Path) -> None:
    folder, wanted = make_adapter("plain")
    text = {f"lora_te_text_model_0_q_proj.lora_{side}.weight": torch.ones(4, 4) for side in ("down", "up")}
    path = write(tmp_path / "lora.safetensors", in_kohyas_names(read(folder)) | text)
    unet = make_unet()
    assert load_lora(unet, path) == [f"adapter {path}: 2 weights of text encoders are left out"]
    torch.testing.assert_close(predict(unet), wanted, rtol=0, atol=1e-6)
    with pytest.raises(IvideoError, match="is for text encoders alone: lora_te_text"):
        load_lora(make_unet(), write(path, text))


def rename_all(weights: Weights) -> Weights:
    return {name.replace("blocks", "layers"): one for name, one in weights.items()}


def widen(weights: Weights) -> Weights:
    return {name: torch.cat([one, one], 1) if ".lora_A." in name else one for name, one in weights.items()}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            rename_all,
            "none of its 36 layers is in this one: down_layers.*, down_layers.*, down_layers.*, .*expected are",
        ),
        (
            lambda w: {n.replace("mid_", "low_"): one for n, one in w.items()},
            "8 of its 36 layers are not in this one: low",
        ),
        (widen, r"36 of its 36 layers are of another size: .* \(it is 16 x 32, the network's 16 x 16\)"),
        (lambda w: dict([*w.items()][1:]), r"is no part of a pair of matrices: \S+lora_B.weight; expected are pairs"),
        (
            lambda w: {**w, "mid_block.norm.diff": torch.ones(2)},
            "is no part of a pair of matrices: mid_block.norm.diff",
        ),
        (lambda w: {"lora_unet_x.lokr_w1": torch.ones(2)}, "is no LoRA but another kind .* lora_unet_x.lokr_w1"),
        (lambda w: {**w, "conv_in.dora_scale": torch.ones(1, 4)}, "no part of a pair of matrices: conv_in.dora_scale"),
        (
            lambda w: {n: one for n, one in w.items() if "magnitude" in n or "attn" in n} | add_row(w),
            "have no magnitude",
        ),
    ],
)
def test_what_does_not_fit_is_told_in_one_line(
    make_adapter: Any, make_unet: Any, tmp_path: Path, change: Any, message: str
) -> None:
    path = write(tmp_path / "lora.safetensors", change(read(make_adapter("plain")[0])))
    with pytest.raises(IvideoError, match=message) as caught:
        load_lora(make_unet(), path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def add_row(weights: Weights) -> Weights:
    name = next(iter(weights)).split(".lora_")[0]
    return {f"{name}.dora_scale": torch.ones(len(weights[f"{name}.lora_B.weight"]), 1)}


def test_which_file_of_a_folder(tmp_path: Path) -> None:
    pair = {f"a.lora_{side}.weight": torch.ones(2, 2) for side in "AB"}
    assert find_lora(tmp_path) is None
    one = write(tmp_path / "one.safetensors", pair)
    write(tmp_path / "network.safetensors", {"a.weight": torch.ones(2)})
    assert find_lora(tmp_path) == one
    write(tmp_path / "two.safetensors", pair)
    with pytest.raises(IvideoError, match=r"holds several adapters: name one of .*one.safetensors, .*two.safetensors"):
        find_lora(tmp_path)
    with pytest.raises(IvideoError, match=r"network.safetensors holds no adapter, but a.weight"):
        find_lora(tmp_path / "network.safetensors")
    (tmp_path / "broken.safetensors").write_bytes(b"no")
    with pytest.raises(IvideoError, match=r"broken.safetensors is damaged or no safetensors file"):
        find_lora(tmp_path / "broken.safetensors")
