"""Names of judges."""

from __future__ import annotations

import pytest
import torch

from ivideo.errors import UsageError
from ivideo.models.judges import Jury, load_judge, load_judges
from ivideo.models.judges.hps import HPS_VERSIONS
from ivideo.models.judges.load import JUDGES, find_loader

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
        load_judge(name, CPU)
    assert (
        "one of emoji-preference, emoji-clip, hpsv2, hpsv2.1, pickscore, clip, FILE.py:function or a checkpoint"
        in str(caught.value)
    )
    assert {*HPS_VERSIONS} < {*JUDGES}


def test_a_slip_of_the_finger_is_guessed():
    with pytest.raises(UsageError, match="did you mean emoji-preference"):
        load_judges("emoji_preference", CPU)


def test_a_file_is_not_given_like_a_weight():
    with pytest.raises(UsageError, match=r"what follows = is a weight, a number; a file is hpsv2:FILE$"):
        load_judges("hpsv2=best.pt", CPU)


def test_an_unknown_judge_of_several_is_told_before_any_is_loaded(monkeypatch):
    monkeypatch.setitem(JUDGES, "clip", lambda *_: pytest.fail("it was loaded"))
    with pytest.raises(UsageError, match="unknown reward 'nope'"):
        load_judges(["clip", "clip=1,nope=1"], CPU)


def test_one_judge_stays_itself_and_several_are_a_jury_of_judges_loaded_once(monkeypatch, small_judge):
    loaded = []

    def load(name, source, device):
        loaded.append(name)
        return small_judge

    monkeypatch.setitem(JUDGES, "clip", load)
    assert load_judges("clip", CPU) is small_judge
    assert load_judges(["clip"], CPU) is small_judge
    loaded.clear()
    jury = load_judges(["clip=2", "clip"], CPU)
    assert isinstance(jury, Jury)
    assert jury.name == "clip=2"
    assert loaded == ["clip"]
