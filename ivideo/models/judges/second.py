"""A second judge that looks on while a first one is trained on, if this machine has one already."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ivideo.errors import IvideoError
from ivideo.models.judges.clip import load_clip
from ivideo.models.judges.hps import load_hps
from ivideo.models.judges.load import find_loader, load_judge
from ivideo.models.judges.pickscore import load_pickscore
from ivideo.models.judges.spelling import parse_reward

HUB_LOADERS = (load_hps, load_pickscore, load_clip)
CANDIDATES = ("pickscore", "hpsv2.1", "hpsv2", "clip")  # those that learned people's choices first


def find_second_judge(reward: str) -> str | None:
    """A judge of another family than those of a reward; None where no weights of one are on this machine.

    Only rewards with a judge of the hub have one: what such a judge reads are pictures as people take them. Nothing is
    downloaded for it.

    Args:
        reward: what is trained on, as `--reward` takes it.
    """
    trained = {find_loader(name)[0] for name in parse_reward(reward).judges}
    if trained.isdisjoint(HUB_LOADERS):
        return None
    others = [name for name in CANDIDATES if find_loader(name)[0] not in trained]
    return next((name for name in others if is_on_this_machine(name)), None)


def is_on_this_machine(name: str) -> bool:
    """Whether a judge loads without the hub."""
    try:
        with hub_out_of_reach():
            load_judge(name, torch.device("cpu"))
    except IvideoError:
        return False
    return True


@contextmanager
def hub_out_of_reach() -> Iterator[None]:
    """Inside the block Hugging Face's libraries read their cache only."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
