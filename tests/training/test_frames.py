"""What a batch is scored on, and the gradient of frames and whole clips, against arithmetic by hand."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from ivideo.core.objective import Objective, segmental_objective
from ivideo.rewards.contract import RewardModel
from ivideo.rewards.mixture import Rewards, parse_rewards
from ivideo.training.draws import BatchScorer, add_whole_clips, join_rows

CPU = torch.device("cpu")
SETTINGS: Any = SimpleNamespace(num_frames=16, fps=8.0)
DRAWN = torch.tensor([[2, 9], [4, 8]])
PIXELS = 3 * 2 * 2  # of a frame


class Light(RewardModel):
    name = label = "light"

    def score(self, frames: Tensor, prompts: Sequence[str], times: Tensor) -> Tensor:
        assert frames.shape[:2] == times.shape == (2, 2)
        torch.testing.assert_close(times, DRAWN / 8)
        return frames.mean((2, 3, 4))


class Dawn(RewardModel):
    """Grey levels a second from the first frame that it sees to the last one: of 16 at 8 a second 0, 4, 8 and 12."""

    name, label, scope, fps = "dawn", "", "clip", 2.0

    def score(self, frames: Tensor, prompts: Sequence[str], times: Tensor) -> Tensor:
        light = frames.mean((2, 3, 4))
        return (light[:, -1] - light[:, 0]) / (times[:, -1] - times[:, 0])


class Badly(Dawn):
    def score(self, frames: Tensor, prompts: Sequence[str], times: Tensor) -> Tensor:
        return frames.mean((2, 3, 4))[:, :1]


def differentiate(reward: str, dawn: RewardModel) -> tuple[Objective, list[list[int]], Tensor]:
    """Objective, decoded frames, and gradient of the loss by a pixel of each frame (2, 16); frame i has the light i."""
    videos = torch.arange(16.0).repeat(2, 1)[:, None, :, None, None].expand(2, 3, 16, 2, 2).clone().requires_grad_()
    rewards = Rewards(parse_rewards([reward]), {"light": Light(), "dawn": dawn})
    scorer = BatchScorer(rewards, ["a", "b"], DRAWN, SETTINGS, CPU)
    decoded = []

    def decode(videos: Tensor, drawn: Tensor) -> Tensor:
        decoded.append(scorer.indices.tolist())
        return videos[torch.arange(2)[:, None], :, scorer.indices]

    objective = segmental_objective(
        videos,
        scorer.drawn,
        num_frames=16,
        decode_frames=decode,
        score_frames=scorer.score_frames,
        attenuation_rate=None if reward == "dawn" else 1.0,
    )
    objective = add_whole_clips(objective, scorer.means()[reward].clip)
    objective.loss.backward()
    assert videos.grad is not None
    assert videos.grad.flatten(3).std(-1).max() == 0
    return objective, *decoded, videos.grad[:, 0, :, 0, 0]


def test_a_whole_clip_alone() -> None:
    objective, decoded, gradient = differentiate("dawn", Dawn())
    assert decoded == [[0, 4, 8, 12]] * 2
    assert objective.video_rewards.tolist() == [8, 8]  # 12 levels in 1.5 seconds
    assert objective.loss.item() == 1 - 8
    expected = torch.zeros(2, 16)
    expected[:, 0], expected[:, 12] = 1 / 1.5 / PIXELS / 2, -1 / 1.5 / PIXELS / 2
    torch.testing.assert_close(gradient, expected)


def test_single_frames_are_attenuated_beside_it_and_shared_ones_decoded_once() -> None:
    objective, decoded, gradient = differentiate("light=2,dawn=0.5", Dawn())
    assert decoded == [[0, 2, 4, 8, 9, 12], [0, 4, 8, 12, 12, 12]]
    weights = torch.exp(-(DRAWN - 8).abs().float())
    torch.testing.assert_close(objective.video_rewards, 2 * (weights * DRAWN).mean(1) + 0.5 * 8)
    assert objective.loss.item() == pytest.approx(1 - objective.video_rewards.mean().item())
    expected = torch.zeros(2, 16)
    expected.scatter_(1, DRAWN, -2 * weights / 2 / PIXELS / 2)
    expected[:, 0] += 0.5 / 1.5 / PIXELS / 2
    expected[:, 12] -= 0.5 / 1.5 / PIXELS / 2
    torch.testing.assert_close(gradient, expected)


def test_without_whole_clips_only_the_drawn_frames_are_decoded() -> None:
    objective, decoded, _ = differentiate("light", Dawn())
    assert decoded == DRAWN.tolist()
    assert objective.frame_scores.tolist() == DRAWN.tolist()


def test_a_model_that_gives_another_number_of_scores_is_a_bug() -> None:
    with pytest.raises(ValueError, match="a whole clip gets one score"):
        differentiate("dawn", Badly())


def test_rows_are_joined() -> None:
    joined = join_rows([torch.tensor([[1, 3], [2, 5]]), torch.tensor([[0, 3], [0, 4]])])
    assert joined.tolist() == [[0, 1, 3, 3], [0, 2, 4, 5]]
