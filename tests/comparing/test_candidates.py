"""What the name of a candidate means, and which settings it gets."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ivideo.comparing.candidates import (
    Candidate,
    default_prompts,
    find_candidate,
    find_candidates,
    list_videos,
    settle_settings,
)
from ivideo.config.presets import MODEL_SOURCES
from ivideo.errors import IvideoError, UsageError
from ivideo.progress import Silence
from ivideo.video.reader import read_video
from ivideo.video.writer import write_video


def test_names(trained_run: Path, base_videos: Path) -> None:
    assert find_candidate("base") == Candidate("base")
    assert find_candidate("emoji-world").model == "emoji-world"
    assert find_candidate("some/model").model == "some/model"
    assert find_candidate(MODEL_SOURCES["emoji-world"]).model == MODEL_SOURCES["emoji-world"]
    assert find_candidate(str(base_videos)).folder == base_videos
    run = find_candidate(str(trained_run), 0.5)
    assert run.adapter is not None
    assert (run.model, run.adapter.path, run.adapter.scale) == (None, trained_run / "best", 0.5)


def test_an_adapter_of_the_package_is_called_by_its_name() -> None:
    base, bundled = find_candidates(["base", "emoji-world-instruct"])
    assert (bundled.name, bundled.kind) == ("emoji-world-instruct", "adapter")
    settings = settle_settings([base, bundled], config=None, flags={}, progress=Silence())
    assert [one.model for one in settings] == ["emoji-world", "emoji-world"]
    assert find_candidate("emoji-world").kind == "model"
    with pytest.raises(UsageError, match="did you mean emoji-world-instruct"):
        find_candidate("emoji-world-instrct")


def test_candidates_are_called_by_the_last_part_of_their_paths(trained_run: Path, base_videos: Path) -> None:
    found = find_candidates(["base", str(trained_run), str(base_videos)])
    assert [(one.name, one.kind) for one in found] == [("base", "model"), ("mine", "adapter"), ("videos", "folder")]


def test_candidates_of_one_name_keep_their_paths(trained_run: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(trained_run, tmp_path / "mine")
    names = [str(trained_run), "base", str(copy)]
    assert [one.name for one in find_candidates(names)] == names


def test_an_adapter_takes_part_once_a_scale(trained_run: Path) -> None:
    found = find_candidates(["base", str(trained_run)], [0.5, 1])
    assert [one.name for one in found] == ["base", "mine @0.5", "mine @1"]
    assert [one.adapter.scale for one in found if one.adapter] == [0.5, 1]
    assert len(find_candidates([str(trained_run)], [0.5, 1])) == 2
    with pytest.raises(UsageError, match="nothing to scale"):
        find_candidates(["base", "modelscope"], [2.0])


def test_the_videos_of_a_folder_are_those_that_show(tmp_path: Path) -> None:
    for name in ("b.mp4", "a.WEBM", ".ivideo-0123.mp4", "a.json", "contact_sheet.png"):
        (tmp_path / name).touch()
    assert [path.name for path in list_videos(tmp_path)] == ["a.WEBM", "b.mp4"]


@pytest.mark.parametrize(("name", "error"), [("nothing-here", UsageError), ("/no/such/folder", UsageError)])
def test_unknown_names(name: str, error: type[IvideoError]) -> None:
    with pytest.raises(error, match="unknown model"):
        find_candidate(name)


def test_base_takes_the_run_s_settings(trained_run: Path) -> None:
    base, run = Candidate("base"), find_candidate(str(trained_run))
    for sides in ((base, run), (run, base)):
        a, b = settle_settings(sides, config=None, flags={}, progress=Silence())
        assert a == b
        assert (a.model, a.num_frames, a.guidance_scale) == ("emoji-world", 4, 7.5)


def test_a_named_model_keeps_its_own_defaults() -> None:
    sides = [find_candidate(name) for name in ("emoji-world", "modelscope")]
    a, b = settle_settings(sides, config=None, flags={"seed": 3}, progress=Silence())
    assert (a.model, a.height, a.guidance_scale, a.seed) == ("emoji-world", 64, 7.5, 3)
    assert (b.model, b.height, b.guidance_scale, b.seed) == ("modelscope", 256, 9.0, 3)


def settle(*candidates: Candidate, **flags: str) -> list[tuple[str, str | None]]:
    sides = settle_settings(candidates, config=None, flags=flags, progress=Silence())
    return [(side.model, side.unet) for side in sides]


def test_base_is_the_file_s_unet_and_a_named_model_keeps_its_own(authors_file: Path, authors_folder: Path) -> None:
    base, model, unet = Candidate("base"), str(authors_folder), str(authors_file)
    file, named = find_candidate(unet, 0.5), find_candidate(model)
    assert file.adapter is not None
    assert (file.adapter.path, file.adapter.scale) == (authors_file, 0.5)
    assert settle(base, file, model=model) == [(model, unet)] * 2
    assert settle(named, file) == [(model, None), (model, unet)]
    assert settle(named, base, unet=unet) == [(model, None), (model, unet)]


def test_a_file_takes_the_model_of_a_run_and_base_that_of_videos(
    authors_file: Path, trained_run: Path, base_videos: Path, tmp_path: Path
) -> None:
    unet = str(authors_file)
    file, run = find_candidate(unet), find_candidate(str(trained_run))
    assert settle(file, run) == [("emoji-world", unet), ("emoji-world", None)]
    video = read_video(next(base_videos.iterdir()))
    write_video(tmp_path / "x.mp4", video.frames, video.fps, {**video.metadata, "unet": unet})
    videos, base = find_candidate(str(tmp_path)), Candidate("base")
    assert settle(base, videos) == [("emoji-world", unet)] * 2
    assert settle(base, file, run) == [("emoji-world", unet), ("emoji-world", unet), ("emoji-world", None)]
    assert settle(base, run, file) == [("emoji-world", None), ("emoji-world", None), ("emoji-world", unet)]


def test_default_prompts_are_the_run_s_else_the_model_s(trained_run: Path, tmp_path: Path) -> None:
    base, run = Candidate("base"), find_candidate(str(trained_run))
    assert default_prompts([base, run], "emoji-world") == ["a pig", "a fox surfing"]
    assert len(default_prompts([base, base], "emoji-world")) > 10
    with pytest.raises(UsageError, match="give them by `prompts`"):
        default_prompts([base, base], "some/model")
    copy = shutil.copytree(trained_run, tmp_path / "run")
    (copy / "heldout.txt").write_text("")
    assert len(default_prompts([base, find_candidate(str(copy))], "emoji-world")) > 10
