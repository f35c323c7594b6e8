"""What tests do with a page: read its data, click, look at its text, wait, and ask what the browser complains of."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from ivideo.report import pages as report

LONG_WORD = "w" * 200
MEANINGS = {"reward": "Mean score by the first reward model.", "motion": "Mean optical flow."}


def write_report(folder: Path, results: dict[str, Any], **options: Any) -> Path:
    """The package's own, with those meanings."""
    return report.write_report(folder, results, MEANINGS, **options)


def read_data(page: Path) -> dict[str, Any]:
    """What the page's script reads."""
    (text,) = re.findall(
        r'<script type="application/json" id="data">(.*?)</script>', page.read_text("utf-8"), re.DOTALL
    )
    return json.loads(text)


def complaints(browser: Any) -> list[str]:
    return [line["message"] for line in browser.get_log("browser") if line["level"] in ("SEVERE", "WARNING")]


def click(browser: Any, selector: str) -> None:
    browser.execute_script("document.querySelector(arguments[0]).click()", selector)


def texts(browser: Any, selector: str) -> list[str]:
    script = "return [...document.querySelectorAll(arguments[0])].map((one) => one.textContent)"
    return browser.execute_script(script, selector)


def wait_for(browser: Any, script: str, seconds: float = 60) -> Any:
    """Wait until a script gives something true, and give that."""
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(browser, seconds, 0.05).until(lambda driver: driver.execute_script(script))
