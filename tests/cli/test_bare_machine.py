"""Every command without moviepy, imageio-ffmpeg, PyAV and hpsv2: GIFs instead of mp4s, and one line says so."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ivideo.video.reader import read_video
from ivideo.video.writer import write_video

MODEL = ("--model", "emoji-world")
NO_ENCODER = "no encoder of videos is installed (pip install moviepy imageio-ffmpeg)"
SAID = f"{NO_ENCODER}: videos are written as GIF"
NO_DECODER = "cannot be read: no decoder of videos is installed (pip install av)"
# `python -m ivideo` where the packages are not there
BARE = """
import runpy, sys
sys.modules.update(dict.fromkeys(("moviepy", "imageio_ffmpeg", "av", "hpsv2")))
runpy.run_module("ivideo", run_name="__main__", alter_sys=True)
"""


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_fresh_process_generates_and_scores(small, tmp_path: Path) -> None:
    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", BARE, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=120)

    made = run("generate", "a cat surfing", *MODEL, *small, "-o", tmp_path)
    assert (made.returncode, made.stdout) == (0, f"{tmp_path / 'a-cat-surfing_seed0.gif'}\n"), made.stderr
    assert made.stderr.splitlines()[0] == SAID
    scored = run("score", made.stdout.strip(), "--quiet")
    assert scored.returncode == 0, scored.stderr
    record = json.loads(scored.stdout)
    assert (record["prompt"], record["num_frames"], record["fps"]) == ("a cat surfing", 4, 8.0)
    assert -1 <= record["reward"] <= 1


@pytest.mark.usefixtures("bare_machine")
def test_generate_says_once_that_it_writes_gifs(ivideo, small, tmp_path: Path) -> None:
    result = ivideo("generate", "a cat", "a dog", *MODEL, *small, "-o", tmp_path)
    assert (result.exit_code, result.stderr.splitlines().count(SAID)) == (0, 1)
    stems = ("a-cat_seed0", "a-dog_seed0")
    assert names_in(tmp_path) == [f"{stem}.{suffix}" for stem in stems for suffix in ("gif", "json")]
    assert "encoder" not in ivideo("generate", "a cat", *MODEL, *small, "-o", tmp_path / "asked.gif").stderr


@pytest.mark.usefixtures("bare_machine")
@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("-o", "x.mp4"), f"cannot write x.mp4: {NO_ENCODER}; a .gif can be written"),
        (("--fps", 60), f"a gif shows at most 50 frames per second, not 60; an .mp4 could, but {NO_ENCODER}"),
    ],
)
def test_what_a_gif_is_not_is_refused_before_any_work(
    ivideo, small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, flags: tuple[object, ...], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = ivideo("generate", "a cat", *MODEL, *small, *flags)
    assert (result.exit_code, result.stderr) == (2, f"error: {message}\n")
    assert names_in(tmp_path) == []


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    (tmp_path / "p.txt").write_text("a cat surfing\na cow\n")
    (tmp_path / "heldout.txt").write_text("a pig\n")
    return tmp_path / "p.txt"


@pytest.mark.usefixtures("bare_machine")
def test_finetune_writes_all_it_can(ivideo, small_training, tmp_path: Path, prompts: Path) -> None:
    flags = (*MODEL, *small_training, "--max-steps", 1, "--batch-size", 2, "--eval-prompts", tmp_path / "heldout.txt")
    result = ivideo("finetune", prompts, *flags, "-o", tmp_path / "run")
    assert (result.exit_code, result.stderr.splitlines().count(SAID)) == (0, 1), result.stderr
    kinds = ("after", "before", "before_after")
    assert names_in(tmp_path / "run" / "videos") == [
        f"00_a-pig_{kind}.{end}" for kind in kinds for end in ("gif", "json")
    ]
    assert names_in(tmp_path / "run" / "grids") == [f"step_00001.{end}" for end in ("gif", "json", "png")]
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["videos"] == [str(tmp_path / "run" / "videos" / "00_a-pig_before_after.gif")]
    assert read_video(Path(summary["videos"][0])).frames.shape == (4, 284, 520, 3)
    assert Image.open(summary["curve"]).size[0] == 960
    again = ivideo("finetune", "--resume", tmp_path / "run")
    assert (again.exit_code, SAID in again.stderr) == (0, False)  # finished: nothing is written


@pytest.mark.usefixtures("bare_machine")
def test_finetune_refuses_a_rate_that_no_gif_has_before_any_work(
    ivideo, small_training, tmp_path: Path, prompts: Path
) -> None:
    flags = (*MODEL, *small_training, "--max-steps", 1, "--fps", 60, "-o", tmp_path / "run")
    result = ivideo("finetune", prompts, *flags)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert result.stderr.startswith("error: a gif shows at most 50 frames per second, not 60; ")
    assert not (tmp_path / "run").exists()
    without = ivideo("finetune", prompts, *flags, "--no-eval")  # and so without a video
    assert (without.exit_code, "encoder" in without.stderr) == (0, False), without.stderr


@pytest.mark.usefixtures("bare_machine")
def test_a_run_of_another_machine_is_gone_on_with(ivideo, trained_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(trained_run, tmp_path / "run")
    (run / "summary.json").unlink()
    config = (run / "config.toml").read_text()
    (run / "config.toml").write_text(config.replace("fps = 8.0", "fps = 60.0"))
    refused = ivideo("finetune", "--resume", run)
    assert (refused.exit_code, refused.stderr.count("\n")) == (2, 1)
    assert refused.stderr.startswith("error: a gif shows at most 50 frames per second, not 60; ")
    (run / "config.toml").write_text(config)
    result = ivideo("finetune", "--resume", run)
    assert (result.exit_code, result.stderr.splitlines().count(SAID)) == (0, 1), result.stderr
    videos = json.loads((run / "summary.json").read_text())["videos"]
    assert [Path(path).suffix for path in videos] == [".gif", ".gif"]


@pytest.fixture
def real_clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A list of three mp4s; the cache is empty."""
    monkeypatch.setenv("IVIDEO_CACHE", str(tmp_path / "cache"))
    for number in range(3):
        write_video(tmp_path / f"{number}.mp4", np.full((8, 64, 64, 3), 60 * number, np.uint8), 8.0, {})
    (tmp_path / "list.txt").write_text("".join(f"{number}.mp4|||a cat\n" for number in range(3)))
    return tmp_path / "list.txt"


def test_real_mp4s_are_refused_once_and_not_clip_by_clip(
    ivideo, small_training, tmp_path: Path, real_clips: Path, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue("bare_machine")
    flags = (*MODEL, *small_training, "--max-steps", 1, "--batch-size", 1, "--no-eval", "-o", tmp_path / "run")
    result = ivideo("finetune", real_clips, *flags)
    assert result.exit_code == 1
    assert [line for line in result.stderr.splitlines() if "decoder" in line] == [
        f"error: {tmp_path / '0.mp4'} {NO_DECODER}; GIFs and folders of pictures can"
    ]
    assert not (tmp_path / "run").exists()


def test_score_says_of_an_mp4_why_and_scores_the_rest(
    ivideo, tmp_path: Path, base_videos: Path, request: pytest.FixtureRequest
) -> None:
    request.getfixturevalue("bare_machine")
    mp4 = min(base_videos.iterdir())
    frozen = write_video(tmp_path / "frozen.gif", np.full((8, 64, 64, 3), 90, np.uint8), 8, {"prompt": "a pig"})
    result = ivideo("score", mp4, frozen, *MODEL, "--quiet")
    bad, good = map(json.loads, result.stdout.splitlines())
    message = f"{mp4} {NO_DECODER}; GIFs and folders of pictures can"
    assert (bad["error"], bad["reward"]) == (message, None)
    assert (good["error"], good["num_frames"], good["motion"]) == (None, 8, 0)
    assert result.stderr.splitlines() == [f"error: {message}", "error: 1 of 2 videos could not be scored"]


def test_compare_makes_gifs_and_takes_no_mp4_of_another_machine_for_one(
    ivideo, trained_run: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    command = ("compare", "base", trained_run, "--format", "json", "--output", tmp_path / "out")
    assert ivideo(*command).exit_code == 0
    request.getfixturevalue("bare_machine")
    result = ivideo(*command)
    assert (result.exit_code, result.stderr.splitlines().count(SAID)) == (0, 1), result.stderr
    assert "are there already" not in result.stderr
    rows = json.loads(result.stdout)["rows"]
    paths = [
        tmp_path / "out" / path for row in rows for path in (row["side_by_side"], *(c["video"] for c in row["clips"]))
    ]
    assert {path.suffix for path in paths} == {".gif"}
    assert {len(read_video(path).frames) for path in paths} == {4}
    page = (tmp_path / "out" / "report.html").read_text()
    assert (page.count("data:image/gif;base64,"), page.count("data:video/mp4")) == (4, 0)
    assert (tmp_path / "out" / "results.csv").read_text().count(".gif") == 4
    assert Image.open(tmp_path / "out" / "contact_sheet.png").width > 200
    assert "are there already" in ivideo(*command).stderr


def test_compare_takes_a_folder_of_gifs_and_refuses_mp4s_before_any_work(
    ivideo, small, base_videos: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder = tmp_path / "gifs"
    for path in base_videos.iterdir():
        video = read_video(path)
        write_video(folder / f"{path.stem}.gif", video.frames, 8, video.metadata)
    request.getfixturevalue("bare_machine")
    taken = ivideo("compare", "base", folder, *small, "--format", "json")
    assert (taken.exit_code, len(json.loads(taken.stdout)["rows"])) == (0, 4), taken.stderr
    refused = ivideo("compare", "base", base_videos, *small)  # not a word of videos that base makes
    message = f"error: {min(base_videos.iterdir())} {NO_DECODER}; GIFs and folders of pictures can\n"
    assert (refused.exit_code, refused.stderr) == (1, message)


@pytest.mark.usefixtures("bare_machine")
def test_people_are_not_asked_about_gifs(ivideo, small, trained_run: Path, tmp_path: Path) -> None:
    result = ivideo("compare", "base", trained_run, *small, "--rate", "--output", tmp_path / "out", "--quiet")
    assert (result.exit_code, result.stderr) == (2, f"error: people rate mp4 videos, and {NO_ENCODER}\n")
    assert not (tmp_path / "out").exists()
