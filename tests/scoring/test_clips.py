"""Frames of several clips before one judge: who sees what, in which company, and what becomes of the scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from ivideo.metrics.by_reward import consistency
from ivideo.rewards.mixture import Mixture, parse_rewards
from ivideo.rewards.registry import load_reward
from ivideo.scoring import clips as judging
from ivideo.scoring.clips import FrameBatcher, PendingClip, frames_to_tensor, plan_clip

PROMPTS = ["a cat surfing", "an owl flying", "a pig"]


class OwnJudge:
    """Likes bright frames, and remembers what it was shown."""

    name, label, is_differentiable = "own", "mean pixel", True

    def __init__(self) -> None:
        self.calls: list[tuple[int, int, list[str]]] = []

    def score_frames(self, frames: Tensor, prompts: Sequence[str]) -> dict[str, Tensor]:
        self.calls.append((*frames.shape[:2], list(prompts)))
        return {self.name: frames.mean((2, 3, 4))}


@pytest.fixture(scope="module")
def emoji_judge():
    return load_reward("emoji-preference", torch.device("cpu"))


def make_frames(num_frames: int, seed: int, side: int = 64) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (num_frames, side, side, 3), np.uint8)


def judge_clips(reward_model, clips: Sequence[np.ndarray], batch_size: int, max_frames: int = 64) -> list[PendingClip]:
    bench = FrameBatcher(reward_model, batch_size)
    scored = [plan_clip(PROMPTS[i], len(frames), 4, max_frames) for i, frames in enumerate(clips)]
    for clip, frames in zip(scored, clips, strict=True):
        for index in clip.frame_indices:
            bench.add(clip, index, frames[index])
    bench.flush()
    assert all(clip.is_complete for clip in scored)
    return scored


def test_the_batch_changes_no_score(emoji_judge) -> None:
    clips = [make_frames(7, 0), make_frames(4, 1), make_frames(5, 2, side=48)]
    one, few, all_at_once = (judge_clips(emoji_judge, clips, size) for size in (1, 3, 64))
    for number, frames in enumerate(clips):
        expected = emoji_judge.score_frames(frames_to_tensor(frames)[None], [PROMPTS[number]])["emoji-preference"][0]
        for scored in (one, few, all_at_once):
            score = scored[number].score("emoji-preference", 1.0)
            assert score.frame_rewards == pytest.approx(expected.tolist(), abs=1e-5)
            assert score.reward == pytest.approx(expected[score.segment_indices].mean().item(), abs=1e-5)


def test_frames_of_several_clips_go_in_one_forward(emoji_judge, monkeypatch) -> None:
    shapes = []
    encode = emoji_judge.encode_frames
    monkeypatch.setattr(
        emoji_judge, "encode_frames", lambda frames: shapes.append(tuple(frames.shape)) or encode(frames)
    )
    judge_clips(emoji_judge, [make_frames(5, 0), make_frames(4, 1), make_frames(4, 2, side=48)], 6)
    assert shapes == [(6, 1, 3, 64, 64), (3, 1, 3, 64, 64), (4, 1, 3, 48, 48)]


def test_large_frames_come_in_smaller_batches(emoji_judge, monkeypatch) -> None:
    monkeypatch.setattr(judging, "MAX_BATCH_BYTES", 2 * 64 * 64 * 3)
    shapes = []
    encode = emoji_judge.encode_frames
    monkeypatch.setattr(emoji_judge, "encode_frames", lambda frames: shapes.append(len(frames)) or encode(frames))
    judge_clips(emoji_judge, [make_frames(5, 0)], 16)
    assert shapes == [2, 2, 1]


def test_consistency_is_that_of_the_judges_own_features(emoji_judge) -> None:
    frames = make_frames(6, 0) // 2 + 60
    (clip,) = judge_clips(emoji_judge, [frames], 4)
    with torch.no_grad():
        features = emoji_judge.encode_frames(frames_to_tensor(frames)[None])[0]
    assert clip.score("emoji-preference", 1.0)["consistency"] == pytest.approx(consistency(features), abs=1e-5)
    (frozen,) = judge_clips(emoji_judge, [frames[:1].repeat(5, axis=0)], 4)
    assert frozen.score("emoji-preference", 1.0)["consistency"] == pytest.approx(1, abs=1e-6)


def test_without_a_curve_only_the_segments_are_seen_and_nothing_is_said_of_consistency(emoji_judge) -> None:
    (clip,) = judge_clips(emoji_judge, [make_frames(9, 0)], 4, max_frames=0)
    score = clip.score("emoji-preference", 1.0)
    assert score.frame_indices == score.segment_indices == [0, 2, 4, 6]
    assert score["consistency"] is None


def test_a_function_of_ones_own_sees_one_clip_at_a_time_and_the_segments_together() -> None:
    reward_model = OwnJudge()
    clips = [make_frames(9, 0), make_frames(6, 1)]
    for clip, frames in zip(judge_clips(reward_model, clips, 3), clips, strict=True):
        means = (frames / 255).mean((1, 2, 3))
        score = clip.score("own", None)
        assert score.frame_rewards == pytest.approx(means, abs=1e-6)
        assert score.reward == score["attenuated_reward"] == pytest.approx(means[clip.segment_indices].mean(), abs=1e-6)
        assert score["consistency"] is None
    cat, owl = [[prompt] for prompt in PROMPTS[:2]]
    assert sorted(reward_model.calls) == sorted([(1, 4, cat), (1, 3, cat), (1, 2, cat), (1, 4, owl), (1, 2, owl)])


def test_several_judges_and_their_sums_are_all_there(emoji_judge) -> None:
    jury = Mixture(
        parse_rewards(["emoji-preference=1,own=2", "own"]), {"emoji-preference": emoji_judge, "own": OwnJudge()}
    )
    frames = make_frames(5, 0)
    (clip,) = judge_clips(jury, [frames], 3)
    score = clip.score(jury.name, 1.0)
    assert list(score.rewards) == ["emoji-preference=1,own=2", "own", "emoji-preference"]
    expected = score.rewards["emoji-preference"] + 2 * score.rewards["own"]
    assert score.reward == pytest.approx(expected, abs=1e-6)
    (alone,) = judge_clips(emoji_judge, [frames], 3)
    own = alone.score("emoji-preference", 1.0)
    assert score.rewards["emoji-preference"] == pytest.approx(own.reward, abs=1e-5)
    assert score["consistency"] == pytest.approx(own["consistency"], abs=1e-5)
    last = Mixture(parse_rewards(["own", "emoji-preference"]), jury.judges)
    assert judge_clips(last, [frames], 3)[0].score("own", 1.0)["consistency"] is None
