"""Which reward model a name means, how it is loaded, and which one can be a second one while another is trained on."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import torch

from ivideo.errors import IvideoError, UsageError
from ivideo.models.loading import WEIGHT_SUFFIXES
from ivideo.rewards.clip import load_clip
from ivideo.rewards.contract import RewardModel
from ivideo.rewards.emoji_world import load_emoji_clip, load_emoji_preference
from ivideo.rewards.hps import load_hps
from ivideo.rewards.mixture import Rewards, parse_reward, parse_rewards
from ivideo.rewards.own_function import load_own_function
from ivideo.rewards.pickscore import load_pickscore

Loader = Callable[[str, str, torch.device], RewardModel]
"""`load(name, source, device)`: the whole name, what follows its colon, and where to put it."""


REWARDS: dict[str, Loader] = {
    "emoji-preference": load_emoji_preference,
    "emoji-clip": load_emoji_clip,
    "hpsv2": load_hps,
    "hpsv2.1": load_hps,
    "pickscore": load_pickscore,
    "clip": load_clip,
}
OWN_FUNCTION = re.compile(r".+\.py:[^\W\d]\w*")


def load_rewards(names: str | Sequence[str], device: torch.device) -> Rewards:
    """The rewards that were asked for, each reward model loaded once; the first one is the one that counts.

    Args:
        names: rewards as the setting `reward` takes them; one, or several.
        device: where to put them.

    Raises:
        UsageError: no reward model of a name, or sums that cannot be.
        IvideoError: weights that are not on this machine and cannot be fetched.
    """
    asked = parse_rewards([names] if isinstance(names, str) else names)
    wanted = dict.fromkeys(name for reward in asked for name in reward.weights)
    for name in wanted:
        find_loader(name)
    return Rewards(asked, {name: load_reward(name, device) for name in wanted})


def load_reward(name: str, device: torch.device) -> RewardModel:
    """Load a reward model by its name.

    Raises:
        UsageError: no reward model of that name.
        IvideoError: its weights are not on this machine and cannot be fetched.
    """
    loader, source = find_loader(name)
    return loader(name, source, device)


def find_loader(name: str) -> tuple[Loader, str]:
    """What loads a reward model, and from where: `NAME`, `NAME:SOURCE`, `FILE.py:function`, or a checkpoint of HPSv2.

    Raises:
        UsageError: none of these.
    """
    if OWN_FUNCTION.fullmatch(name):
        return load_own_function, name
    head, colon, source = name.partition(":")
    if head in REWARDS and bool(colon) == bool(source):
        return REWARDS[head], source
    before = name.partition("=")[0]
    if before in REWARDS:
        raise UsageError(f"reward {name!r}: what follows = is a weight, a number; a file is {before}:FILE")
    if name.endswith(WEIGHT_SUFFIXES):
        return load_hps, name
    close = difflib.get_close_matches(head, REWARDS, 1)
    advice = f" (did you mean {close[0]}?)" if close and head not in REWARDS else ""
    known = ", ".join(REWARDS)
    raise UsageError(f"unknown reward {name!r}{advice}: one of {known}, FILE.py:function or a checkpoint of HPSv2")


def runs_code(names: str | Sequence[str]) -> bool:
    """Whether loading these rewards runs a Python file."""
    asked = parse_rewards([names] if isinstance(names, str) else names)
    return any(OWN_FUNCTION.fullmatch(name) for reward in asked for name in reward.weights)


SETS = (
    ("emoji-preference", "emoji-clip"),  # bundled, for the emoji world's pictures
    ("pickscore", "hpsv2.1", "hpsv2", "clip"),  # for pictures as people take them; first those that learned choices
)


def find_second_reward(reward: str) -> str | None:
    """A reward model of another family than those of a reward; None where no weights of one are on this machine.

    It is for the same kind of pictures as one of the reward's. Functions of one's own have none, and nothing is
    downloaded for it.

    Args:
        reward: what is trained on, as the setting `reward` takes it.
    """
    trained = families_of(parse_reward(reward).weights)
    matching = [names for names in SETS if not trained.isdisjoint(families_of(names))]
    others = [name for names in matching for name in names if families_of([name]).isdisjoint(trained)]
    return next((name for name in others if is_on_this_machine(name)), None)


def families_of(names: Iterable[str]) -> set[Loader]:
    """What loads these reward models: versions and files of one network are of one family."""
    return {find_loader(name)[0] for name in names}


def is_on_this_machine(name: str) -> bool:
    """Whether a reward model loads without the hub."""
    try:
        with hub_out_of_reach():
            load_reward(name, torch.device("cpu"))
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
