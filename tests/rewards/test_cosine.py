"""The cosine that reward models of CLIP's architecture give, and the bundled one against open_clip's own loader."""

from __future__ import annotations

import shutil

import numpy as np
import open_clip
import pytest
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

from ivideo.errors import UsageError
from ivideo.rewards import cosine
from ivideo.rewards.emoji_world import EMOJI_CLIP, EMOJI_PREFERENCE
from ivideo.rewards.registry import load_reward

CPU = torch.device("cpu")
PROMPTS = ["a cat surfing on a wave", "an owl"]


@pytest.fixture(scope="module")
def emoji_reward():
    return load_reward("emoji-preference", CPU)


@pytest.mark.parametrize(("name", "folder"), [("emoji-preference", EMOJI_PREFERENCE), ("emoji-clip", EMOJI_CLIP)])
def test_bundled_models_equal_open_clips_own_loader_and_transforms(name, folder, tmp_path, random_frames, to_image):
    shutil.copy(folder / "open_clip_config.json", tmp_path)
    shutil.copy(folder / "model.safetensors", tmp_path / "open_clip_model.safetensors")
    network, transform = open_clip.create_model_from_pretrained(f"local-dir:{tmp_path}", image_resize_mode="longest")
    network.eval()  # open_clip leaves batch normalisation learning
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
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
    scores = load_reward(name, CPU).score(frames, PROMPTS)
    torch.testing.assert_close(scores, expected, rtol=0, atol=1e-5)


def test_a_score_does_not_depend_on_what_was_scored_before(random_frames):
    """To the last bit: a run that is taken up again has scored less before than one that never stopped."""
    frames, prompts = random_frames(3, 1, 64, 64), ["a cat surfing on a wave", "an owl", "a dog"]
    whole, resumed = (load_reward("emoji-preference", CPU) for _ in range(2))
    for prompt in prompts:
        whole.score(frames[:1], [prompt])
    scores = [reward_model.score(frames, prompts) for reward_model in (whole, resumed)]
    assert torch.equal(*scores)


def test_the_bundled_model_says_that_its_preferences_are_simulated(emoji_reward):
    assert "simulated" in emoji_reward.label
    assert emoji_reward.is_differentiable
    other = load_reward("emoji-clip", CPU)
    assert other.is_differentiable
    assert "preference" not in other.label


def test_bundled_models_share_no_weight():
    """The second one is another network, or it would be no second opinion."""
    first, second = (load_reward(name, CPU).network.state_dict() for name in ("emoji-preference", "emoji-clip"))
    same = [name for name in first.keys() & second.keys() if torch.equal(first[name], second[name])]
    assert [name for name in same if first[name].is_floating_point() and first[name].numel() > 1] == []
    assert first["visual.conv1.weight"].shape != second["visual.conv1.weight"].shape


def test_score_is_the_plain_cosine(small_reward, make_clip, random_frames):
    frames = random_frames(2, 2, 224, 224)
    network, tokens = make_clip().eval(), open_clip.get_tokenizer("ViT-H-14")(PROMPTS)
    with torch.no_grad():
        images = network.encode_image(small_reward.preprocessing(frames.flatten(0, 1))).unflatten(0, (2, 2))
        expected = F.cosine_similarity(images, network.encode_text(tokens)[:, None], dim=-1)
    torch.testing.assert_close(small_reward.score(frames, PROMPTS), expected, rtol=0, atol=1e-6)


def test_the_score_comes_from_the_features_that_it_gives(emoji_reward, random_frames):
    frames = random_frames(2, 3, 64, 48)
    features = emoji_reward.encode_frames(frames)
    torch.testing.assert_close(features.norm(dim=-1), torch.ones(2, 3))
    scores = emoji_reward.score(frames, PROMPTS)
    assert torch.equal(emoji_reward.score_features(features, PROMPTS), scores)


def test_prompts_are_forgotten_before_they_fill_the_memory(emoji_reward, random_frames, monkeypatch):
    monkeypatch.setattr(cosine, "MAX_KEPT_PROMPTS", 3)
    features = emoji_reward.encode_frames(random_frames(1, 1, 64, 64))
    first = [emoji_reward.score_features(features, [f"a cat number {number}"]).item() for number in range(9)]
    assert len(emoji_reward._text_features) <= 4
    again = [emoji_reward.score_features(features, [f"a cat number {number}"]).item() for number in range(9)]
    assert again == first
    assert len({*first}) == 9


def test_score_of_a_frame_does_not_depend_on_its_company(emoji_reward, random_frames):
    frames = random_frames(2, 4, 64, 64)
    together = emoji_reward.score(frames, PROMPTS)
    assert together.shape == (2, 4)
    for row, prompt in enumerate(PROMPTS):
        for column in range(4):
            alone = emoji_reward.score(frames[row : row + 1, column : column + 1], [prompt])
            torch.testing.assert_close(alone[0, 0], together[row, column], rtol=0, atol=1e-5)
    swapped = emoji_reward.score(frames.flip(0), PROMPTS[::-1])
    torch.testing.assert_close(swapped.flip(0), together, rtol=0, atol=1e-5)
    assert (together[0] - emoji_reward.score(frames[:1], PROMPTS[1:])).abs().max() > 1e-4


@pytest.mark.parametrize("name", ["emoji-preference", "emoji-clip"])
def test_gradient_of_the_score_is_that_of_differences(name, random_frames):
    reward_model = load_reward(name, CPU)
    frames = random_frames(1, 2, 64, 64).requires_grad_()
    scores = reward_model.score(frames, PROMPTS[:1])
    (gradient,) = torch.autograd.grad(scores[0, 1], frames)
    assert gradient[0, 0].eq(0).all()
    assert not any(parameter.requires_grad for parameter in reward_model.network.parameters())
    step = 0.002 * gradient / gradient.norm()
    with torch.no_grad():
        higher, lower = (reward_model.score(frames + sign * step, PROMPTS[:1])[0, 1] for sign in (1, -1))
    assert (higher - lower).item() == pytest.approx(0.004 * gradient.norm().item(), rel=0.05)


def test_frames_of_any_float_type_are_scored_alike(emoji_reward, random_frames, to_image):
    clip = np.asarray(to_image(random_frames(1, 1, 64, 64)[0, 0]))
    frames = torch.from_numpy(clip.copy()).permute(2, 0, 1)[None, None]
    exact = emoji_reward.score(frames / 255, PROMPTS[:1])
    double = emoji_reward.score(frames.double() / 255, PROMPTS[:1])
    torch.testing.assert_close(double, exact, rtol=0, atol=1e-6)
    assert exact.dtype == torch.float32


@pytest.mark.parametrize("name", ["emoji-preference", "emoji-clip"])
def test_the_bundled_models_take_no_file(name):
    with pytest.raises(UsageError, match=rf"^reward {name}:x.pt: {name} is bundled and takes no file$"):
        load_reward(f"{name}:x.pt", CPU)
