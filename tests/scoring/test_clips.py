"""Frames of several clips on their way to reward models: who sees what, in which company, and what it becomes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from ivideo.errors import IvideoError
from ivideo.metrics.by_reward import consistency
from ivideo.rewards.contract import RewardModel
from ivideo.rewards.mixture import Rewards, parse_rewards
from ivideo.rewards.registry import load_reward
from ivideo.scoring import clips as scoring
from ivideo.scoring.clips import FrameBatcher, PendingClip, check_scores, frames_to_tensor, plan_clip

PROMPTS = ["a cat surfing", "an owl flying", "a pig"]


class OwnReward(RewardModel):
    """Likes bright frames, and remembers what it was shown."""

    name, label = "own", "mean pixel"

    def __init__(self) -> None:
        self.calls: list[tuple[int, int, list[str]]] = []

    def score(self, frames: Tensor, prompts: Sequence[str], times: Tensor) -> Tensor:
        self.calls.append((*frames.shape[:2], list(prompts)))
        return frames.mean((2, 3, 4))


class Fading(RewardModel):
    """Likes whole clips whose last frame is darker than the first one, for each second between them."""

    name, label, scope, fps = "fading", "loss of light a second", "clip", 2.0

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def score(self, frames: Tensor, prompts: Sequence[str], times: Tensor) -> Tensor:
        self.shapes.append(tuple(frames.shape[:2]))
        light = frames.mean((2, 3, 4))
        return (light[:, 0] - light[:, -1]) / (times[:, -1] - times[:, 0])


@pytest.fixture(scope="module")
def emoji_reward():
    return load_reward("emoji-preference", torch.device("cpu"))


def make_frames(num_frames: int, seed: int, side: int = 64) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (num_frames, side, side, 3), np.uint8)


def ask(*texts: str, models: Sequence[RewardModel]) -> Rewards:
    return Rewards(parse_rewards(texts), {model.name: model for model in models})


def score_clips(
    rewards: Rewards, clips: Sequence[np.ndarray], batch_size: int, max_frames: int = 64
) -> list[PendingClip]:
    batcher = FrameBatcher(rewards, batch_size)
    plan = {"num_segments": 4, "max_frames": max_frames}
    scored = [plan_clip(rewards, PROMPTS[i], len(frames), 8.0, **plan) for i, frames in enumerate(clips)]
    for clip, frames in zip(scored, clips, strict=True):
        for index in clip.seen_indices:
            batcher.add(clip, index, frames[index])
    batcher.flush()
    assert all(clip.is_complete for clip in scored)
    return scored


def test_the_batch_changes_no_score(emoji_reward) -> None:
    clips = [make_frames(7, 0), make_frames(4, 1), make_frames(5, 2, side=48)]
    one, few, all_at_once = (score_clips(Rewards.of(emoji_reward), clips, size) for size in (1, 3, 64))
    for number, frames in enumerate(clips):
        expected = emoji_reward.score(frames_to_tensor(frames)[None], [PROMPTS[number]])[0]
        for scored in (one, few, all_at_once):
            score = scored[number].score(1.0)
            assert score.frame_rewards == pytest.approx(expected.tolist(), abs=1e-5)
            assert score.reward == pytest.approx(expected[score.segment_indices].mean().item(), abs=1e-5)


def test_frames_of_several_clips_go_in_one_forward(emoji_reward, monkeypatch) -> None:
    shapes = []
    encode = emoji_reward.encode_frames
    monkeypatch.setattr(
        emoji_reward, "encode_frames", lambda frames: shapes.append(tuple(frames.shape)) or encode(frames)
    )
    score_clips(Rewards.of(emoji_reward), [make_frames(5, 0), make_frames(4, 1), make_frames(4, 2, side=48)], 6)
    assert shapes == [(6, 1, 3, 64, 64), (3, 1, 3, 64, 64), (4, 1, 3, 48, 48)]


def test_large_frames_come_in_smaller_batches(emoji_reward, monkeypatch) -> None:
    monkeypatch.setattr(scoring, "MAX_BATCH_BYTES", 2 * 64 * 64 * 3)
    shapes = []
    encode = emoji_reward.encode_frames
    monkeypatch.setattr(emoji_reward, "encode_frames", lambda frames: shapes.append(len(frames)) or encode(frames))
    score_clips(Rewards.of(emoji_reward), [make_frames(5, 0)], 16)
    assert shapes == [2, 2, 1]


def test_consistency_is_that_of_the_models_own_features(emoji_reward) -> None:
    frames = make_frames(6, 0) // 2 + 60
    (clip,) = score_clips(Rewards.of(emoji_reward), [frames], 4)
    with torch.no_grad():
        features = emoji_reward.encode_frames(frames_to_tensor(frames)[None])[0]
    assert clip.score(1.0)["consistency"] == pytest.approx(consistency(features), abs=1e-5)
    (frozen,) = score_clips(Rewards.of(emoji_reward), [frames[:1].repeat(5, axis=0)], 4)
    assert frozen.score(1.0)["consistency"] == pytest.approx(1, abs=1e-6)


def test_without_a_curve_only_the_segments_are_seen_and_nothing_is_said_of_consistency(emoji_reward) -> None:
    (clip,) = score_clips(Rewards.of(emoji_reward), [make_frames(9, 0)], 4, max_frames=0)
    score = clip.score(1.0)
    assert score.frame_indices == score.segment_indices == [0, 2, 4, 6]
    assert score["consistency"] is None


def test_a_function_of_ones_own_sees_one_clip_at_a_time_and_the_segments_together() -> None:
    reward_model = OwnReward()
    clips = [make_frames(9, 0), make_frames(6, 1)]
    for clip, frames in zip(score_clips(Rewards.of(reward_model), clips, 3), clips, strict=True):
        means = (frames / 255).mean((1, 2, 3))
        score = clip.score(None)
        assert score.frame_rewards == pytest.approx(means, abs=1e-6)
        assert score.reward == score["attenuated_reward"] == pytest.approx(means[clip.segment_indices].mean(), abs=1e-6)
        assert score["consistency"] is None
    cat, owl = [[prompt] for prompt in PROMPTS[:2]]
    assert sorted(reward_model.calls) == sorted([(1, 4, cat), (1, 3, cat), (1, 2, cat), (1, 4, owl), (1, 2, owl)])


def test_several_models_and_their_sums_are_all_there(emoji_reward) -> None:
    models = [emoji_reward, OwnReward()]
    rewards = ask("emoji-preference=1,own=2", "own", models=models)
    frames = make_frames(5, 0)
    (clip,) = score_clips(rewards, [frames], 3)
    score = clip.score(1.0)
    assert list(score.rewards) == ["emoji-preference=1,own=2", "own", "emoji-preference"]
    expected = score.rewards["emoji-preference"] + 2 * score.rewards["own"]
    assert score.reward == pytest.approx(expected, abs=1e-6)
    (alone,) = score_clips(Rewards.of(emoji_reward), [frames], 3)
    own = alone.score(1.0)
    assert score.rewards["emoji-preference"] == pytest.approx(own.reward, abs=1e-5)
    assert score["consistency"] == pytest.approx(own["consistency"], abs=1e-5)
    last = ask("own", "emoji-preference", models=models)
    assert score_clips(last, [frames], 3)[0].score(1.0)["consistency"] is None


def test_a_whole_clip_is_scored_once_by_the_frames_that_are_wanted() -> None:
    fading, own = Fading(), OwnReward()
    clips = [make_frames(9, 0), make_frames(6, 1)]
    rewards = ask("fading", "own=2,fading=0.5", models=[fading, own])
    for clip, frames in zip(score_clips(rewards, clips, 3), clips, strict=True):
        light = (frames / 255).mean((1, 2, 3))
        wanted = clip.clip_indices["fading"]
        assert wanted == [0, 4, 8][: len(frames) // 3]
        expected = (light[0] - light[wanted[-1]]) / (wanted[-1] / 8)
        score = clip.score(1.0)
        assert score.reward == score["attenuated_reward"] == score["fading"] == pytest.approx(expected, abs=1e-6)
        assert (score.frame_indices, score.frame_rewards, score.segment_indices) == (None, None, None)
        assert score["consistency"] is None
        mixed = 2 * light[clip.segment_indices].mean() + 0.5 * expected
        assert score["own=2,fading=0.5"] == pytest.approx(mixed, abs=1e-6)
    assert fading.shapes == [(1, 3), (1, 2)]


def test_whole_clips_alone_see_only_the_frames_that_are_wanted_and_none_is_kept() -> None:
    batcher = FrameBatcher(Rewards.of(Fading()), 3)
    clip = plan_clip(batcher.rewards, "a cat", 9, 8.0, num_segments=4, max_frames=64)
    assert clip.seen_indices == [0, 4, 8]
    for index in clip.seen_indices:
        assert not clip.is_complete
        batcher.add(clip, index, np.zeros((8, 8, 3), np.uint8))
    assert clip.is_complete
    assert batcher._kept == {}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_score_that_is_no_number_names_its_reward_model(value: float) -> None:
    assert check_scores("mine", [0.5, -2.0]) == [0.5, -2.0]
    with pytest.raises(IvideoError, match=r"^reward mine gives a score that is no finite number$"):
        check_scores("mine", [0.5, value])
