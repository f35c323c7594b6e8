"""A second reward model is of another family, on this machine already, and never fetched."""

from __future__ import annotations

import pytest
import torch

from ivideo.errors import IvideoError
from ivideo.rewards import registry as second
from ivideo.rewards.registry import find_second_reward


@pytest.fixture
def present(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Names of reward models whose weights are on this machine; put some in."""
    names: set[str] = set()

    def load(name: str, device: torch.device) -> object:
        from huggingface_hub import constants

        assert constants.HF_HUB_OFFLINE
        if name not in names:
            raise IvideoError(f"{name} is not on this machine")
        return object()

    monkeypatch.setattr(second, "load_reward", load)
    return names


@pytest.mark.parametrize(
    ("reward", "there", "found"),
    [
        ("hpsv2", {"hpsv2", "hpsv2.1"}, None),  # the same family
        ("hpsv2", {"clip", "pickscore"}, "pickscore"),
        ("best_hpsv2.pt", {"clip", "hpsv2.1"}, "clip"),
        ("pickscore", {"clip", "hpsv2"}, "hpsv2"),
        ("hpsv2=1,pickscore=0.5", {"hpsv2.1", "pickscore", "clip"}, "clip"),
        ("clip:ViT-B-32:w.pt", set(), None),
        ("emoji-preference", {"clip", "pickscore", "emoji-clip"}, "emoji-clip"),
        ("emoji-preference", {"clip", "pickscore"}, None),  # its pictures are none of theirs
        ("emoji-clip", {"clip", "emoji-preference", "emoji-clip"}, "emoji-preference"),
        ("emoji-preference=1,emoji-clip=1", {"clip", "emoji-preference", "emoji-clip"}, None),
        ("emoji-preference=1,my.py:score=1", {"emoji-clip"}, "emoji-clip"),
        ("hpsv2", {"emoji-preference", "emoji-clip"}, None),
        ("my.py:score", {"clip", "pickscore"}, None),
    ],
)
def test_the_first_of_another_family_that_is_there(
    reward: str, there: set[str], found: str | None, present: set[str]
) -> None:
    present.update(there)
    assert find_second_reward(reward) == found


@pytest.mark.parametrize("offline", [True, False])
def test_the_hub_is_out_of_reach_only_meanwhile(offline: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants, get_session
    from huggingface_hub.errors import OfflineModeIsEnabled

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    with second.hub_out_of_reach(), pytest.raises(OfflineModeIsEnabled):
        get_session().get("http://localhost:9/")
    assert constants.HF_HUB_OFFLINE is offline


def test_the_bundled_models_are_second_to_each_other() -> None:
    assert find_second_reward("emoji-preference") == "emoji-clip"
    assert find_second_reward("emoji-clip") == "emoji-preference"
