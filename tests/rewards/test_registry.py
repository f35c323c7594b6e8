"""Names of reward models."""

from __future__ import annotations

import pytest
import torch

from ivideo.errors import UsageError
from ivideo.rewards.hps import HPS_VERSIONS
from ivideo.rewards.registry import REWARDS, find_loader, load_reward, load_rewards

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("hpsv2", ""),
        ("hpsv2.1:w.pt", "w.pt"),
        ("clip:ViT-B-32:w.pt", "ViT-B-32:w.pt"),
        ("pickscore:owner/name", "owner/name"),
        ("dir/HPS_v2.1.pt", "dir/HPS_v2.1.pt"),
        ("./hpsv2=x.pt", "./hpsv2=x.pt"),
        ("dir/my.py:score", "dir/my.py:score"),
    ],
)
def test_what_a_name_brings(name, source):
    assert find_loader(name)[1] == source


@pytest.mark.parametrize("name", ["nope", "hpsv2:", "my.py", "my.py:", "my.py:3", "emoji_preference", "HPSv2"])
def test_an_unknown_reward(name):
    with pytest.raises(UsageError, match=r"^unknown reward ") as caught:
        load_reward(name, CPU)
    assert (
        "one of emoji-preference, emoji-clip, hpsv2, hpsv2.1, pickscore, clip, FILE.py:function or a checkpoint"
        in str(caught.value)
    )
    assert {*HPS_VERSIONS} < {*REWARDS}


def test_a_slip_of_the_finger_is_guessed():
    with pytest.raises(UsageError, match="did you mean emoji-preference"):
        load_rewards("emoji_preference", CPU)


def test_a_file_is_not_given_like_a_weight():
    with pytest.raises(UsageError, match=r"what follows = is a weight, a number; a file is hpsv2:FILE$"):
        load_rewards("hpsv2=best.pt", CPU)


def test_an_unknown_reward_of_several_is_told_before_any_is_loaded(monkeypatch):
    monkeypatch.setitem(REWARDS, "clip", lambda *_: pytest.fail("it was loaded"))
    with pytest.raises(UsageError, match="unknown reward 'nope'"):
        load_rewards(["clip", "clip=1,nope=1"], CPU)


def test_each_model_is_loaded_once(monkeypatch, small_reward):
    loaded = []

    def load(name, source, device):
        loaded.append(name)
        return small_reward

    monkeypatch.setitem(REWARDS, "clip", load)
    assert load_rewards("clip", CPU).models == {"clip": small_reward}
    loaded.clear()
    rewards = load_rewards(["clip=2", "clip"], CPU)
    assert (rewards.name, rewards.models, loaded) == ("clip=2", {"clip": small_reward}, ["clip"])
