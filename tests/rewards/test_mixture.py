from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from ivideo.rewards.contract import RewardModel
from ivideo.rewards.mixture import Reward, Rewards, Score, add_up, average, parse_rewards

FRAMES = torch.full((1, 2, 3, 4, 4), 0.25)
TIMES = torch.tensor([[0.0, 0.5]])


class Power(RewardModel):
    """Scores a frame by a power of its mean."""

    def __init__(self, name: str, exponent: int, is_differentiable: bool = True) -> None:
        self.name, self.label, self.exponent = name, f"the power {exponent}", exponent
        self.is_differentiable = is_differentiable
        self.calls = 0

    def score(self, frames: Tensor, prompts: Sequence[str], times: Tensor) -> Tensor:
        self.calls += 1
        return frames.mean((2, 3, 4)) ** self.exponent


class Whole(RewardModel):
    """Scores whole clips by their length in frames."""

    name, label, scope, fps = "whole", "its length", "clip", 2.0

    def score(self, frames: Tensor, prompts: Sequence[str], times: Tensor) -> Tensor:
        return torch.full((len(frames),), float(frames.shape[1]))


def make_rewards(*texts: str) -> Rewards:
    models = {"one": Power("one", 1), "two": Power("two", 2), "hard": Power("hard", 3, is_differentiable=False)}
    return Rewards(parse_rewards(texts), {**models, "whole": Whole()})


def test_rewards_come_first_then_their_parts_and_each_model_looks_once():
    rewards = make_rewards("one=1,two=4", "two", "hard")
    scores = rewards.sum_up(rewards.score_frames(FRAMES, ["a cat"], TIMES)[0])
    assert list(scores) == list(rewards.labels) == ["one=1,two=4", "two", "hard", "one"]
    assert scores["one=1,two=4"].frame.tolist() == [[0.5, 0.5]]  # 0.25 + 4 * 0.25 ** 2
    assert scores["one"].frame.tolist() == [[0.25, 0.25]]
    assert [model.calls for model in rewards.models.values()] == [1, 1, 1]


def test_it_is_read_as_its_first_reward():
    rewards = make_rewards("one=1,two=0.5", "hard")
    assert (rewards.name, rewards.label) == ("one=1,two=0.5", "1 x the power 1 + 0.5 x the power 2")
    assert rewards.labels["hard"] == "the power 3"
    assert make_rewards("one").labels == {"one": "the power 1"}


@pytest.mark.parametrize(
    ("texts", "is_differentiable"), [(["one", "hard"], True), (["hard", "one"], False), (["one=1,hard=1"], False)]
)
def test_the_first_reward_says_whether_there_are_gradients(texts, is_differentiable):
    assert make_rewards(*texts).is_differentiable is is_differentiable


def test_only_the_first_reward_is_trained_on():
    assert list(make_rewards("one", "hard").trained.labels) == ["one"]
    assert list(make_rewards("one=1,two=2", "hard").trained.labels) == ["one=1,two=2", "one", "two"]


def test_the_gradient_of_a_sum_is_the_sum_of_the_gradients():
    frames = FRAMES.clone().requires_grad_()
    rewards = make_rewards("one=1,two=4")
    scores, _ = rewards.score_frames(frames, ["a cat"], TIMES)
    rewards.sum_up(scores)[rewards.name].frame[0, 0].backward()
    assert frames.grad[0, 0].sum().item() == pytest.approx(1 + 4 * 2 * 0.25)
    assert frames.grad[0, 1].eq(0).all()


def test_weights_of_a_sum():
    scores = {"a": Score(frame=torch.tensor([0.25])), "b": Score(frame=torch.tensor([0.2]))}
    assert add_up(Reward("", {"a": 1, "b": 0.5}), scores).mean().item() == pytest.approx(0.35)


def test_frames_and_whole_clips_are_added_and_only_frames_are_attenuated():
    rewards = make_rewards("one=2,whole=0.5", "whole")
    assert rewards.choose_frames(16, 8.0) == {"whole": [0, 4, 8, 12]}
    scores = rewards.sum_up({"one": torch.tensor([[0.25, 0.75]]), "whole": torch.tensor([4.0])})
    mixed = scores["one=2,whole=0.5"]
    assert mixed.mean().tolist() == [2 * 0.5 + 0.5 * 4]
    assert mixed.attenuated(torch.tensor([[1.0, 0.0]])).tolist() == [2 * 0.25 / 2 + 0.5 * 4]
    assert scores["whole"].attenuated(torch.tensor([[1.0, 0.0]])).tolist() == scores["whole"].mean().tolist() == [4]
    other = Score(frame=torch.tensor([[0.0, 0.0]]), clip=torch.tensor([1.0]))
    mean = average([mixed, other])
    assert (mean.frame.tolist(), mean.clip.tolist()) == ([[0.25, 0.75]], [1.5])


@pytest.mark.parametrize(
    ("num_frames", "fps", "wanted", "chosen"),
    [
        (16, 8, 2, [0, 4, 8, 12]),
        (5, 30, 8, [0, 4]),
        (3, 8, 8, [0, 1, 2]),
        (4, 1, 2, [0, 1, 2, 3]),
        (3, 8, None, [0, 1, 2]),
        (1, 8, 2, [0]),
        (20, 8, None, [0, 3, 5, 8, 10, 13, 15, 18]),
        (3000, 8, 2, [375 * k for k in range(8)]),
    ],
)
def test_frames_are_chosen_evenly_in_time_and_not_too_many(num_frames, fps, wanted, chosen):
    model = Whole()
    model.fps, model.max_frames = wanted, 8
    assert model.choose_frames(num_frames, fps) == chosen
