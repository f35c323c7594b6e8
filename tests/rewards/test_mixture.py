from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ivideo.rewards.mixture import Mixture, add_up, labels_of, parse_rewards, trained_part

FRAMES = torch.full((1, 2, 3, 4, 4), 0.25)


class Power:
    """Scores a frame by a power of its mean."""

    def __init__(self, name: str, exponent: int, is_differentiable: bool = True) -> None:
        self.name, self.label, self.exponent = name, f"the power {exponent}", exponent
        self.is_differentiable = is_differentiable
        self.calls = 0

    def score_frames(self, frames: Tensor, prompts: list[str]) -> dict[str, Tensor]:
        self.calls += 1
        return {self.name: frames.mean((2, 3, 4)) ** self.exponent}


def make_jury(*texts: str) -> Mixture:
    judges = {"one": Power("one", 1), "two": Power("two", 2), "hard": Power("hard", 3, is_differentiable=False)}
    return Mixture(parse_rewards(texts), judges)


def test_rewards_come_first_then_their_parts_and_each_judge_looks_once():
    jury = make_jury("one=1,two=4", "two", "hard")
    scores = jury.score_frames(FRAMES, ["a cat"])
    assert list(scores) == list(labels_of(jury)) == ["one=1,two=4", "two", "hard", "one"]
    assert scores["one=1,two=4"].tolist() == [[0.5, 0.5]]  # 0.25 + 4 * 0.25 ** 2
    assert scores["one"].tolist() == [[0.25, 0.25]]
    assert [reward_model.calls for reward_model in jury.judges.values()] == [1, 1, 1]


def test_it_is_read_as_its_first_reward():
    jury = make_jury("one=1,two=0.5", "hard")
    assert (jury.name, jury.label) == ("one=1,two=0.5", "1 x the power 1 + 0.5 x the power 2")
    assert labels_of(jury)["hard"] == "the power 3"
    assert labels_of(Power("one", 1)) == {"one": "the power 1"}


@pytest.mark.parametrize(
    ("rewards", "is_differentiable"), [(["one", "hard"], True), (["hard", "one"], False), (["one=1,hard=1"], False)]
)
def test_the_first_reward_says_whether_there_are_gradients(rewards, is_differentiable):
    assert make_jury(*rewards).is_differentiable is is_differentiable


def test_only_the_first_reward_is_trained_on():
    jury = make_jury("one", "hard")
    assert trained_part(jury) is jury.judges["one"]
    assert trained_part(jury.judges["hard"]) is jury.judges["hard"]
    mixed = trained_part(make_jury("one=1,two=2", "hard"))
    assert list(mixed.score_frames(FRAMES, ["a cat"])) == ["one=1,two=2", "one", "two"]


def test_the_gradient_of_a_sum_is_the_sum_of_the_gradients():
    frames = FRAMES.clone().requires_grad_()
    jury = make_jury("one=1,two=4")
    jury.score_frames(frames, ["a cat"])[jury.name][0, 0].backward()
    assert frames.grad[0, 0].sum().item() == pytest.approx(1 + 4 * 2 * 0.25)
    assert frames.grad[0, 1].eq(0).all()


def test_weights_of_a_sum():
    (reward,) = parse_rewards(["a=1,b=0.5"])
    assert add_up(reward, {"a": torch.tensor(0.25), "b": torch.tensor(0.2)}).item() == pytest.approx(0.35)
