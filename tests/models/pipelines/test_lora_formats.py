"""A trained adapter in three formats: each loads in diffusers and in the house, and acts the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from ivideo.errors import IvideoError
from ivideo.models.lora import add_lora, lora_parameters, named_lora_parameters
from ivideo.models.lora_files import DIFFUSERS_FILE, is_lora_file
from ivideo.models.lora_names import find_layers, find_misfits, find_original_layers, sort_weights
from ivideo.models.pipelines.lora_formats import COMFYUI_FILE, ORIGINAL_NAMES
from tests.models.pipelines import tiny
from tests.models.pipelines.conftest import GUIDANCE, NEGATIVE, PROMPT, call
from tests.models.pipelines.test_every_family import draw_latents, request_for

RANK, ALPHA = 4, 2.0  # their ratio is no 1, so that a lost alpha shows
WITHOUT_LOADER = "hunyuan-1.5"  # in diffusers
WITH_NAMES = ("wan", "wan-5b", "wan-a14b", "ltx", "hunyuan", "cogvideox-2b", "cogvideox-5b", "cogvideox-1.5")


def train(model: Any, folder: Path) -> Path:
    """An adapter that acts, as a run would write it."""
    add_lora(model.network, RANK, ALPHA, seed=0, targets=model.lora_targets)
    generator = torch.Generator().manual_seed(1)
    for parameter in lora_parameters(model.network):
        parameter.data = 0.2 * torch.randn(parameter.shape, generator=generator)
    model.save_adapter(folder)
    model.write_formats(folder)
    return folder


def predict(model: Any, name: str) -> Tensor:
    latents = draw_latents(model, name)
    timestep = model.stepper(4, tuple(latents.shape[1:])).timesteps[-1]
    conditioning = model.encode_prompts([PROMPT], NEGATIVE)
    with torch.no_grad():
        return model.denoiser(GUIDANCE, batched=False)(latents, timestep, conditioning)


@pytest.mark.parametrize("name", [one for one in tiny.EVERY if one.values != (WITHOUT_LOADER,)])
def test_diffusers_loads_its_own_file_bit_for_bit(
    name: str, open_tiny: Any, open_pipeline: Any, tmp_path: Path
) -> None:
    model, pipeline = open_tiny(name), open_pipeline(name)
    base = call(pipeline, name, 2, "latent")
    folder = train(model, tmp_path / "adapter")
    options = {"load_into_transformer_2": True} if name == "wan-a14b" else {}
    pipeline.load_lora_weights(str(folder), weight_name=DIFFUSERS_FILE, **options)
    adapted = call(pipeline, name, 2, "latent")
    assert torch.equal(model.call_pipeline(request_for(name, 2), "latent"), adapted)
    assert not torch.equal(adapted, base)


@pytest.mark.parametrize("name", tiny.EVERY)
def test_every_format_acts_the_same_here(name: str, open_tiny: Any, tmp_path: Path) -> None:
    trained = open_tiny(name)
    base = predict(trained, name)
    folder = train(trained, tmp_path / "adapter")
    wanted = predict(trained, name)
    assert not torch.allclose(base, wanted, atol=1e-4)
    files = {path.name for path in folder.iterdir()} - {"adapter_config.json", "adapter_model.safetensors"}
    expected = {DIFFUSERS_FILE} if name != WITHOUT_LOADER else set()
    expected |= {COMFYUI_FILE} if name in WITH_NAMES else set()
    assert files == expected
    for path in [folder, *(folder / file for file in files)]:
        if name == "hunyuan" and path.name == COMFYUI_FILE:
            continue  # diffusers' converter knows one width only, see the test of single blocks
        again = open_tiny(name)
        again.load_adapter(path)
        assert torch.allclose(predict(again, name), wanted, atol=2e-6), path.name
        off = open_tiny(name)
        off.load_adapter(path, 0.0)
        assert torch.allclose(predict(off, name), base, atol=1e-6)


def test_comfyuis_names_are_those_of_the_original(open_tiny: Any, tmp_path: Path) -> None:
    folder = train(open_tiny("wan"), tmp_path / "wan")
    with safe_open(folder / COMFYUI_FILE, framework="pt") as file:
        names = set(file.keys())
    assert {f"diffusion_model.blocks.1.cross_attn.{layer}.lora_A.weight" for layer in "qkvo"} <= names
    assert len(names) == 2 * 2 * 2 * 4  # blocks, attentions, matrices, layers


def test_hunyuans_fused_matrices_hold_the_three_pairs(open_tiny: Any, tmp_path: Path) -> None:
    model = open_tiny("hunyuan")
    folder = train(model, tmp_path / "hunyuan")
    original, own = load_file(folder / COMFYUI_FILE), named_lora_parameters(model.network)
    for block, place in (
        ("transformer_blocks", "double_blocks.0.img_attn_qkv"),
        ("single_transformer_blocks", "single_blocks.0.linear1"),
    ):
        down, up = (original[f"diffusion_model.{place}.lora_{side}.weight"] for side in "AB")
        changes = []
        for layer in ("to_q", "to_k", "to_v"):
            a, b = (own[f"{block}.0.attn.{layer}.lora_{side}.default.weight"] for side in "AB")
            changes.append(ALPHA / RANK * b @ a)
        width = sum(map(len, changes))
        assert torch.allclose((up @ down)[:width], torch.cat(changes), atol=1e-6)
        assert not (up @ down)[width:].any()


def test_an_adapter_of_another_family_is_refused_in_one_line(open_tiny: Any, tmp_path: Path) -> None:
    folder = train(open_tiny("ltx"), tmp_path / "ltx")
    for path in (folder, folder / DIFFUSERS_FILE, folder / COMFYUI_FILE):
        with pytest.raises(IvideoError) as caught:
            open_tiny("wan").load_adapter(path)
        assert "\n" not in str(caught.value)
        assert str(path) in str(caught.value)


def test_what_is_a_file_of_a_lora(open_tiny: Any, tmp_path: Path) -> None:
    folder = train(open_tiny("wan"), tmp_path / "wan")
    assert is_lora_file(folder / DIFFUSERS_FILE)
    assert is_lora_file(folder / COMFYUI_FILE)
    assert not is_lora_file(folder)
    save_file({"blocks.0.weight": torch.zeros(1)}, tmp_path / "network.safetensors")
    (tmp_path / "damaged.safetensors").write_bytes(b"no")
    assert not is_lora_file(tmp_path / "network.safetensors")
    assert not is_lora_file(tmp_path / "damaged.safetensors")


def test_both_experts_get_files_of_their_own(open_tiny: Any, open_pipeline: Any, tmp_path: Path) -> None:
    model, pipeline = open_tiny("wan-a14b", expert="both"), open_pipeline("wan-a14b")
    folder = train(model, tmp_path / "both")
    second = DIFFUSERS_FILE.replace(".", "_2.", 1)
    pipeline.load_lora_weights(str(folder), weight_name=DIFFUSERS_FILE)
    pipeline.load_lora_weights(str(folder), weight_name=second, load_into_transformer_2=True)
    assert torch.equal(
        model.call_pipeline(request_for("wan-a14b", 4), "latent"), call(pipeline, "wan-a14b", 4, "latent")
    )
    again = open_tiny("wan-a14b", expert="both")
    again.load_adapter(folder)
    assert torch.equal(predict(again, "wan-a14b"), predict(model, "wan-a14b"))


def test_kohyas_names_of_the_original_need_no_whole_network(open_tiny: Any, tmp_path: Path) -> None:
    trained = open_tiny("wan")
    folder = train(trained, tmp_path / "wan")  # no feed-forward layers, which diffusers' converter of these names wants
    weights = {}
    for name, one in load_file(folder / COMFYUI_FILE).items():
        layer, side, _ = name.removeprefix("diffusion_model.").rsplit(".", 2)
        start = f"lora_unet_{layer.replace('.', '_')}"
        weights[f"{start}.lora_{'down' if side == 'lora_A' else 'up'}.weight"] = one
        weights[f"{start}.alpha"] = torch.tensor(float(RANK))
    save_file(weights, tmp_path / "kohya.safetensors")
    again = open_tiny("wan")
    again.load_adapter(tmp_path / "kohya.safetensors")
    assert torch.allclose(predict(again, "wan"), predict(trained, "wan"), atol=2e-6)


@pytest.mark.parametrize("is_kohya", [False, True])
def test_hunyuans_joint_matrices_are_split(is_kohya: bool) -> None:
    from diffusers import HunyuanVideoTransformer3DModel

    with torch.device("meta"):  # at the width that diffusers' converter knows
        network = HunyuanVideoTransformer3DModel(num_layers=1, num_single_layers=1, num_refiner_layers=1)
    layers = [f"{kind}transformer_blocks.0.attn.{one}" for kind in ("", "single_") for one in ("to_q", "to_k", "to_v")]
    wide = network.config.num_attention_heads * network.config.attention_head_dim
    own = {
        f"{layer}.lora_{side}.weight": torch.randn(*shape)
        for layer in layers
        for side, shape in (("A", (2, wide)), ("B", (wide, 2)))
    }
    names = {}
    for name, one in ORIGINAL_NAMES["HunyuanVideoPipeline"](own).items():
        layer, side, _ = name.rsplit(".", 2)
        kohya = f"lora_unet_{layer.replace('.', '_')}.lora_{'down' if side == 'lora_A' else 'up'}.weight"
        names[kohya if is_kohya else f"diffusion_model.{name}"] = one
    _, left = find_layers(sort_weights(names).pairs, network)
    found, left = find_original_layers(left, network, "HunyuanVideoPipeline", None)
    assert not left
    assert find_misfits(found, network) == []
    for layer in layers:
        change = own[f"{layer}.lora_B.weight"] @ own[f"{layer}.lora_A.weight"]
        torch.testing.assert_close(found[layer].up @ found[layer].down, change)
