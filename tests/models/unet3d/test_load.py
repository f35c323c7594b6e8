from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler, PNDMScheduler
from safetensors.torch import load_file, save_file

from ivideo.config.presets import MODEL_SOURCES, choose_model, heldout_prompts_path
from ivideo.errors import IvideoError, UsageError
from ivideo.models.devices import choose_device, choose_dtype
from ivideo.models.families import load_model
from ivideo.models.unet3d import load

CPU = torch.device("cpu")


@pytest.mark.parametrize(("has_cuda", "expected"), [(True, "wan2.1-1.3b"), (False, "emoji-world")])
def test_auto_is_wan_where_cuda_is(monkeypatch, has_cuda, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_cuda)
    assert choose_model("auto") == expected
    assert choose_model("someone/model") == "someone/model"


def test_devices(monkeypatch):
    assert choose_device("cpu") == CPU
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto") == CPU


@pytest.mark.parametrize("name", ["cuda:99", "gpu", "", "cpu:x"])
def test_a_device_that_is_not_there(name):
    with pytest.raises(UsageError, match=rf"^`device` {name}: not available on this machine; try cpu$"):
        choose_device(name)


@pytest.mark.parametrize(
    ("name", "device", "has_bf16", "expected"),
    [
        ("auto", "cpu", True, torch.bfloat16),
        ("auto", "cpu", False, torch.float32),
        ("float32", "cpu", True, torch.float32),
        ("auto", "cuda", True, torch.bfloat16),
        ("auto", "cuda", False, torch.float16),
        ("float32", "cuda", True, torch.float32),
        ("bfloat16", "cpu", False, torch.bfloat16),
        ("float16", "cuda", True, torch.float16),
    ],
)
def test_dtypes(monkeypatch, name, device, has_bf16, expected):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: has_bf16)
    said = {"avx512_f": True, "avx512_bf16": has_bf16}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: said, raising=False)  # older torch cannot tell
    assert choose_dtype(name, torch.device(device)) == expected


def test_only_the_bundled_model_brings_heldout_prompts():
    assert heldout_prompts_path("modelscope") is None
    assert heldout_prompts_path("emoji-world").read_text().startswith("#")


def test_every_part_has_its_type(tiny_folder):
    model = load_model(str(tiny_folder), CPU, torch.bfloat16)
    assert model.name == str(tiny_folder)
    assert model.unet.dtype == torch.bfloat16
    assert (model.vae.dtype, model.text_encoder.final_layer_norm.weight.dtype) == (torch.float32, torch.float32)


@pytest.mark.parametrize("name", ["emoji", "./nowhere", "~/nowhere", "/nowhere", "a/b/c", " "])
def test_an_unknown_name(name):
    with pytest.raises(UsageError) as caught:
        load_model(name, CPU, torch.float32)
    assert str(caught.value) == (
        f"unknown model {name!r}: not one of {', '.join(MODEL_SOURCES)}, not a folder, not a hub id like owner/name"
    )


def test_a_file_is_no_model(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(UsageError, match="unknown model"):
        load_model(str(tmp_path / "model.safetensors"), CPU, torch.float32)


@pytest.mark.parametrize("name", ["ivideo-tests/nowhere", "modelscope", "zeroscope"])
def test_a_hub_id_without_a_hub(monkeypatch, tmp_path, name):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        IvideoError, match=rf"^model '{name}'.* cannot be loaded: .*HF_HUB_OFFLINE is set: unset it; or on a machine"
    ) as caught:
        load_model(name, CPU, torch.float32)
    assert "\n" not in str(caught.value)


def change_json(file, **changes):
    def change(folder):
        content = {**json.loads((folder / file).read_text()), **changes}
        (folder / file).write_text(json.dumps({key: value for key, value in content.items() if value is not None}))

    return change


def write(file, content):
    return lambda folder: (folder / file).write_bytes(content)


def remove(path):
    return lambda folder: shutil.rmtree(folder / path) if (folder / path).is_dir() else (folder / path).unlink()


def cut(file):
    return lambda folder: (folder / file).write_bytes((folder / file).read_bytes()[:-100])


def drop_a_weight(file, name):
    def change(folder):
        weights = load_file(folder / file)
        del weights[name]
        save_file(weights, folder / file, metadata={"format": "pt"})

    return change


SUPPORTED = "models of UNet3DConditionModel, AutoencoderKL, CLIPTextModel, a CLIP tokenizer and a DDIM-like scheduler"
UNET, VAE = (f"{part}/diffusion_pytorch_model.safetensors" for part in ("unet", "vae"))
TEXT = "text_encoder/model.safetensors"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (remove("model_index.json"), r"is no diffusers folder: .*model_index.json is missing$"),
        (write("model_index.json", b"{"), "cannot be loaded: .*model_index.json.* is not a valid JSON file"),
        (write("model_index.json", b"[]"), "cannot be loaded: its model_index.json is no table of parts$"),
        (
            change_json("model_index.json", vae=None, unet=None),
            f"has no unet, vae; supported: {SUPPORTED}$",
        ),
        (
            change_json(
                "model_index.json",
                _class_name="StableVideoDiffusionPipeline",
                unet=None,
                transformer=["diffusers", "CogVideoXTransformer3DModel"],
                feature_extractor=[None, None],
            ),
            "is a StableVideoDiffusionPipeline, which is not supported; known are TextToVideoSDPipeline, ",
        ),
        (
            change_json("model_index.json", unet=["diffusers", "UNet2DConditionModel"]),
            rf"has the unet UNet2DConditionModel; supported: {SUPPORTED}$",
        ),
        (
            change_json("model_index.json", text_encoder=["transformers", "T5EncoderModel"]),
            rf"has the text_encoder T5EncoderModel; supported: {SUPPORTED}$",
        ),
        (change_json("model_index.json", scheduler=["diffusers", "NoScheduler"]), "its scheduler is damaged"),
        *((remove(part), f"its {part} is ") for part in load.PARTS),
        (write("unet/config.json", b"{"), "its unet is damaged or incomplete: .*not a valid JSON file"),
        (change_json("unet/config.json", cross_attention_dim=16), "its unet is damaged or incomplete: "),
        (write("text_encoder/config.json", b"{"), "its text_encoder is damaged or incomplete: "),
        (write("tokenizer/tokenizer.json", b"{"), "its tokenizer is damaged or incomplete: "),
        (write("scheduler/scheduler_config.json", b"{"), "its scheduler is damaged or incomplete: "),
        *((cut(file), f"its {file.split('/')[0]} is damaged or incomplete: ") for file in (UNET, VAE, TEXT)),
        (write(UNET, b"version https://git-lfs.github.com/spec/v1"), "its unet is damaged or incomplete: .*git-lfs"),
        (write(TEXT, b""), "its text_encoder is damaged or incomplete: "),
        (
            drop_a_weight(UNET, "conv_in.weight"),
            "its unet is incomplete: conv_in.weight is one of 1 missing weights$",
        ),
        (
            drop_a_weight(VAE, "decoder.conv_in.bias"),
            "its vae is incomplete: decoder.conv_in.bias is one of 1 missing weights$",
        ),
    ],
)
def test_a_broken_folder_is_told_in_one_line(tiny_folder, tmp_path, change, message):
    folder = Path(shutil.copytree(tiny_folder, tmp_path / "model"))
    change(folder)
    with pytest.raises(IvideoError, match=message) as caught:
        load_model(str(folder), CPU, torch.float32)
    assert str(caught.value).startswith(f"model {str(folder)!r}")
    assert "\n" not in str(caught.value)


def test_an_unbroken_copy_loads(tiny_folder, tmp_path):
    model = load_model(str(shutil.copytree(tiny_folder, tmp_path / "model")), CPU, torch.float32)
    assert model.find_prompt_problems("a cat") == []


def put_scheduler(folder, scheduler):
    shutil.rmtree(folder / "scheduler")
    scheduler.save_pretrained(folder / "scheduler")
    change_json("model_index.json", scheduler=["diffusers", type(scheduler).__name__])(folder)


def test_another_scheduler_lends_its_betas_and_does_not_clip(tiny_folder, tmp_path):
    folder = Path(shutil.copytree(tiny_folder, tmp_path / "model"))
    betas = {"beta_start": 0.001, "beta_end": 0.01, "beta_schedule": "linear", "steps_offset": 1}
    put_scheduler(folder, PNDMScheduler(**betas))
    scheduler = load_model(str(folder), CPU, torch.float32).scheduler
    assert isinstance(scheduler, DDIMScheduler)
    assert torch.equal(scheduler.betas, torch.linspace(0.001, 0.01, 1000))
    assert scheduler.config.clip_sample is False


def test_flow_matching_is_refused_before_anything_is_generated(tiny_folder, tmp_path):
    folder = Path(shutil.copytree(tiny_folder, tmp_path / "model"))
    put_scheduler(folder, FlowMatchEulerDiscreteScheduler())
    with pytest.raises(IvideoError, match="FlowMatchEulerDiscreteScheduler has no noise schedule of betas"):
        load_model(str(folder), CPU, torch.float32)
