"""When to stop: which evaluation of the held-out prompts is the best, and whether training should go on."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ivideo.config.settings import FinetuneSettings
from ivideo.models.judges.spelling import parse_rewards

Record = Mapping[str, Any]
"""A line of evaluations.jsonl: `step`, `values` (means over prompts) and `by_prompt`, by name."""


@dataclass(frozen=True)
class Verdict:
    """What the evaluations so far say.

    Attributes:
        best_step: step of the highest held-out reward among those that keep the floors; 0 if there is none yet.
        stop_reason: why training should stop, in words; None to go on.
    """

    best_step: int
    stop_reason: str | None


def judge_progress(history: Sequence[Record], settings: FinetuneSettings) -> Verdict:
    """Decide by the evaluations alone, so that a resumed run decides as an uninterrupted one.

    With rewards .60 (base), .70, .69, .68, .67 at the steps 0, 9, 18, 27, 36 and patience 3, the best is step 9, and
    training stops at step 36.

    Args:
        history: the lines of evaluations.jsonl so far; the first is the base, at step 0.
        settings: the run's `patience`, `min_motion` and `min_judge` (0 switches a rule off), and its rewards.
    """
    base, *later = history
    kept = [record for record in later if find_broken_floor(base, record, settings) is None]
    best_step = max(kept, key=lambda record: record["values"]["reward"])["step"] if kept else 0
    broken = find_broken_floor(base, later[-1], settings) if later else None
    return Verdict(best_step, broken or find_standstill(history, settings.patience))


def find_broken_floor(base: Record, record: Record, settings: FinetuneSettings) -> str | None:
    """What fell too far below the base, in words: the motion, else a judge that is not trained on; None if nothing.

    Motion must keep `min_motion` of the base's mean. For judges see `falls_below`.
    """
    before, now = base["values"]["motion"], record["values"]["motion"]
    if now < settings.min_motion * before:
        return f"motion fell to {now:.3f}, below {settings.min_motion:g} of the base's {before:.3f}"
    for name in untrained_judges(settings.rewards):
        if settings.min_judge and falls_below(base["by_prompt"][name], record["by_prompt"][name], settings.min_judge):
            before, now = base["values"][name], record["values"][name]
            return f"{name}, which is not trained on, fell from {before:.4f} to {now:.4f} (--min-judge)"
    return None


def falls_below(before: Sequence[float], now: Sequence[float], share: float) -> bool:
    """Whether scores of the same prompts fell by more than `1 - share` of their size, and by more than chance.

    drop > (1 - share) * |mean before| and drop > 2 * sd(differences) / sqrt(n): judges' scores may be near zero or
    negative, where a share alone would stop at any noise or never. Share .95 of a mean of .20 allows .01; if the
    differences of 4 prompts have a standard deviation of .02, .02 is allowed.

    Args:
        before: a score a prompt, any unit.
        now: the same prompts' scores later.
        share: of the size of the mean before, that is to be kept, in [0, 1].
    """
    differences = [a - b for a, b in zip(before, now, strict=True)]
    drop = statistics.fmean(differences)
    chance = 2 * statistics.stdev(differences) / len(differences) ** 0.5 if len(differences) > 1 else 0.0
    return drop > max((1 - share) * abs(statistics.fmean(before)), chance)


def find_standstill(history: Sequence[Record], patience: int) -> str | None:
    """Why the reward's course is reason to stop, in words; None if it is none.

    A reward is a new best if it is above all before it, the base's included.
    """
    rewards = [record["values"]["reward"] for record in history]
    highest = rewards.index(max(rewards))
    if not patience or len(rewards) - 1 - highest < patience:
        return None
    since = f"step {history[highest]['step']}" if highest else "the base"
    evaluations = "evaluation" if patience == 1 else f"{patience} evaluations"
    return f"the held-out reward has not risen above {rewards[highest]:.4f} of {since} in the last {evaluations}"


def untrained_judges(rewards: Sequence[str]) -> list[str]:
    """The further rewards that are no part of the first, which is trained on."""
    first, *further = parse_rewards(rewards)
    return [reward.name for reward in further if reward.name not in first.judges]
