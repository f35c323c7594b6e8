"""Tests of shares of votes and of agreement between raters, by hand."""

from __future__ import annotations

import pytest

from ivideo.metrics.statistics import Agreement, agreement, vote_shares

OPTIONS = ("b", "tie", "a")


def test_shares_by_hand() -> None:
    shares = vote_shares({"cat": ["b", "b", "tie"], "dog": ["a"]}, OPTIONS)
    assert {option: one.share for option, one in shares.items()} == {"b": 0.5, "tie": 0.25, "a": 0.25}
    assert {(one.ci_low, one.ci_high) for one in shares.values()} == {(None, None)}  # of 2 prompts


def test_interval_narrows_with_prompts_not_with_votes_on_the_same_ones() -> None:
    def width(num_prompts: int, num_raters: int) -> float:
        votes = {str(i): ["b" if i % 2 else "a"] * num_raters for i in range(num_prompts)}
        share = vote_shares(votes, OPTIONS)["b"]
        return share.ci_high - share.ci_low

    assert width(10, 8) == width(10, 1)
    assert width(90, 1) == pytest.approx(width(10, 1) / 3, rel=0.25)


@pytest.mark.parametrize(("votes", "message"), [({"cat": []}, "no votes"), ({"cat": ["c"]}, "must be among")])
def test_votes_that_cannot_be_counted(votes: dict[str, list[str]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        vote_shares(votes, OPTIONS)


def test_agreement_by_hand() -> None:
    result = agreement([["a", "a"], ["b", "b"], ["a", "b"], ["a"]])
    assert result.alpha == pytest.approx(1 - (2 / 6) / 0.6)
    assert result.percent == pytest.approx(2 / 3)


def test_agreement_reproduces_krippendorffs_own_example() -> None:
    """Krippendorff 2011, part C: four observers, twelve units, missing data; nominal alpha is .743."""
    observers = (
        "1 2 3 3 2 1 4 1 2 . . .",
        "1 2 3 3 2 2 4 1 2 5 . 3",
        ". 3 3 3 2 3 4 2 2 5 1 .",
        "1 2 3 3 2 4 4 1 2 5 1 .",
    )
    units = zip(*(line.split() for line in observers), strict=True)
    assert agreement([[value for value in unit if value != "."] for unit in units]).alpha == pytest.approx(
        0.743, abs=5e-4
    )


def test_full_agreement_is_1_and_full_disagreement_is_below_0() -> None:
    assert agreement([["a", "a"], ["b", "b"]]) == Agreement(1.0, 1.0)
    opposite = agreement([["a", "b"], ["b", "a"]])
    assert opposite.alpha == pytest.approx(1 - 1 / (1 - 4 / 12))
    assert opposite.percent == 0


@pytest.mark.parametrize("items", [[], [["a"], ["b"]]], ids=["nothing", "one rater"])
def test_one_rater_agrees_with_nobody(items: list[list[str]]) -> None:
    assert agreement(items) == Agreement(None, None)


def test_alpha_is_unknown_where_everybody_always_says_the_same() -> None:
    assert agreement([["a", "a"], ["a", "a"]]) == Agreement(None, 1.0)
