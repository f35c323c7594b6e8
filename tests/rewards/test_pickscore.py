"""PickScore's formats with a small random network, against transformers' own way to score."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from ivideo.errors import IvideoError
from ivideo.rewards.emoji_world import EMOJI_PREFERENCE
from ivideo.rewards.registry import load_reward

CPU = torch.device("cpu")
PROMPTS = ["a cat surfing on a wave", "an owl " * 40]
SIZES = {
    "text_config": {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2},
    "vision_config": {
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "patch_size": 56,
    },
    "projection_dim": 8,
}


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> Path:
    """A folder with the files of both repositories."""
    import transformers

    folder = tmp_path_factory.mktemp("pickscore") / "folder"
    tokenizer = transformers.CLIPTokenizer.from_pretrained(EMOJI_PREFERENCE)
    special = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}
    text = {**SIZES["text_config"], "vocab_size": len(tokenizer), **special}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        clip = transformers.CLIPModel(transformers.CLIPConfig(**{**SIZES, "text_config": text}))
    clip.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    transformers.CLIPImageProcessor().save_pretrained(folder)
    return folder


@pytest.fixture
def folder(published, tmp_path) -> Path:
    """A copy that may be broken."""
    return Path(shutil.copytree(published, tmp_path / "folder"))


@pytest.mark.parametrize(("height", "width"), [(224, 224), (64, 96), (200, 120)])
def test_it_scores_as_transformers_does_without_the_logit_scale(published, random_frames, to_image, height, width):
    import transformers

    reward_model = load_reward(f"pickscore:{published}", CPU)
    assert reward_model.label == f"PickScore v1, cosine without logit scale ({published})"
    clip = transformers.CLIPModel.from_pretrained(published).eval()
    tokenizer = transformers.CLIPTokenizer.from_pretrained(published)
    processor = transformers.CLIPImageProcessor.from_pretrained(published)
    frames = random_frames(2, 2, height, width)
    scores = reward_model.score(frames, PROMPTS)
    assert scores.shape == (2, 2)
    for row, prompt in enumerate(PROMPTS):
        images = processor([to_image(frame) for frame in frames[row]], return_tensors="pt")
        text = tokenizer([prompt], padding=True, truncation=True, max_length=77, return_tensors="pt")
        with torch.no_grad():
            logits = clip(**images, **text).logits_per_image[:, 0]
        # transformers resizes bytes
        torch.testing.assert_close(scores[row], logits / clip.logit_scale.exp().detach(), rtol=0, atol=1e-3)


def test_gradients_reach_the_frames(published, random_frames):
    frames = random_frames(1, 1, 64, 64).requires_grad_()
    reward_model = load_reward(f"pickscore:{published}", CPU)
    assert reward_model.is_differentiable
    reward_model.score(frames, PROMPTS[:1]).sum().backward()
    assert frames.grad.abs().sum(dim=(0, 1, 2)).gt(0).all()
    assert not any(parameter.requires_grad for parameter in reward_model.network.parameters())


def test_weights_as_a_torch_file_without_code(folder, random_frames):
    frames = random_frames(1, 1, 64, 64)
    expected = load_reward(f"pickscore:{folder}", CPU).score(frames, PROMPTS[:1])
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    reward_model = load_reward(f"pickscore:{folder}", CPU)
    torch.testing.assert_close(reward_model.score(frames, PROMPTS[:1]), expected, rtol=0, atol=1e-6)


def test_offline_it_says_which_files_to_put_where(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(IvideoError) as caught:
        load_reward("pickscore", CPU)
    assert str(caught.value) == (
        "reward pickscore: the weights of yuvalkirstain/PickScore_v1 are not on this machine: "
        "it is not in the cache, and HF_HUB_OFFLINE is set: unset it; "
        "put config.json and "
        "model.safetensors from https://huggingface.co/yuvalkirstain/PickScore_v1 and tokenizer.json, "
        "tokenizer_config.json and preprocessor_config.json from "
        "https://huggingface.co/laion/CLIP-ViT-H-14-laion2B-s32B-b79K into a folder and name it: pickscore:FOLDER"
    )


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("model.safetensors", "the weights in .* are damaged or missing: "),
        ("config.json", r"config\.json is missing$"),
        ("tokenizer.json", "the tokenizer files of laion/CLIP-ViT-H-14-laion2B-s32B-b79K are not on this machine"),
        ("preprocessor_config.json", "the preprocessing files of laion/CLIP-ViT-H-14-laion2B-s32B-b79K are not on"),
    ],
)
def test_a_missing_file_is_told_in_one_line(folder, monkeypatch, tmp_path, missing, message):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    (folder / missing).unlink()
    with pytest.raises(IvideoError, match=rf"^reward pickscore:.*{message}") as caught:
        load_reward(f"pickscore:{folder}", CPU)
    assert "\n" not in str(caught.value)


def test_another_network_is_refused(folder):
    weights = load_file(folder / "model.safetensors")
    save_file({name: weight for name, weight in weights.items() if "text" in name}, folder / "model.safetensors")
    with pytest.raises(IvideoError, match=r"holds no CLIP: \S+ is one of 41 missing$"):
        load_reward(f"pickscore:{folder}", CPU)
