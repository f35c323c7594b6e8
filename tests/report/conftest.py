"""What tests of files share: made-up results of a comparison, and a browser to open pages in."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ivideo.video.writer import write_video

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
REASON = "chromium or chromedriver is missing (Debian: chromium and chromium-driver)"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if CHROMIUM and DRIVER:
        return
    for item in items:
        if item.get_closest_marker("needs_browser"):
            item.add_marker(pytest.mark.skip(reason=REASON))


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Headless Chromium; what it downloads lies in `browser.downloads`."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage", "window-size=1280,900"):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with webdriver.Chrome(options=options, service=Service(str(DRIVER))) as driver:
        driver.downloads = tmp_path_factory.mktemp("downloads")
        where = {"behavior": "allow", "downloadPath": str(driver.downloads)}
        driver.execute_cdp_cmd("Browser.setDownloadBehavior", where)
        yield driver


@pytest.fixture
def open_page(browser: Any) -> Callable[..., Any]:
    """`open_page(path, width=1280, scheme="light")` gives the browser, with that page from disk in it."""

    def open_it(path: Path, width: int = 1280, scheme: str = "light") -> Any:
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        browser.get_log("browser")  # forgets what earlier pages said
        browser.get(path.resolve().as_uri())
        return browser

    return open_it


@pytest.fixture(scope="session")
def colour_clips(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Clips of 8, 8 and 12 frames of one colour each (red, green, blue), whose metadata names an adapter."""
    folder = tmp_path_factory.mktemp("colours")
    clips = []
    for i, num_frames in enumerate((8, 8, 12)):
        frames = np.full((num_frames, 16, 16, 3), 30, np.uint8)
        frames[..., i] = 200
        frames[:, :4] = np.linspace(0, 255, num_frames, dtype=np.uint8)[:, None, None, None]
        about = {"prompt": "a cat", "adapter": f"runs/secret{i}/adapter"}
        clips.append(write_video(folder / f"{i}.mp4", frames, 8, about).read_bytes())
    return clips


@pytest.fixture
def make_results(tmp_path: Path, colour_clips: list[bytes]) -> Callable[..., dict[str, Any]]:
    """`make_results(prompts, names)` lays clips under `tmp_path` and gives results; candidate i scores i / 10 more.

    Rewards rise by 0.01 from row to row; the difference of row r is 0.1 i + 0.02 for even and - 0.03 for odd r.
    """

    def make(prompts: Sequence[str] = ("a cat", "a dog", "an owl"), names: Sequence[str] = ("base", "mine")) -> Any:
        for i, name in enumerate(names):
            (tmp_path / "videos" / name).mkdir(parents=True, exist_ok=True)
            (tmp_path / "videos" / name / "clip.mp4").write_bytes(colour_clips[i])
        rows = [make_row(row, prompt, names) for row, prompt in enumerate(prompts)]
        return make_comparison(rows, names)

    return make


def make_row(row: int, prompt: str, names: Sequence[str]) -> dict[str, Any]:
    clips = []
    for i, name in enumerate(names):
        reward = round(0.3 + 0.01 * row + (0.1 * i + (0.02 if row % 2 == 0 else -0.03) if i else 0), 4)
        scores = {"reward": reward, "motion": round(1 - 0.2 * i - 0.001 * row, 4), "clip": None}
        curve = {"frame_indices": [0, 2, 4, 6], "frame_rewards": [reward + shift for shift in (-0.02, 0, 0, 0.02)]}
        clips.append({"video": f"videos/{name}/clip.mp4", "scores": scores, **curve})
    return {"prompt": prompt, "seed": row, "side_by_side": None, "clips": clips}


def make_comparison(rows: list[dict[str, Any]], names: Sequence[str]) -> dict[str, Any]:
    metrics = {
        "reward": {"label": "reward", "unit": "cosine", "higher_is_better": True},
        "motion": {"label": "motion", "unit": "pixels a frame", "higher_is_better": None},
        "clip": {"label": "clip", "unit": "cosine", "higher_is_better": True},
    }
    columns = {
        metric: [np.array([row["clips"][i]["scores"][metric] for row in rows]) for i in range(len(names))]
        for metric in ("reward", "motion")
    }
    comparisons = []
    for metric, (base, *others) in columns.items():
        for b, other in enumerate(others, 1):
            change = float((other - base).mean())
            tests = {"sign_p": 0.01, "sign_p_corrected": 0.04, "wilcoxon_p": 0.0001, "wilcoxon_p_corrected": 0.0004}
            means = {"mean_a": float(base.mean()), "mean_b": float(other.mean()), "difference": change}
            interval = {"ci_low": change - 0.02, "ci_high": change + 0.02}
            counts = {"n": len(rows), "wins": len(rows), "ties": 0, "losses": 0, "win_share": 1.0, "effect_size": 1.5}
            comparisons.append({"metric": metric, "a": 0, "b": b, **means, **interval, **counts, **tests})
    return {
        "schema_version": 2,
        "created": "2026-11-25T13:00:00+00:00",
        "ivideo_version": "0.1.0",
        "command": f"ivideo compare {' '.join(names)} --output compared",
        "contestants": [
            {"name": name, "kind": "folder", "model": None, "adapter": None, "lora_scale": None, "settings": {"fps": 8}}
            for name in names
        ],
        "judge": "a reward model",
        "judges": {"preference": "a reward model", "clip": "CLIP"},
        "metrics": metrics,
        "means": {
            metric: [{"mean": float(one.mean()), "std": float(one.std())} for one in sides]
            for metric, sides in columns.items()
        },
        "comparisons": comparisons,
        "rows": rows,
        "preference": None,
    }
