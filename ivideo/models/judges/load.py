"""Which judge a name means, and how it is loaded."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence

import torch

from ivideo.errors import UsageError
from ivideo.models.judges.clip import load_clip
from ivideo.models.judges.contract import Judge
from ivideo.models.judges.emoji_world import load_emoji_clip, load_emoji_preference
from ivideo.models.judges.hps import load_hps
from ivideo.models.judges.jury import Jury
from ivideo.models.judges.own_function import load_own_function
from ivideo.models.judges.pickscore import load_pickscore
from ivideo.models.judges.spelling import parse_rewards
from ivideo.models.loading import WEIGHT_SUFFIXES

Loader = Callable[[str, str, torch.device], Judge]
"""`load(name, source, device)`: the whole name, what follows its colon, and where to put it."""

JUDGES: dict[str, Loader] = {
    "emoji-preference": load_emoji_preference,
    "emoji-clip": load_emoji_clip,
    "hpsv2": load_hps,
    "hpsv2.1": load_hps,
    "pickscore": load_pickscore,
    "clip": load_clip,
}
OWN_FUNCTION = re.compile(r".+\.py:[^\W\d]\w*")


def load_judges(names: str | Sequence[str], device: torch.device) -> Judge:
    """The judges that were asked for, each loaded once; of several the first reward is the one that counts.

    Args:
        names: rewards as `--reward` takes them; one, or several.
        device: where to put them.

    Raises:
        UsageError: no judge of a name, or sums that cannot be.
        IvideoError: weights that are not on this machine and cannot be fetched.
    """
    rewards = parse_rewards([names] if isinstance(names, str) else names)
    wanted = dict.fromkeys(name for reward in rewards for name in reward.judges)
    for name in wanted:
        find_loader(name)
    judges = {name: load_judge(name, device) for name in wanted}
    if len(rewards) == 1 and rewards[0].weights is None:
        return judges[rewards[0].name]
    return Jury(rewards, judges)


def load_judge(name: str, device: torch.device) -> Judge:
    """Load a judge by its name.

    Raises:
        UsageError: no judge of that name.
        IvideoError: its weights are not on this machine and cannot be fetched.
    """
    loader, source = find_loader(name)
    return loader(name, source, device)


def find_loader(name: str) -> tuple[Loader, str]:
    """What loads a judge, and from where: `JUDGE`, `JUDGE:SOURCE`, `FILE.py:function`, or a checkpoint of HPSv2.

    Raises:
        UsageError: none of these.
    """
    if OWN_FUNCTION.fullmatch(name):
        return load_own_function, name
    head, colon, source = name.partition(":")
    if head in JUDGES and bool(colon) == bool(source):
        return JUDGES[head], source
    before = name.partition("=")[0]
    if before in JUDGES:
        raise UsageError(f"reward {name!r}: what follows = is a weight, a number; a file is {before}:FILE")
    if name.endswith(WEIGHT_SUFFIXES):
        return load_hps, name
    close = difflib.get_close_matches(head, JUDGES, 1)
    advice = f" (did you mean {close[0]}?)" if close and head not in JUDGES else ""
    known = ", ".join(JUDGES)
    raise UsageError(f"unknown reward {name!r}{advice}: one of {known}, FILE.py:function or a checkpoint of HPSv2")


def runs_code(names: str | Sequence[str]) -> bool:
    """Whether loading these rewards runs a Python file."""
    rewards = parse_rewards([names] if isinstance(names, str) else names)
    return any(OWN_FUNCTION.fullmatch(name) for reward in rewards for name in reward.judges)
