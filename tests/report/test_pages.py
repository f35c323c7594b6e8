"""A page holds its data as data, and lets nothing but its own script run."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from pathlib import Path

import pytest

from ivideo.report.pages import PAGES, build_page, escape_json, relative_uri

HOSTILE = "</script><script>x()</script><!-- <script> & ]]> \u2028 \ud800 'a' \"b\" $title é 猫"


def test_json_holds_whatever_a_prompt_says() -> None:
    text = escape_json({"prompt": HOSTILE})
    assert json.loads(text) == {"prompt": HOSTILE}
    assert text.isascii()
    assert not set("<>&") & set(text)


def test_json_has_no_word_for_nan() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        escape_json([float("nan")])


def test_policy_names_the_very_script_and_style() -> None:
    page = build_page("rate.html", HOSTILE, ("common.css", "rate.css"), ("dom.js", "rate.js"), {"prompt": HOSTILE})
    (policy,) = re.findall(r'Content-Security-Policy" content="(.*?)"', page)
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    (style,) = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    for text in (script, style):
        assert base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() in policy
    assert policy.startswith("default-src 'none'; ")
    assert "http" not in policy
    assert "<title>&lt;/script&gt;" in page


@pytest.mark.parametrize("path", sorted(PAGES.iterdir()), ids=lambda path: path.name)
def test_no_part_of_a_page_names_another_machine(path: Path) -> None:
    text = path.read_text("utf-8").replace("http://www.w3.org/2000/svg", "")
    assert re.findall(r"https?:|//[a-z]+\.[a-z]+|@import|url\(", text) == []
    assert "innerHTML" not in text


@pytest.mark.parametrize(
    ("path", "uri"),
    [
        ("videos/base/a.mp4", "videos/base/a.mp4"),
        ("videos/mine @0.5/100%#1?.mp4", "videos/mine%20%400.5/100%25%231%3F.mp4"),
        ("javascript:alert(1)", "javascript%3Aalert%281%29"),
        ("../clips/猫.mp4", "../clips/%E7%8C%AB.mp4"),
    ],
)
def test_relative_uris_mean_only_a_path(path: str, uri: str) -> None:
    assert relative_uri(path) == uri
