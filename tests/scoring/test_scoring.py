"""A clip's score by a reward model that knows the answer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from torch import Tensor

import ivideo
from ivideo.config.settings import Settings
from ivideo.errors import UsageError
from ivideo.metrics.registry import compared
from ivideo.rewards.contract import RewardModel
from ivideo.rewards.mixture import Rewards
from ivideo.scoring.clips import ClipScore, compare_scores, score_clip


class Brightness(RewardModel):
    """Likes bright frames."""

    name, label = "brightness", "mean pixel"

    def score(self, frames: Tensor, prompts: Sequence[str], times: Tensor) -> Tensor:
        assert len(frames) == len(prompts) == 1
        return frames.mean((2, 3, 4))


BRIGHTNESS = Rewards.of(Brightness())


def make_settings(**values: object) -> Settings:
    return Settings(model="m", reward="r", **values)


def make_clip(*levels: int) -> np.ndarray:
    return np.stack([np.full((64, 64, 3), level, np.uint8) for level in levels])


def test_the_first_frame_of_each_segment_is_scored() -> None:
    clip = make_clip(*range(0, 160, 10))
    score = score_clip(BRIGHTNESS, clip, "a cat", make_settings())
    assert score.frame_indices == [0, 4, 8, 12]
    assert score.frame_rewards == pytest.approx([0, 40 / 255, 80 / 255, 120 / 255])
    assert score.reward == pytest.approx(60 / 255)
    weights = np.exp(-np.abs(np.array([0, 4, 8, 12]) - 8))
    assert score["attenuated_reward"] == pytest.approx((weights * np.array([0, 40, 80, 120]) / 255).mean())
    assert score["flicker"] == pytest.approx(245 / 255)


def test_no_attenuation_is_the_plain_mean() -> None:
    score = score_clip(BRIGHTNESS, make_clip(0, 51, 102, 153), "a cat", make_settings(attenuation_rate=None))
    assert score["attenuated_reward"] == pytest.approx(score.reward) == pytest.approx(76.5 / 255)


def test_all_frames_of_a_clip_with_fewer_than_segments_are_scored() -> None:
    score = score_clip(BRIGHTNESS, make_clip(0, 51, 102), "a cat", make_settings())
    assert score.segment_indices == [0, 1, 2]
    assert score.reward == pytest.approx(51 / 255)


def test_changes_are_counted_by_prompt() -> None:
    def scored(reward: float) -> ClipScore:
        return ClipScore(dict.fromkeys(compared(), 1.0) | {"reward": reward}, {}, [], [], [])

    before, after = [scored(r) for r in (0, 2, 4)], [scored(r) for r in (1, 3, 4)]
    changes = compare_scores(["a cat", "a cat", "a dog"], before, after)
    assert list(changes) == compared()
    reward = changes["reward"]
    assert (reward["mean_a"], reward["mean_b"], reward["difference"], reward["n"]) == (2.5, 3.0, 0.5, 2)
    assert reward["win_share"] == 0.75  # a win and a tie
    assert changes["motion"]["difference"] == 0


def test_the_function_gives_what_the_command_prints(base_videos: Path) -> None:
    paths = sorted(base_videos.iterdir())[:2]
    seen: list[dict[str, object]] = []
    records = ivideo.score(paths, each=seen.append)
    assert records == seen
    assert [record["path"] for record in records] == [str(path) for path in paths]
    assert ivideo.score(str(paths[0])) == records[:1]
    with pytest.raises(UsageError, match="no videos"):
        ivideo.score([])
