"""open_clip's own formats, with a small random network, against open_clip itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from safetensors.torch import save_file

from ivideo.errors import IvideoError, UsageError
from ivideo.rewards.registry import load_reward

CPU = torch.device("cpu")
ARCHITECTURE = "ivideo-small"
PROMPTS = ["A cat surfing on a wave", "an owl"]


@pytest.fixture(scope="module")
def sizes(clip_sizes) -> dict[str, Any]:
    return {**clip_sizes, "vision_cfg": {**clip_sizes["vision_cfg"], "image_size": 112}}


@pytest.fixture
def architecture(monkeypatch, sizes):
    """A small architecture among open_clip's own."""
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, ARCHITECTURE, sizes)
    return ARCHITECTURE


@pytest.fixture
def folder(sizes, tmp_path) -> Path:
    """A folder in the format of open_clip's repositories on the hub, with preprocessing of its own."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = open_clip.CLIP(**sizes)
    preprocess = {"mean": [0.5, 0.5, 0.5], "std": [0.4, 0.5, 0.6], "interpolation": "bilinear", "resize_mode": "squash"}
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": sizes, "preprocess_cfg": preprocess}))
    save_file(network.state_dict(), tmp_path / "open_clip_model.safetensors")
    return tmp_path


def score_by_open_clip(network, transform, frames, prompt, to_image):
    with torch.no_grad():
        images = torch.stack([transform(to_image(frame)) for frame in frames[0]])
        tokens = open_clip.get_tokenizer("ViT-B-32")([prompt])
        features = network.eval().encode_image(images, normalize=True)
        return (features @ network.encode_text(tokens, normalize=True).T)[:, 0]


@pytest.mark.parametrize(("height", "width"), [(112, 112), (64, 96), (200, 120)])
def test_a_folder_scores_as_open_clip_does(folder, random_frames, to_image, height, width):
    reward_model = load_reward(f"clip:{folder}", CPU)
    network, transform = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
    frames = random_frames(1, 2, height, width)
    assert (reward_model.name, reward_model.label) == (f"clip:{folder}", f"CLIP {folder}, cosine")
    for prompt in PROMPTS:
        expected = score_by_open_clip(network, transform, frames, prompt, to_image)
        scores = reward_model.score(frames, [prompt])[0]
        torch.testing.assert_close(scores, expected, rtol=0, atol=1e-3)  # open_clip resizes bytes


@pytest.mark.parametrize("suffix", [".safetensors", ".pt"])
def test_a_file_scores_as_open_clip_does(architecture, folder, random_frames, to_image, tmp_path, suffix):
    path = folder / "open_clip_model.safetensors"
    if suffix == ".pt":
        path = tmp_path / "w.pt"
        torch.save({"state_dict": open_clip.factory.load_state_dict(str(folder / "open_clip_model.safetensors"))}, path)
    reward_model = load_reward(f"clip:{architecture}:{path}", CPU)
    network, transform = open_clip.create_model_from_pretrained(architecture, str(path))
    frames = random_frames(1, 2, 100, 203).requires_grad_()
    scores = reward_model.score(frames, PROMPTS[:1])[0]
    expected = score_by_open_clip(network, transform, frames.detach(), PROMPTS[0], to_image)
    torch.testing.assert_close(scores.detach(), expected, rtol=0, atol=1e-3)
    scores.sum().backward()
    assert frames.grad[..., 51:152].abs().sum(dim=(0, 1, 2)).gt(0).all()  # the middle square, and not what is cut off
    assert frames.grad[..., :50].eq(0).all()


@pytest.mark.parametrize("quick_gelu", [False, True])
def test_a_tag_brings_its_preprocessing_and_its_activation(
    architecture, folder, random_frames, to_image, monkeypatch, quick_gelu
):
    config = {
        "file": str(folder / "open_clip_model.safetensors"),
        "mean": (0.1, 0.2, 0.3),
        "std": (0.4, 0.5, 0.6),
        "interpolation": "bicubic",
        "resize_mode": "shortest",
        "quick_gelu": quick_gelu,
    }
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, ARCHITECTURE, {"mine": config})
    reward_model = load_reward(f"clip:{architecture}/mine", CPU)
    assert reward_model.label == "CLIP ivideo-small/mine, cosine"
    network, transform = open_clip.create_model_from_pretrained(architecture, "mine", force_quick_gelu=quick_gelu)
    frames = random_frames(1, 2, 64, 96)
    expected = score_by_open_clip(network, transform, frames, PROMPTS[0], to_image)
    torch.testing.assert_close(reward_model.score(frames, PROMPTS[:1])[0], expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("name", ["clip", "clip:ViT-B-32/laion2b_s34b_b79k"])
def test_offline_it_says_which_file_to_put_where(name, monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(IvideoError) as caught:
        load_reward(name, CPU)
    assert str(caught.value) == (
        f"reward {name}: its weights are not on this machine: "
        "it is not in the cache, and HF_HUB_OFFLINE is set: unset it; "
        "fetch the weights file for open_clip "
        "(open_clip_model.safetensors or open_clip_pytorch_model.bin) from "
        "https://huggingface.co/laion/CLIP-ViT-B-32-laion2B-s34B-b79K and name it: clip:ViT-B-32:FILE"
    )


def test_offline_the_file_of_a_tag_with_another_activation_is_named_with_it(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(IvideoError, match=r"and name it: clip:ViT-B-32-quickgelu:FILE$"):
        load_reward("clip:ViT-B-32/openai", CPU)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("ViT-B-33/openai", "open_clip has no architecture 'ViT-B-33'; did you mean ViT-B-32?"),
        ("w.pt", "a file does not say its architecture: write clip:ARCH:w.pt"),
        ("ViT-B-32/nope", "ViT-B-32 has no weights 'nope': one of openai, "),
        ("ViT-B-32", "ViT-B-32 has no weights '': one of openai, "),
        ("nope:w.pt", "open_clip has no architecture 'nope'"),
    ],
)
def test_a_source_that_cannot_be(source, message):
    with pytest.raises(UsageError) as caught:
        load_reward(f"clip:{source}", CPU)
    assert str(caught.value).startswith(f"reward clip:{source}: {message}")


def test_what_is_missing_or_damaged_is_told_in_one_line(architecture, folder, tmp_path):
    weights = folder / "open_clip_model.safetensors"
    cases = {f"{architecture}:{tmp_path}/no.pt": "does not exist", f"{architecture}:{tmp_path}": "is a folder"}
    for source, message in cases.items():
        with pytest.raises(IvideoError, match=message):
            load_reward(f"clip:{source}", CPU)
    weights.write_bytes(weights.read_bytes()[:1000])
    for source in (folder, f"{architecture}:{weights}"):
        with pytest.raises(IvideoError, match="cannot be loaded by open_clip: ") as caught:
            load_reward(f"clip:{source}", CPU)
        assert "\n" not in str(caught.value)
    weights.unlink()
    with pytest.raises(IvideoError, match=r"cannot be loaded by open_clip: .*could not be loaded"):
        load_reward(f"clip:{folder}", CPU)
    (folder / "open_clip_config.json").unlink()
    with pytest.raises(IvideoError, match=r"open_clip_config\.json is missing$"):
        load_reward(f"clip:{folder}", CPU)


def test_a_network_that_reads_no_squares_is_refused(folder, sizes):
    oblong = {**sizes, "vision_cfg": {**sizes["vision_cfg"], "image_size": [112, 56]}}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": oblong}))
    with torch.random.fork_rng():
        save_file(open_clip.CLIP(**oblong).state_dict(), folder / "open_clip_model.safetensors")
    with pytest.raises(IvideoError, match=r"it reads 56 x 112 pixels; only squares are supported$"):
        load_reward(f"clip:{folder}", CPU)
