"""Adapters outside `ivideo`: merged folders against plain diffusers, PEFT folders against plain peft."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import ivideo
from ivideo.config.presets import find_location
from ivideo.errors import IvideoError, UsageError
from ivideo.inputs import adapters as export
from ivideo.models.unet3d.load import load_adapter, load_network

ROOT = Path(__file__).parents[2]
BASE = {"model": "emoji-world"}


def predict(unet: Any) -> torch.Tensor:
    """What a U-Net answers to one fixed input, in float64: what differs is the weights, not a processor's rounding."""
    generator = torch.Generator().manual_seed(3)
    latents = torch.randn((1, unet.config.in_channels, 4, 8, 8), generator=generator, dtype=torch.float64)
    embeds = torch.randn((1, 5, unet.config.cross_attention_dim), generator=generator, dtype=torch.float64)
    with torch.no_grad():
        prediction: torch.Tensor = unet.double().eval()(latents, torch.tensor(351), embeds).sample
    return prediction


def predict_adapted(model: str, adapter: Path, unet: Path | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """What a model answers without and with an adapter, as `ivideo` runs it."""
    network = load_network(model, find_location(model), torch.float32, {"unet": None if unet is None else str(unet)})
    base = predict(network)
    load_adapter(network, adapter)
    return base, predict(network)


def load_plain(folder: Path, **options: Any) -> Any:
    """The U-Net of a whole pipeline that diffusers loads by itself."""
    from diffusers import TextToVideoSDPipeline

    return TextToVideoSDPipeline.from_pretrained(folder, **options).unet


@pytest.fixture(scope="module")
def authors_merged(authors_file: Path, authors_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The authors' file, merged into a diffusers folder by the example."""
    output = tmp_path_factory.mktemp("export") / "merged"
    command = (sys.executable, "-m", "examples.merge_adapter", authors_file, output, "--model", authors_folder)
    done = subprocess.run([*map(str, command)], cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{output}\n"
    return output


def test_the_authors_file_merged_predicts_what_it_brings(
    authors_merged: Path, authors_file: Path, authors_folder: Path
) -> None:
    base, adapted = predict_adapted(str(authors_folder), authors_file, unet=authors_file)
    found = predict(load_plain(authors_merged))
    torch.testing.assert_close(found, adapted, rtol=0, atol=1e-5)
    assert (found - base).abs().max() > 0.01


def test_a_merged_folder_is_the_base_in_all_other_parts(authors_merged: Path, authors_folder: Path) -> None:
    files = {path.relative_to(authors_folder) for path in authors_folder.rglob("*") if path.is_file()}
    assert {path.relative_to(authors_merged) for path in authors_merged.rglob("*") if path.is_file()} == files
    differing = {str(f) for f in files if (authors_merged / f).read_bytes() != (authors_folder / f).read_bytes()}
    assert differing == {"unet/diffusion_pytorch_model.safetensors"}


def test_a_merged_run_predicts_what_base_and_adapter_predict(trained_run: Path, tmp_path: Path) -> None:
    merged = ivideo.merge_adapter(trained_run, tmp_path / "merged")
    base, adapted = predict_adapted("emoji-world", trained_run / "adapter")
    found = predict(load_plain(merged))
    torch.testing.assert_close(found, adapted, rtol=0, atol=1e-5)
    assert (found - base).abs().max() > 1e-3


def test_scale_and_type_of_a_merge(trained_run: Path, tmp_path: Path) -> None:
    merged = ivideo.merge_adapter(trained_run / "adapter", tmp_path / "merged", lora_scale=0, dtype="bfloat16")
    weights = load_file(merged / "unet" / "diffusion_pytorch_model.safetensors")
    assert {weight.dtype for weight in weights.values()} == {torch.bfloat16}
    own = load_network("emoji-world", find_location("emoji-world"), torch.bfloat16).state_dict()
    assert weights.keys() == own.keys()
    assert all(torch.equal(weights[name], own[name]) for name in own)


def test_plain_peft_loads_what_the_authors_file_brings(
    authors_file: Path, authors_folder: Path, tmp_path: Path
) -> None:
    from peft import PeftModel

    folder = ivideo.save_adapter(authors_file, tmp_path / "adapter", model=str(authors_folder))
    config = json.loads((folder / "adapter_config.json").read_text())
    assert (config["r"], config["lora_alpha"], config["base_model_name_or_path"]) == (4, 4, str(authors_folder))
    base, adapted = predict_adapted(str(authors_folder), authors_file, unet=authors_file)
    unet = load_network(str(authors_folder), str(authors_folder), torch.float32, {"unet": str(authors_file)})
    found = predict(PeftModel.from_pretrained(unet, str(folder)))
    torch.testing.assert_close(found, adapted, rtol=0, atol=1e-6)
    assert (found - base).abs().max() > 0.01
    again = ivideo.save_adapter(folder, tmp_path / "again")  # it knows its model and the file of its U-Net
    for name in ("adapter_config.json", "adapter_model.safetensors", "base_unet.json"):
        assert (again / name).read_bytes() == (folder / name).read_bytes()


def test_parts_come_from_the_hub_s_cache(trained_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repository = tmp_path / "cache" / "models--someone--model"
    shutil.copytree(find_location("emoji-world"), repository / "snapshots" / "1")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub._snapshot_download.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    parts = export.download_parts("someone/model", "someone/model", ["vae"], "unet")
    assert parts == repository / "snapshots" / "1"


@pytest.mark.parametrize(
    ("adapter", "options", "error", "message"),
    [
        ("missing", BASE, IvideoError, "missing does not exist"),
        ("run", {**BASE, "model": "nope"}, UsageError, "unknown model 'nope'"),
        ("run", {**BASE, "unet": "missing.pth"}, UsageError, r"missing\.pth: no such file"),
        ("run", {**BASE, "dtype": "float8"}, UsageError, "`dtype` float8: one of float32, bfloat16, float16"),
        ("run", {**BASE, "lora_scale": float("nan")}, UsageError, "`lora_scale` nan"),
        ("base file", BASE, IvideoError, "brings no LoRA"),
        ("file", BASE, IvideoError, "does not fit the model's U-Net"),
    ],
)
def test_what_cannot_be_merged_leaves_nothing(
    trained_run: Path,
    authors_file: Path,
    authors_base_file: Path,
    tmp_path: Path,
    adapter: str,
    options: dict[str, Any],
    error: type[IvideoError],
    message: str,
) -> None:
    names = {"run": trained_run, "base file": authors_base_file, "file": authors_file}
    with pytest.raises(error, match=message) as caught:
        ivideo.merge_adapter(names.get(adapter, tmp_path / adapter), tmp_path / "out", **options)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_use_is_left_alone(trained_run: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("x")
    for function in (ivideo.merge_adapter, ivideo.save_adapter):
        with pytest.raises(IvideoError, match="is not empty; name a new folder"):
            function(trained_run, tmp_path)
        with pytest.raises(IvideoError, match="a file is in the way"):
            function(trained_run, tmp_path / "mine")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_write_that_fails_leaves_nothing(trained_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ivideo.inputs.adapters.save_file", fail)
    with pytest.raises(IvideoError, match="No space left on device"):
        ivideo.merge_adapter(trained_run, tmp_path / "merged")
    assert list(tmp_path.iterdir()) == []


def test_a_pipelines_adapter_is_merged_and_its_variants_become_plain(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from diffusers import DiffusionPipeline
    from safetensors.torch import save_file

    from tests.models.pipelines import tiny

    monkeypatch.setenv("IVIDEO_CACHE", str(tmp_path / "cache"))
    base = tiny.write("wan", tmp_path / "base")
    for part in ("vae", "transformer"):
        file = base / part / "diffusion_pytorch_model.safetensors"
        file.rename(file.with_suffix(".fp16.safetensors"))
    layer = "blocks.0.attn1.to_q"
    sides = {"lora_A": torch.ones(2, 24), "lora_B": 0.1 * torch.ones(24, 2)}
    save_file({f"transformer.{layer}.{side}.weight": one for side, one in sides.items()}, tmp_path / "a.safetensors")
    merged = ivideo.merge_adapter(tmp_path / "a.safetensors", tmp_path / "merged", model=str(base))
    change = (
        DiffusionPipeline.from_pretrained(merged).transformer.get_submodule(layer).weight
        - DiffusionPipeline.from_pretrained(base, variant="fp16").transformer.get_submodule(layer).weight
    )
    torch.testing.assert_close(change, torch.full((24, 24), 0.2))
    folder = ivideo.save_adapter(tmp_path / "a.safetensors", tmp_path / "peft", model=str(base))
    assert {"adapter_config.json", "pytorch_lora_weights.safetensors"} <= {path.name for path in folder.iterdir()}
