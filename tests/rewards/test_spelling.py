from __future__ import annotations

import pytest

from ivideo.errors import UsageError
from ivideo.rewards.mixture import parse_reward, parse_rewards


@pytest.mark.parametrize(
    "text",
    [
        "hpsv2",
        "hpsv2:dir,x/a=b.pt",
        "clip:ViT-B-32/laion2b_s34b_b79k",
        "HPS_v2.1_compressed.pt",
        "my.py:score",
        "a,b.pt",
    ],
)
def test_a_reward_model_by_itself(text):
    reward = parse_reward(f" {text} ")
    assert (reward.name, reward.weights) == (text, {text: 1.0})


@pytest.mark.parametrize(
    ("text", "weights"),
    [
        ("hpsv2=1,pickscore=0.5", {"hpsv2": 1.0, "pickscore": 0.5}),
        ("hpsv2 = 1, pickscore = .5", {"hpsv2": 1.0, "pickscore": 0.5}),
        ("hpsv2.1=2e-1", {"hpsv2.1": 0.2}),
        ("hpsv2:dir,x/a=b.pt=1,my.py:f=3", {"hpsv2:dir,x/a=b.pt": 1.0, "my.py:f": 3.0}),
    ],
)
def test_a_weighted_sum(text, weights):
    reward = parse_reward(text)
    assert (reward.name, reward.weights) == (text, weights)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "`reward` is empty: name a reward model"),
        ("hpsv2=1,pickscore", "`reward` hpsv2=1,pickscore: every reward model of a sum needs a weight, as in"),
        ("hpsv2,pickscore=1,x", "every reward model of a sum needs a weight"),
        ("hpsv2=1,pickscore=", "the weight '' of pickscore is no number"),
        ("hpsv2=1,pickscore=w.pt", "the weight 'w.pt' of pickscore is no number (a file is pickscore:FILE)"),
        ("hpsv2=0", "the weight 0 of hpsv2 must be a positive number"),
        ("hpsv2=-1,clip=1", "to lower a score, negate it in a function of your own"),
        ("hpsv2=nan", "must be a positive number"),
        ("hpsv2=inf,clip=1", "must be a positive number"),
        ("hpsv2=1,hpsv2=2", "hpsv2 stands there twice"),
    ],
)
def test_what_cannot_be_is_told(text, message):
    with pytest.raises(UsageError) as caught:
        parse_reward(text)
    assert message in str(caught.value)


def test_several_rewards_keep_their_order_and_differ():
    assert [reward.name for reward in parse_rewards(["clip", "hpsv2=1", "hpsv2"])] == ["clip", "hpsv2=1", "hpsv2"]
    with pytest.raises(UsageError, match=r"^`reward` clip was given twice$"):
        parse_rewards(["clip", "hpsv2", " clip"])
