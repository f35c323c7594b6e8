"""The report fits every screen, shows what people prefer, and can be read in both colour schemes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.report.browsing import LONG_WORD, click, complaints, texts, wait_for, write_report


@pytest.mark.needs_browser
@pytest.mark.parametrize("width", [320, 390, 2000])
def test_page_is_never_wider_than_the_screen(
    width: int, make_results: Callable[..., Any], open_page: Callable[..., Any], tmp_path: Path
) -> None:
    results = make_results(["a cat", LONG_WORD], names=("base", "mine", "n" * 90))
    results["contestants"][1]["adapter"] = "runs/" + LONG_WORD
    results["preference"] = make_preference()
    browser = open_page(write_report(tmp_path, results), width=width)
    click(browser, "#clip-table tr:nth-child(2) button.open")
    click(browser, "summary")
    wait_for(browser, "return document.querySelectorAll('svg.chart').length === 4")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width


def make_preference() -> dict[str, Any]:
    shares, ci = {"b": 0.7, "tie": 0.1, "a": 0.2}, {"b": [0.6, 0.8], "tie": [0, 0.2], "a": [0.1, 0.3]}
    kinds = {"b": 42, "both_good": 1, "same": 2, "both_bad": 3, "a": 12}
    counts = {"num_votes": 60, "num_items": 20, "num_prompts": 10, "counts": kinds}
    one = {**counts, "shares": shares, "ci": ci, "agreement": {"alpha": 0.41, "percent": 0.7}}
    nothing = {option: [None, None] for option in ci}
    alone = {**one, "ci": nothing, "agreement": {"alpha": None, "percent": None}}
    pairs = [{"a": 0, "b": 1, "questions": {"quality": one, "alignment": None}}]
    pairs += [{"a": 0, "b": 2, "questions": {"quality": None, "alignment": alone}}]
    strengths = {"quality": [make_strength(0.0), make_strength(0.8, 0.2, 1.5), make_strength(None)], "alignment": None}
    about = {"study": "s", "num_raters": 3, "num_ratings": 60, "confidence": 0.95}
    return {**about, "pairs": pairs, "strengths": strengths}


def make_strength(strength: float | None, low: float | None = None, high: float | None = None) -> dict[str, Any]:
    return {"strength": strength, "ci_low": low, "ci_high": high}


@pytest.mark.needs_browser
def test_what_people_prefer_is_shown_where_they_were_asked(
    make_results: Callable[..., Any], open_page: Callable[..., Any], tmp_path: Path
) -> None:
    results = make_results(names=("base", "mine", "other"))
    browser = open_page(write_report(tmp_path, results))
    assert not browser.find_element("id", "people").is_displayed()
    results["preference"] = make_preference()
    browser = open_page(write_report(tmp_path, results))
    assert texts(browser, "#people h3") == ["Quality: mine against base", "Alignment: other against base"]
    assert texts(browser, "#people article:first-child li")[0] == "mine 70 % (60 % to 80 %)"
    assert texts(browser, "#people article:last-child li")[0] == "other 70 %"
    assert "ties: 1 both good, 2 same, 3 both bad; Krippendorff's alpha 0.41" in texts(browser, "#people article")[0]
    assert texts(browser, "#strengths td") == ["0.00", "+0.80 (+0.20 to +1.50)", "\u2013"]
    assert "agreement between raters unknown" in texts(browser, "#people article")[1]
    assert complaints(browser) == []


CONTRASTS = """
const style = getComputedStyle(document.documentElement);
const luminance = (name) => {
  const hex = style.getPropertyValue(name).trim();
  const parts = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16) / 255)
    .map((one) => (one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4));
  return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
};
return arguments[0].map(([one, two]) => {
  const [low, high] = [luminance(one), luminance(two)].sort((a, b) => a - b);
  return (high + 0.05) / (low + 0.05);
});
"""


@pytest.mark.needs_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_and_every_control_has_a_name(
    scheme: str, make_results: Callable[..., Any], open_page: Callable[..., Any], tmp_path: Path
) -> None:
    browser = open_page(write_report(tmp_path, make_results()), scheme=scheme)
    texts_on = [(text, ground) for text in ("--text", "--muted", "--good", "--bad") for ground in ("--page", "--card")]
    texts_on += [
        ("--muted", "--soft"),
        ("--warn", "--warn-soft"),
        ("--accent-text", "--accent"),
        ("--accent", "--page"),
    ]
    marks = [(f"--c{i}", "--card") for i in range(8)]
    contrasts = browser.execute_script(CONTRASTS, [*texts_on, *marks])
    assert min(contrasts[: len(texts_on)]) >= 4.5
    assert min(contrasts[len(texts_on) :]) >= 4.5  # numbers stand on these colours in the bars
    background = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert background == {"light": "rgb(246, 247, 248)", "dark": "rgb(17, 19, 22)"}[scheme]
    controls = browser.find_elements("css selector", "button, input, select, summary, a")
    assert [one.get_attribute("outerHTML") for one in controls if one.is_displayed() and not one.accessible_name] == []
