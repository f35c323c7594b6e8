"""The report holds or links its videos, and works in a real browser: sorting, playing, searching, on a phone."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ivideo.errors import IvideoError
from ivideo.report.pages import locate_videos
from ivideo.video.reader import read_video
from ivideo.video.writer import write_video
from tests.report.browsing import LONG_WORD, MEANINGS, click, complaints, read_data, texts, wait_for, write_report

HOSTILE = "</script><script>window.hit=1</script><img src=x onerror=window.hit=1> <!--<script> \"'&amp; 猫"


def test_page_holds_results_and_videos(make_results: Callable[..., Any], tmp_path: Path) -> None:
    results = make_results()
    data = read_data(write_report(tmp_path, results))
    assert data["results"] == results
    assert {*data["sources"]} == {"videos/base/clip.mp4", "videos/mine/clip.mp4"}
    assert all(uri.startswith("data:video/mp4;base64,") for uri in data["sources"].values())
    assert data["meanings"] == MEANINGS


def test_same_results_give_the_same_page(make_results: Callable[..., Any], tmp_path: Path) -> None:
    results = make_results()
    first = write_report(tmp_path, results).read_bytes()
    assert write_report(tmp_path, results).read_bytes() == first


def test_videos_over_the_limit_are_linked(make_results: Callable[..., Any], tmp_path: Path) -> None:
    make_results()
    paths = ["videos/base/clip.mp4", "videos/mine/clip.mp4"]
    size = sum((tmp_path / path).stat().st_size for path in paths)
    assert all(uri.startswith("data:") for uri in locate_videos(tmp_path, paths, size).values())
    assert locate_videos(tmp_path, paths, size - 1) == {path: path for path in paths}


def test_missing_video_has_no_source(make_results: Callable[..., Any], tmp_path: Path) -> None:
    make_results()
    assert [*locate_videos(tmp_path, ["videos/base/clip.mp4", "videos/gone.mp4"], 10**6)] == ["videos/base/clip.mp4"]


def test_folder_that_cannot_be_written_is_one_line(make_results: Callable[..., Any], tmp_path: Path) -> None:
    results = make_results()
    (tmp_path / "report.html").mkdir()
    with pytest.raises(IvideoError, match=r"cannot write .*report\.html: it is a folder"):
        write_report(tmp_path, results)


@pytest.mark.needs_browser
def test_report_opens_without_a_complaint_or_a_request(
    make_results: Callable[..., Any], open_page: Callable[..., Any], tmp_path: Path
) -> None:
    browser = open_page(write_report(tmp_path, make_results(names=("base", "mine", "other"))))
    assert browser.title == "mine, other against base"
    assert texts(browser, "#cards .big") == ["+0.103", "+0.203"]
    assert "mine scores higher than base" in texts(browser, "#cards .says")
    assert "Its clips move less" in texts(browser, "#cards .warning")[0]
    assert len(texts(browser, "#metrics tbody tr")) == 4
    assert wait_for(browser, "return document.querySelectorAll('#charts svg').length") == 3
    requests = browser.execute_script("return performance.getEntriesByType('resource').map((one) => one.name)")
    assert [name for name in requests if not name.startswith("data:")] == []
    assert complaints(browser) == []


@pytest.mark.needs_browser
def test_only_an_interval_that_leaves_out_zero_is_bold(
    make_results: Callable[..., Any], open_page: Callable[..., Any], tmp_path: Path
) -> None:
    results = make_results(names=("base", "mine", "other"))
    results["comparisons"][0] |= {"ci_low": None, "ci_high": None, "num_left_out": 2}
    results["comparisons"][1] |= {"ci_low": -0.1, "ci_high": 0.5}
    browser = open_page(write_report(tmp_path, results))
    assert [text.split(" ")[0] for text in texts(browser, "#metrics td:nth-child(5)")][:2] == ["none", "\u22120.100"]
    assert len(texts(browser, "#metrics tr")) == 5
    assert len(texts(browser, "#metrics .is-sure")) == 2  # both of motion
    assert len(texts(browser, "#metrics .whisker")) == 3
    warnings = " ".join(texts(browser, "#cards article:first-child .warning"))
    assert "No interval: it takes 5 prompts" in warnings
    assert "2 rows left out" in warnings
    assert "there is no interval" in texts(browser, "#cards .says")[0]
    assert complaints(browser) == []


@pytest.mark.needs_browser
def test_prompt_cannot_become_markup(
    make_results: Callable[..., Any], open_page: Callable[..., Any], tmp_path: Path
) -> None:
    results = make_results([HOSTILE, LONG_WORD])
    for candidate in results["contestants"]:
        candidate["name"] += HOSTILE
    results["command"] = results["judge"] = HOSTILE
    browser = open_page(write_report(tmp_path, results))
    click(browser, "#clip-table button.open")
    assert browser.execute_script("return window.hit ?? null") is None
    assert HOSTILE in texts(browser, ".all .open")[0]
    assert texts(browser, ".command") == [HOSTILE]
    assert texts(browser, "main img, main script") == []
    assert complaints(browser) == []


@pytest.mark.needs_browser
def test_table_sorts_by_every_column(
    make_results: Callable[..., Any], open_page: Callable[..., Any], tmp_path: Path
) -> None:
    results = make_results(["b", "d", "a", "c"])
    results["rows"][1]["clips"][1]["scores"]["reward"] = None
    browser = open_page(write_report(tmp_path, results))

    def order(column: str) -> list[str]:
        click(browser, f'[data-column="{column}"]')
        return [text[1] for text in texts(browser, ".all .open")]

    assert [text[1] for text in texts(browser, ".all .open")] == ["b", "d", "a", "c"]
    assert order("prompt") == ["a", "b", "c", "d"]
    assert order("prompt") == ["d", "c", "b", "a"]
    assert order("seed") == ["b", "d", "a", "c"]
    assert order("score0") == ["c", "a", "d", "b"]  # numbers first from the greatest
    assert order("score1") == ["a", "b", "c", "d"]  # .44, .42, .40, missing: last
    assert order("score1") == ["c", "b", "a", "d"]
    assert order("change") == ["b", "a", "c", "d"]
    script = "return document.querySelector('[aria-sort]').textContent"
    assert browser.execute_script(script).startswith("Difference")


@pytest.mark.needs_browser
def test_metric_and_candidate_are_chosen_for_all_that_follows(
    make_results: Callable[..., Any], open_page: Callable[..., Any], tmp_path: Path
) -> None:
    from selenium.webdriver.support.ui import Select

    browser = open_page(write_report(tmp_path, make_results(["x"], names=("base", "mine", "other"))))
    assert texts(browser, ".all td .change") == ["+0.120"]
    Select(browser.find_element("id", "choose-b")).select_by_visible_text("other")
    assert texts(browser, ".all td .change") == ["+0.220"]
    Select(browser.find_element("id", "choose-metric")).select_by_visible_text("motion")
    assert texts(browser, ".all td .change") == ["\u22120.400"]
    assert texts(browser, "#extremes-list .change") == ["\u22120.400"]
    Select(browser.find_element("id", "choose-metric")).select_by_visible_text("clip")
    assert texts(browser, "#charts p") == ["No clip has this number for both candidates."]
    assert complaints(browser) == []


# Sets one video behind the leader, and tells whether both meet again before the leader begins anew.
IS_BROUGHT_BACK = """
const [video, , leader] = document.querySelectorAll('.detail video');
let start = 0;
const look = () => {
  if (leader.currentTime < start) arguments[0](false);
  else if (Math.abs(video.currentTime - leader.currentTime) < 0.125) arguments[0](true);
  else requestAnimationFrame(look);
};
const begin = () => {
  if (leader.currentTime < 0.4 || leader.currentTime > 0.8) return requestAnimationFrame(begin);
  start = leader.currentTime;
  video.addEventListener('seeked', look, { once: true });
  video.currentTime = leader.currentTime - 0.4;
};
begin();
"""


@pytest.mark.needs_browser
def test_players_of_a_row_play_loop_and_stop_in_step(
    make_results: Callable[..., Any], open_page: Callable[..., Any], tmp_path: Path
) -> None:
    browser = open_page(write_report(tmp_path, make_results(names=("base", "mine", "longer"))))
    row = "[...document.querySelectorAll('.detail video')]"
    button = browser.find_element("css selector", "#clip-table button.open")
    button.send_keys("\ue007")  # Enter
    wait_for(browser, f"return {row}.every((one) => one.currentTime > 0)")
    assert browser.execute_script(f"return {row}.map((one) => one.duration)") == pytest.approx([1, 1, 1.5])
    browser.set_script_timeout(60)
    assert browser.execute_async_script(IS_BROUGHT_BACK)
    wait_for(browser, f"return {row}[0].ended && {row}[2].currentTime > 1.1")  # the short ones wait for the longest
    wait_for(browser, f"return {row}[2].currentTime < 0.6 && !{row}[0].ended")  # and all begin again
    click(browser, ".detail .play")
    wait_for(browser, f"return {row}.every((one) => one.paused && !one.seeking)")
    times = browser.execute_script(f"return {row}.map((one) => one.currentTime)")
    assert max(times) - min(times) < 1e-3
    slider = browser.find_element("css selector", ".detail input[type=range]")
    slider.send_keys("\ue011")  # Home
    slider.send_keys("\ue014" * 2)  # Right twice: two frames
    times = browser.execute_script(f"return {row}.map((one) => one.currentTime)")
    assert times == pytest.approx([0.25] * 3)
    assert complaints(browser) == []


@pytest.mark.needs_browser
def test_linked_videos_play_from_disk(
    make_results: Callable[..., Any], open_page: Callable[..., Any], tmp_path: Path
) -> None:
    results = make_results(names=("base", "mine @0.5 #1 100%"))
    page = write_report(tmp_path, results, max_embedded_bytes=0)
    assert "data:video" not in page.read_text("utf-8")
    moved = tmp_path.with_name("moved here")
    shutil.move(tmp_path, moved)
    browser = open_page(moved / page.name)
    click(browser, "#clip-table button.open")
    assert wait_for(
        browser, "return [...document.querySelectorAll('.detail video')].every((one) => one.currentTime > 0)"
    )
    assert complaints(browser) == []


@pytest.mark.needs_browser
def test_missing_video_says_so_and_the_others_play(
    make_results: Callable[..., Any], open_page: Callable[..., Any], tmp_path: Path
) -> None:
    results = make_results(["a cat"])
    (tmp_path / "videos/mine/clip.mp4").unlink()
    browser = open_page(write_report(tmp_path, results))
    click(browser, "#clip-table button.open")
    assert texts(browser, ".detail .no-video") == ["This video is missing."]
    assert wait_for(browser, "return document.querySelector('.detail video').currentTime > 0")
    assert complaints(browser) == []


@pytest.mark.needs_browser
@pytest.mark.parametrize("num_rows", [1, 300])
def test_one_row_and_many(
    num_rows: int, make_results: Callable[..., Any], open_page: Callable[..., Any], tmp_path: Path
) -> None:
    prompts = [f"prompt {i}" for i in range(num_rows)]
    browser = open_page(write_report(tmp_path, make_results(prompts)))
    assert len(texts(browser, ".all tbody tr")) == num_rows
    assert len(texts(browser, "#extremes-list article")) == min(num_rows, 6)
    browser.find_element("css selector", "input[type=search]").send_keys("PROMPT 0")
    assert len(texts(browser, ".all tbody tr")) == 1
    assert texts(browser, ".tools [role=status]") == [f"1 of {num_rows} row{'s' if num_rows > 1 else ''}"]
    browser.execute_script("document.querySelector('#charts .bar').dispatchEvent(new MouseEvent('click'))")
    assert len(texts(browser, ".all .detail")) == 1
    assert complaints(browser) == []


@pytest.mark.needs_browser
def test_video_that_no_browser_plays_is_shown_as_mp4(
    make_results: Callable[..., Any], open_page: Callable[..., Any], tmp_path: Path
) -> None:
    results = make_results(["a cat"])
    clip = read_video(tmp_path / "videos/mine/clip.mp4")
    write_video(tmp_path / "videos/mine/clip.gif", clip.frames, 8, {})
    results["rows"][0]["clips"][1]["video"] = "videos/mine/clip.gif"
    (tmp_path / "videos/base/clip.mp4").write_bytes(b"this is no video")
    browser = open_page(write_report(tmp_path, results))
    click(browser, "#clip-table button.open")
    assert wait_for(browser, "return document.querySelector('.detail video')?.currentTime > 0.2")
    assert texts(browser, ".detail .no-video") == ["This browser can't show this video."]
    assert read_video(tmp_path / "report_videos/videos/mine/clip.gif.mp4").frames.shape == clip.frames.shape


def test_a_gif_stays_one_without_an_encoder(
    make_results: Callable[..., Any], tmp_path: Path, bare_machine: None
) -> None:
    data = read_data(write_report(tmp_path, make_gif_results(make_results, tmp_path)))
    assert [uri.partition(",")[0] for uri in data["sources"].values()] == ["data:image/gif;base64"] * 2
    linked = read_data(write_report(tmp_path, data["results"], max_embedded_bytes=0))
    assert linked["sources"] == {path: path for path in ("videos/base/clip.gif", "videos/mine/clip.gif")}
    assert not (tmp_path / "report_videos").exists()


@pytest.mark.needs_browser
@pytest.mark.parametrize("max_embedded_bytes", [0, 10**7])
def test_gifs_are_shown_as_pictures_without_an_encoder(
    make_results: Callable[..., Any],
    open_page: Callable[..., Any],
    tmp_path: Path,
    bare_machine: None,
    max_embedded_bytes: int,
) -> None:
    results = make_gif_results(make_results, tmp_path)
    browser = open_page(write_report(tmp_path, results, max_embedded_bytes=max_embedded_bytes))
    click(browser, "#clip-table button.open")
    pictures = "[...document.querySelectorAll('.detail img')]"
    assert wait_for(browser, f"return {pictures}.filter((one) => one.naturalWidth === 16).length === 2")
    assert min(browser.execute_script(f"return {pictures}.map((one) => one.offsetWidth)")) > 100
    hidden = "return ['.detail .controls', '#play-all'].map((one) => document.querySelector(one).offsetHeight)"
    assert browser.execute_script(hidden) == [0, 0]
    assert complaints(browser) == []


def make_gif_results(make_results: Callable[..., Any], folder: Path) -> Any:
    """Results of one row whose two clips are gifs."""
    results = make_results(["a cat"])
    for shade, clip in zip((60, 180), results["rows"][0]["clips"], strict=True):
        clip["video"] = clip["video"].replace(".mp4", ".gif")
        write_video(folder / clip["video"], np.full((4, 16, 16, 3), shade, np.uint8), 8, {})
    return results
