"""Folders whose weights are a variant, whole or in shards, and which one is taken."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from ivideo.errors import UsageError
from ivideo.models.families import load_model
from ivideo.models.variants import choose_variants, name_plainly

CPU = torch.device("cpu")
UNET = "unet/diffusion_pytorch_model"


def touch(folder: Path, *files: str) -> str:
    for file in files:
        (folder / file).parent.mkdir(exist_ok=True, parents=True)
        (folder / file).touch()
    return str(folder)


@pytest.mark.parametrize("asked", [None, "fp16"])
def test_a_variant_loads_and_is_told_unless_asked_for(tiny_folder: Path, tmp_path: Path, asked: str | None) -> None:
    folder = shutil.copytree(tiny_folder, tmp_path / "model")
    whole = load_file(folder / f"{UNET}.safetensors")
    names = sorted(whole)
    files = {f"diffusion_pytorch_model.fp16-0000{i}-of-00002.safetensors": names[i - 1 :: 2] for i in (1, 2)}
    for file, own in files.items():
        save_file({name: whole[name] for name in own}, folder / "unet" / file, metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": {name: file for file, own in files.items() for name in own}}
    (folder / f"{UNET}.safetensors.index.fp16.json").write_text(json.dumps(index))
    (folder / f"{UNET}.safetensors").unlink()
    model = load_model(str(folder), CPU, torch.float32, options={"variant": asked})
    told = f"model {folder}: there are no {asked or 'plain'} weights of "
    others = f"{told}vae, text_encoder; the plain ones are taken (`variant`)"
    assert model.remarks == [others if asked else f"{told}unet; the fp16 ones are taken (`variant`)"]
    assert all(torch.equal(weight, whole[name]) for name, weight in model.network.state_dict().items())


def test_which_variant(tmp_path: Path) -> None:
    files = ("vae/diffusion_pytorch_model.safetensors", f"{UNET}.fp16.safetensors", f"{UNET}.bf16.safetensors")
    location = touch(tmp_path, *files, "vae/diffusion_pytorch_model.fp16.safetensors", "text_encoder/config.json")
    parts = ("unet", "vae", "text_encoder")
    assert choose_variants("m", location, parts, "fp16") == ({"unet": "fp16", "vae": "fp16"}, [])
    chosen, told = choose_variants("m", location, parts, None)
    assert (chosen, len(told)) == ({"unet": "bf16"}, 1)
    with pytest.raises(UsageError, match="`variant` fp8: m has bf16, fp16"):
        choose_variants("m", location, parts, "fp8")
    with pytest.raises(UsageError, match="m has no variants, only plain weights"):
        choose_variants("m", touch(tmp_path / "plain", "unet/model.safetensors"), parts, "fp16")


@pytest.mark.parametrize(
    ("file", "variant", "plain"),
    [
        ("model.fp16.safetensors", "fp16", "model.safetensors"),
        ("model.safetensors", "fp16", None),
        ("model.fp16.safetensors", None, None),
        ("model.fp16-00001-of-00002.safetensors", "fp16", "model-00001-of-00002.safetensors"),
        ("model-00001-of-00002.fp16.safetensors", "fp16", "model-00001-of-00002.safetensors"),
        ("model.safetensors.index.fp16.json", "fp16", "model.safetensors.index.json"),
        ("model.safetensors.index.json", None, "model.safetensors.index.json"),
        ("config.json", "fp16", "config.json"),
    ],
)
def test_plain_names(file: str, variant: str | None, plain: str | None) -> None:
    assert name_plainly(file, variant) == plain
