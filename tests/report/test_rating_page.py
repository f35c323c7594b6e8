"""The rating page tells nothing of the sides, and works in a real browser by keyboard, with what it keeps and saves."""

from __future__ import annotations

import base64
import json
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ivideo.errors import IvideoError
from ivideo.report.answers import KEY_NAME, name_key, read_answers, read_key
from ivideo.report.pages import PAGES
from ivideo.report.rating_page import write_rating_page
from ivideo.video.reader import read_video
from tests.report.browsing import click, complaints, read_data, texts, wait_for

NAMES = ("theirbase", "mytuned")


def find_candidate(path: Path) -> int:
    """Whose clip it is: red is candidate 0, green 1, blue 2."""
    return int(read_video(path).frames[:, 6:].mean(axis=(0, 1, 2)).argmax())


def test_page_tells_nothing_of_the_sides(make_results: Callable[..., Any], tmp_path: Path) -> None:
    results = make_results(names=NAMES)
    results["contestants"][1]["adapter"] = "runs/secret/adapter"
    page = write_rating_page(tmp_path, results)
    data = read_data(page)
    assert {*data} == {"study", "items"}
    assert {key for item in data["items"] for key in item} == {"id", "prompt", "left", "right"}
    everything = page.read_bytes() + b"".join(
        base64.b64decode(item[side].partition(",")[2]) for item in data["items"] for side in ("left", "right")
    )
    for word in (*NAMES, "secret", "adapter", "videos/", KEY_NAME):
        assert word.encode() not in everything


def test_key_tells_the_sides(make_results: Callable[..., Any], tmp_path: Path) -> None:
    results = make_results(names=(*NAMES, "other"))
    data = read_data(write_rating_page(tmp_path, results))
    key = read_key(tmp_path)
    assert key.study == data["study"]
    assert key.contestants == [*NAMES, "other"]
    assert [item["id"] for item in data["items"]] == [*key.items]
    for item in data["items"]:
        place = key.items[item["id"]]
        assert item["prompt"] == place.prompt == results["rows"][place.row]["prompt"]
        for side in ("left", "right"):
            clip = tmp_path / "clip.mp4"
            clip.write_bytes(base64.b64decode(item[side].partition(",")[2]))
            assert find_candidate(clip) == getattr(place, side)


def test_every_row_meets_every_candidate_in_a_drawn_order(make_results: Callable[..., Any], tmp_path: Path) -> None:
    results = make_results([f"prompt {i}" for i in range(8)], names=(*NAMES, "other"))
    write_rating_page(tmp_path, results)
    items = [*read_key(tmp_path).items.values()]
    assert sorted((item.row, item.left + item.right) for item in items) == [(r, b) for r in range(8) for b in (1, 2)]
    assert all(0 in (item.left, item.right) for item in items)
    assert sum(item.left == 0 for item in items) == 8
    rows = [item.row for item in items]
    assert rows != sorted(rows)


def test_all_pairs_meet_and_each_is_as_often_left_as_right(make_results: Callable[..., Any], tmp_path: Path) -> None:
    results = make_results([f"prompt {i}" for i in range(7)], names=(*NAMES, "other"))
    write_rating_page(tmp_path, results, pairs="all")
    key = read_key(tmp_path)
    sides = Counter((item.left, item.right) for item in key.items.values())
    assert key.pairs == "all"
    assert {*sides} == {(a, b) for a in range(3) for b in range(3) if a != b}
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert {sides[a, b], sides[b, a]} == {3, 4}
        assert {item.row for item in key.items.values() if {item.left, item.right} == {a, b}} == {*range(7)}


def test_key_of_another_page_is_kept(make_results: Callable[..., Any], tmp_path: Path) -> None:
    results = make_results(["a cat"], names=(*NAMES, "other"))
    write_rating_page(tmp_path, results)
    first = read_key(tmp_path)
    write_rating_page(tmp_path, results, pairs="all")
    assert read_key(tmp_path).study != first.study
    assert read_key(tmp_path, first.study) == first
    write_rating_page(tmp_path, results)
    assert read_key(tmp_path) == first
    assert len([*tmp_path.glob(name_key("*"))]) == 2


def test_seed_decides_order_sides_and_names(make_results: Callable[..., Any], tmp_path: Path) -> None:
    results = make_results([f"prompt {i}" for i in range(6)])
    first = write_rating_page(tmp_path, results).read_bytes()
    key = read_key(tmp_path)
    assert write_rating_page(tmp_path, results).read_bytes() == first
    write_rating_page(tmp_path, results, seed=1)
    other = read_key(tmp_path)
    assert other.study != key.study
    assert not {*other.items} & {*key.items}
    assert [item.row for item in other.items.values()] != [item.row for item in key.items.values()]


def test_other_videos_are_another_study(make_results: Callable[..., Any], tmp_path: Path) -> None:
    results = make_results(["a cat"])
    write_rating_page(tmp_path, results)
    study = read_key(tmp_path).study
    (tmp_path / "videos/mine/clip.mp4").write_bytes((tmp_path / "videos/base/clip.mp4").read_bytes())
    write_rating_page(tmp_path, results)
    assert read_key(tmp_path).study != study


def test_missing_video_is_one_line_and_nothing_is_written(make_results: Callable[..., Any], tmp_path: Path) -> None:
    results = make_results()
    (tmp_path / "videos/mine/clip.mp4").unlink()
    with pytest.raises(IvideoError, match=r"cannot read .*videos/mine/clip\.mp4: No such file"):
        write_rating_page(tmp_path, results)
    assert [path.name for path in tmp_path.iterdir()] == ["videos"]


def test_clips_over_the_limit_lie_beside_under_drawn_names(make_results: Callable[..., Any], tmp_path: Path) -> None:
    results = make_results(["a cat", "a dog"], names=NAMES)
    data = read_data(write_rating_page(tmp_path, results, max_embedded_bytes=1000))
    key = read_key(tmp_path)
    for item in data["items"]:
        for side in ("left", "right"):
            assert item[side] == f"rate_videos/{key.study}/{item['id']}_{side}.mp4"
            video = read_video(tmp_path / item[side])
            assert find_candidate(tmp_path / item[side]) == getattr(key.items[item["id"]], side)
            assert video.metadata == {}
    clips = [*(tmp_path / "rate_videos" / key.study).iterdir()]
    assert len(clips) == 4
    write_rating_page(tmp_path, results, max_embedded_bytes=1000)
    assert [*(tmp_path / "rate_videos").iterdir()] == [tmp_path / "rate_videos" / key.study]


def test_clips_are_encoded_without_loss_that_shows(make_results: Callable[..., Any], tmp_path: Path) -> None:
    results = make_results(["a cat"])
    data = read_data(write_rating_page(tmp_path, results, max_embedded_bytes=0))
    (place,) = read_key(tmp_path).items.values()
    shown = read_video(tmp_path / data["items"][0]["left"])
    original = read_video(tmp_path / results["rows"][0]["clips"][place.left]["video"])
    assert shown.fps == original.fps
    assert np.abs(shown.frames.astype(int) - original.frames).mean() < 3


def press(browser: Any, keys: str) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    ActionChains(browser, duration=0).send_keys(keys).perform()


@pytest.mark.needs_browser
def test_a_whole_study_by_keyboard(
    make_results: Callable[..., Any], open_page: Callable[..., Any], tmp_path: Path
) -> None:
    page = write_rating_page(tmp_path, make_results(["a cat", "a dog", "<b>owl</b>"]))
    key = read_key(tmp_path)
    names = [*key.items]
    browser = open_page(page)
    browser.execute_script("localStorage.clear()")
    browser = open_page(page)

    def place() -> str:
        return texts(browser, "#place")[0]

    assert place() == "pair 1 of 3"
    assert texts(browser, ".prompt") == [key.items[names[0]].prompt]
    times = "[...document.querySelectorAll('#item video')].map((one) => one.currentTime)"
    wait_for(browser, f"return Math.min(...{times}) > 0")
    press(browser, "q")
    press(browser, "s")  # both good
    wait_for(browser, "return document.querySelector('#place').textContent === 'pair 2 of 3'")
    press(browser, "t")
    press(browser, "\ue012")  # Left
    assert place() == "pair 1 of 3"
    assert texts(browser, "[aria-pressed=true][data-side]") == ["LeftQ", "Both goodS"]
    press(browser, "t")  # changed one's mind
    press(browser, "\ue014")  # Right
    assert place() == "pair 2 of 3"
    browser = open_page(page)  # a new day: all is still there
    assert (place(), texts(browser, "#counted")) == ("pair 2 of 3", ["1 of 3 answered"])
    click(browser, "#save")
    assert "Write your name" in texts(browser, "#message")[0]
    browser.switch_to.active_element.send_keys("Qwe Ann")  # letters in the name answer nothing
    assert texts(browser, "[aria-pressed=true][data-side]") == ["RightT"]
    click(browser, "#save")
    answers = read_answers(wait_for_file(browser.downloads / f"ratings_{key.study}_qwe-ann.json"), key)
    assert answers.rater == "Qwe Ann"
    sides = {one.id: (one.quality, one.alignment) for one in answers.ratings}
    assert sides == {names[0]: ("right", "both_good"), names[1]: ("right", None)}
    assert all(0 < one.seconds < 600 for one in answers.ratings)
    assert abs(answers.saved_utc.timestamp() - time.time()) < 600
    browser.find_element("id", "restart").click()
    browser.switch_to.alert.accept()
    wait_for(browser, "return document.querySelector('#counted').textContent === '0 of 3 answered'")
    browser = open_page(page)
    assert (place(), texts(browser, "#counted")) == ("pair 1 of 3", ["0 of 3 answered"])
    assert complaints(browser) == []


def wait_for_file(path: Path, seconds: float = 60) -> Path:
    end = time.monotonic() + seconds
    while not path.exists() and time.monotonic() < end:
        time.sleep(0.05)
    return path


@pytest.mark.needs_browser
def test_end_of_a_study_asks_to_save(
    make_results: Callable[..., Any], open_page: Callable[..., Any], tmp_path: Path
) -> None:
    page = write_rating_page(tmp_path, make_results(["the only one"]), max_embedded_bytes=0)
    browser = open_page(page, width=390)
    for side in ("left", "right"):
        click(browser, f"[data-question={'quality' if side == 'left' else 'alignment'}][data-side={side}]")
    wait_for(browser, "return document.querySelector('#message').textContent.startsWith('All pairs are answered')")
    assert browser.switch_to.active_element.get_attribute("id") == "save"
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 390
    assert wait_for(browser, "return [...document.querySelectorAll('video')].every((one) => one.duration > 0)")
    assert complaints(browser) == []


def test_pages_are_the_packages_own_files() -> None:
    assert {path.suffix for path in PAGES.iterdir()} == {".css", ".html", ".js"}


def test_key_is_whole_json(make_results: Callable[..., Any], tmp_path: Path) -> None:
    write_rating_page(tmp_path, make_results(["a cat"]))
    key = json.loads((tmp_path / KEY_NAME).read_text("utf-8"))
    assert {*key} == {"schema_version", "study", "seed", "pairs", "contestants", "items"}
