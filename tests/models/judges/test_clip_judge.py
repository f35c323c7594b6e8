from __future__ import annotations

import importlib
import shutil
import sys
import types
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from tokenizers import Tokenizer
from torchvision.transforms.functional import InterpolationMode, resize

from ivideo.errors import UsageError
from ivideo.models import judges
from ivideo.models.judges import (
    CLIP_MEAN,
    CLIP_STD,
    EMOJI_PREFERENCE,
    load_judge,
    preprocess,
)

CPU = torch.device("cpu")
PROMPTS = ["a cat surfing on a wave", "an owl"]


def random_frames(*shape):
    """Smooth random frames in [0, 1], in whole steps of 1 / 255."""
    coarse = torch.rand((shape[0] * shape[1], 3, 5, 5), generator=torch.Generator().manual_seed(0))
    fine = F.interpolate(coarse, size=shape[2:], mode="bilinear", align_corners=False)
    return (fine * 255).round().div(255).unflatten(0, shape[:2])


def to_image(frame):
    return Image.fromarray((frame * 255).round().byte().permute(1, 2, 0).numpy())


def denormalise(images):
    return images * torch.tensor(CLIP_STD)[:, None, None] + torch.tensor(CLIP_MEAN)[:, None, None]


@pytest.fixture(scope="module")
def emoji_judge():
    return load_judge("emoji-preference", CPU)


def test_bundled_judge_equals_open_clips_own_loader_and_transforms(emoji_judge, tmp_path):
    shutil.copy(EMOJI_PREFERENCE / "open_clip_config.json", tmp_path)
    shutil.copy(EMOJI_PREFERENCE / "model.safetensors", tmp_path / "open_clip_model.safetensors")
    network, transform = open_clip.create_model_from_pretrained(f"local-dir:{tmp_path}", image_resize_mode="longest")
    tokenizer = Tokenizer.from_file(str(EMOJI_PREFERENCE / "tokenizer.json"))
    frames = random_frames(2, 3, 64, 64)
    expected = torch.empty(2, 3)
    with torch.no_grad():
        for row, prompt in enumerate(PROMPTS):
            ids = tokenizer.encode(prompt).ids
            ids += [ids[-1]] * (network.context_length - len(ids))
            text = network.encode_text(torch.tensor([ids]), normalize=True)[0]
            for column in range(3):
                image = transform(to_image(frames[row, column]))[None]
                expected[row, column] = network.encode_image(image, normalize=True)[0] @ text
    scores = emoji_judge.score_frames(frames, PROMPTS)
    assert list(scores) == ["emoji-preference"]
    torch.testing.assert_close(scores["emoji-preference"], expected, rtol=0, atol=1e-5)


def test_bundled_judge_says_that_its_preferences_are_simulated(emoji_judge):
    assert "simulated" in emoji_judge.label
    assert emoji_judge.is_differentiable


def test_score_is_the_plain_cosine(small_judge, make_clip):
    frames = random_frames(2, 2, 224, 224)
    network, tokens = make_clip().eval(), open_clip.get_tokenizer("ViT-H-14")(PROMPTS)
    with torch.no_grad():
        images = network.encode_image(preprocess(frames.flatten(0, 1), 224)).unflatten(0, (2, 2))
        expected = F.cosine_similarity(images, network.encode_text(tokens)[:, None], dim=-1)
    torch.testing.assert_close(small_judge.score_frames(frames, PROMPTS)["small"], expected, rtol=0, atol=1e-6)


def test_score_of_a_frame_does_not_depend_on_its_company(emoji_judge):
    frames = random_frames(2, 4, 64, 64)
    together = emoji_judge.score_frames(frames, PROMPTS)["emoji-preference"]
    assert together.shape == (2, 4)
    for row, prompt in enumerate(PROMPTS):
        for column in range(4):
            alone = emoji_judge.score_frames(frames[row : row + 1, column : column + 1], [prompt])["emoji-preference"]
            torch.testing.assert_close(alone[0, 0], together[row, column], rtol=0, atol=1e-5)
    swapped = emoji_judge.score_frames(frames.flip(0), PROMPTS[::-1])["emoji-preference"]
    torch.testing.assert_close(swapped.flip(0), together, rtol=0, atol=1e-5)
    assert (together[0] - emoji_judge.score_frames(frames[:1], PROMPTS[1:])["emoji-preference"]).abs().max() > 1e-4


def test_gradient_of_the_score_is_that_of_differences(emoji_judge):
    frames = random_frames(1, 2, 64, 64).requires_grad_()
    scores = emoji_judge.score_frames(frames, PROMPTS[:1])["emoji-preference"]
    (gradient,) = torch.autograd.grad(scores[0, 1], frames)
    assert gradient[0, 0].eq(0).all()
    assert not any(parameter.requires_grad for parameter in emoji_judge.network.parameters())
    step = 0.002 * gradient / gradient.norm()
    with torch.no_grad():
        higher, lower = (
            emoji_judge.score_frames(frames + sign * step, PROMPTS[:1])["emoji-preference"][0, 1] for sign in (1, -1)
        )
    assert (higher - lower).item() == pytest.approx(0.004 * gradient.norm().item(), rel=0.05)


@pytest.mark.parametrize("side", [64, 224, 300])
def test_a_square_is_resized_and_nothing_else(side):
    images = random_frames(1, 2, side, side)[0]
    expected = resize(images, [224, 224], InterpolationMode.BICUBIC, antialias=True).clamp(0, 1)
    torch.testing.assert_close(denormalise(preprocess(images, 224)), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("height", "width", "rows", "columns"),
    [
        (100, 200, slice(56, 168), slice(0, 224)),
        (200, 100, slice(0, 224), slice(56, 168)),
        (224, 75, slice(0, 224), slice(74, 149)),
        (75, 224, slice(74, 149), slice(0, 224)),
    ],
)
def test_wide_and_tall_are_centred_on_black(height, width, rows, columns):
    images = random_frames(1, 2, height, width)[0]
    padded = denormalise(preprocess(images, 224))
    assert padded.shape == (2, 3, 224, 224)
    size = [rows.stop - rows.start, columns.stop - columns.start]
    inside = resize(images, size, InterpolationMode.BICUBIC, antialias=True).clamp(0, 1)
    torch.testing.assert_close(padded[:, :, rows, columns], inside, rtol=0, atol=1e-5)
    padded[:, :, rows, columns] = 0
    assert padded.abs().max() < 1e-6


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    """The open_clip fork inside hpsv2, without the parts that fail to import, with the vocabulary its wheel lacks."""
    source = Path(importlib.import_module("hpsv2").__file__).parent / "src" / "open_clip"
    folder = tmp_path_factory.mktemp("hpsv2") / "fork"
    shutil.copytree(source, folder, ignore=shutil.ignore_patterns("__pycache__", "__init__.py", "model_configs"))
    shutil.copy(open_clip.tokenizer.default_bpe(), folder / "bpe_simple_vocab_16e6.txt.gz")
    package = types.ModuleType("hpsv2_fork")
    package.__path__ = [str(folder)]
    sys.modules["hpsv2_fork"] = package
    yield types.SimpleNamespace(
        **{name: importlib.import_module(f"hpsv2_fork.{name}") for name in ("model", "tokenizer", "transform")}
    )
    for name in [name for name in sys.modules if name.split(".")[0] == "hpsv2_fork"]:
        del sys.modules[name]


@pytest.mark.parametrize(("height", "width"), [(64, 64), (256, 256), (100, 200), (320, 180)])
def test_preprocessing_is_hpsv2s(official, height, width):
    images = random_frames(1, 1, height, width)[0]
    transform = official.transform.image_transform(224, is_train=False, resize_longest_max=True)
    # The official one resizes bytes: half a step of 1 / 255, over the smallest deviation, and a little for rounding.
    torch.testing.assert_close(preprocess(images, 224)[0], transform(to_image(images[0])), rtol=0, atol=0.012)


def test_score_is_hpsv2s(official, small_judge, make_clip, clip_sizes):
    network = official.model.CLIP(
        clip_sizes["embed_dim"], official.model.CLIPVisionCfg(**clip_sizes["vision_cfg"]), clip_sizes["text_cfg"]
    ).eval()
    network.load_state_dict(make_clip().state_dict())
    frames = random_frames(2, 2, 224, 224)
    transform = official.transform.image_transform(224, is_train=False, resize_longest_max=True)
    with torch.no_grad():
        for row, prompt in enumerate(PROMPTS):
            images = torch.stack([transform(to_image(frame)) for frame in frames[row]])
            image_features, text_features, _ = network(images, official.tokenizer.tokenize([prompt]))
            expected = (image_features @ text_features.T)[:, 0]
            scores = small_judge.score_frames(frames[row : row + 1], [prompt])["small"][0]
            torch.testing.assert_close(scores, expected, rtol=0, atol=1e-5)


def test_an_unknown_reward():
    with pytest.raises(UsageError, match=r"^unknown reward 'clip': one of emoji-preference, hpsv2, hpsv2\.1$"):
        load_judge("clip", CPU)
    assert {*judges.HPS_VERSIONS} < {*judges.JUDGES}


def test_frames_of_any_float_type_are_scored_alike(emoji_judge):
    clip = np.asarray(to_image(random_frames(1, 1, 64, 64)[0, 0]))
    frames = torch.from_numpy(clip.copy()).permute(2, 0, 1)[None, None]
    exact = emoji_judge.score_frames(frames / 255, PROMPTS[:1])["emoji-preference"]
    double = emoji_judge.score_frames(frames.double() / 255, PROMPTS[:1])["emoji-preference"]
    torch.testing.assert_close(double, exact, rtol=0, atol=1e-6)
    assert exact.dtype == torch.float32
