"""The page about GPUs is what its script makes of the kept files."""

from __future__ import annotations

from examples.gpu_check.page import NOT_MEASURED, PAGE, read_kept, render
from examples.gpu_check.parts import PARTS

FOUND = {
    "machine": {"device": "cuda", "card": "Test 80GB", "date": "2026-01-02", "torch": "9.9", "commit": "abc"},
    "parts": {
        PARTS[0].name: {
            "state": "done",
            "tables": {"a table": [{"a": 0.5, "b": None}, {"a": "x|y", "note": "no time"}]},
        },
        PARTS[1].name: {"state": "out of time", "why": "ended after 9 s", "tables": {}},
    },
}


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == render(read_kept()), "run `python -m examples.gpu_check.page`"


def test_what_no_gpu_has_is_said_to_be_not_measured() -> None:
    assert render([]).count(NOT_MEASURED) == 1 + len(PARTS)
    cpu = {**FOUND, "machine": {**FOUND["machine"], "device": "cpu"}}
    assert render([cpu]).count(NOT_MEASURED) == 1 + len(PARTS)
    assert render([FOUND, cpu]).count(NOT_MEASURED) == len(PARTS) - 2


def test_a_result_becomes_tables() -> None:
    page = render([FOUND])
    assert "**Test 80GB**, 2026-01-02\n\nA table:\n\n| a | note |\n|---|---|\n| 0.5 |  |\n| x\\|y | no time |\n" in page
    assert "**Test 80GB**, 2026-01-02: out of time, ended after 9 s\n" in page
