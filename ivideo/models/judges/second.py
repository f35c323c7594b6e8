"""A second judge that looks on while a first one is trained on, if this machine has one already."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch

from ivideo.errors import IvideoError
from ivideo.models.judges.load import Loader, find_loader, load_judge
from ivideo.models.judges.spelling import parse_reward

SETS = (
    ("emoji-preference", "emoji-clip"),  # bundled, for the emoji world's pictures
    ("pickscore", "hpsv2.1", "hpsv2", "clip"),  # for pictures as people take them; first those that learned choices
)


def find_second_judge(reward: str) -> str | None:
    """A judge of another family than those of a reward; None where no weights of one are on this machine.

    It is for the same kind of pictures as a judge of the reward. Functions of one's own have none, and nothing is
    downloaded for it.

    Args:
        reward: what is trained on, as `--reward` takes it.
    """
    trained = families_of(parse_reward(reward).judges)
    matching = [names for names in SETS if not trained.isdisjoint(families_of(names))]
    others = [name for names in matching for name in names if families_of([name]).isdisjoint(trained)]
    return next((name for name in others if is_on_this_machine(name)), None)


def families_of(names: Iterable[str]) -> set[Loader]:
    """What loads these judges: versions and files of one network are of one family."""
    return {find_loader(name)[0] for name in names}


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
