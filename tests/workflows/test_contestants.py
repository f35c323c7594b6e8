"""What the name of a side means, and which clips pair up."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from ivideo.errors import IvideoError, UsageError
from ivideo.io.video import read_video, write_video
from ivideo.models.registry import MODEL_SOURCES
from ivideo.workflows.contestants import (
    Clip,
    Contestant,
    default_prompts,
    find_contestant,
    pair_clips,
    settle_sides,
)
from ivideo.workflows.progress import Silence


def make_clip(name: str, prompt: str | None = None, seed: int | None = None) -> Clip:
    return Clip(name, prompt, seed, np.zeros((1, 8, 8, 3), np.uint8), 8.0)


def test_names(trained_run: Path, base_videos: Path) -> None:
    assert find_contestant("base") == Contestant("base")
    assert find_contestant("emoji-world").model == "emoji-world"
    assert find_contestant("some/model").model == "some/model"
    assert find_contestant(MODEL_SOURCES["emoji-world"]).model == MODEL_SOURCES["emoji-world"]
    assert find_contestant(str(base_videos)).folder == base_videos
    run = find_contestant(str(trained_run), 0.5)
    assert run.adapter is not None
    assert (run.model, run.adapter.path, run.adapter.scale) == (None, trained_run / "best", 0.5)


@pytest.mark.parametrize(("name", "error"), [("nothing-here", UsageError), ("/no/such/folder", UsageError)])
def test_unknown_names(name: str, error: type[IvideoError]) -> None:
    with pytest.raises(error, match="unknown model"):
        find_contestant(name)


def test_base_takes_the_run_s_settings(trained_run: Path) -> None:
    base, run = Contestant("base"), find_contestant(str(trained_run))
    for sides in ((base, run), (run, base)):
        a, b = settle_sides(*sides, config=None, flags={}, progress=Silence())
        assert a == b
        assert (a.model, a.num_frames, a.guidance_scale) == ("emoji-world", 4, 7.5)


def test_a_named_model_keeps_its_own_defaults() -> None:
    sides = [find_contestant(name) for name in ("emoji-world", "modelscope")]
    a, b = settle_sides(sides[0], sides[1], config=None, flags={"seed": 3}, progress=Silence())
    assert (a.model, a.height, a.guidance_scale, a.seed) == ("emoji-world", 64, 7.5, 3)
    assert (b.model, b.height, b.guidance_scale, b.seed) == ("modelscope", 256, 9.0, 3)


def settle(a: Contestant, b: Contestant, **flags: str) -> list[tuple[str, str | None]]:
    sides = settle_sides(a, b, config=None, flags=flags, progress=Silence())
    return [(side.model, side.unet) for side in sides]


def test_base_is_the_file_s_unet_and_a_named_model_keeps_its_own(authors_file: Path, authors_folder: Path) -> None:
    base, model, unet = Contestant("base"), str(authors_folder), str(authors_file)
    file, named = find_contestant(unet, 0.5), find_contestant(model)
    assert file.adapter is not None
    assert (file.adapter.path, file.adapter.scale) == (authors_file, 0.5)
    assert settle(base, file, model=model) == [(model, unet)] * 2
    assert settle(named, file) == [(model, None), (model, unet)]
    assert settle(named, base, unet=unet) == [(model, None), (model, unet)]


def test_a_file_takes_the_model_of_a_run_and_base_that_of_videos(
    authors_file: Path, trained_run: Path, base_videos: Path, tmp_path: Path
) -> None:
    unet = str(authors_file)
    file, run = find_contestant(unet), find_contestant(str(trained_run))
    assert settle(file, run) == [("emoji-world", unet), ("emoji-world", None)]
    video = read_video(next(base_videos.iterdir()))
    write_video(tmp_path / "x.mp4", video.frames, video.fps, {**video.metadata, "unet": unet})
    videos, base = find_contestant(str(tmp_path)), Contestant("base")
    assert settle(base, videos) == [("emoji-world", unet)] * 2


def test_default_prompts_are_the_run_s_else_the_model_s(trained_run: Path, tmp_path: Path) -> None:
    base, run = Contestant("base"), find_contestant(str(trained_run))
    assert default_prompts(base, run, "emoji-world") == ["a pig", "a fox surfing"]
    assert len(default_prompts(base, base, "emoji-world")) > 10
    with pytest.raises(UsageError, match="give them by --prompts"):
        default_prompts(base, base, "some/model")
    copy = shutil.copytree(trained_run, tmp_path / "run")
    (copy / "heldout.txt").write_text("")
    assert len(default_prompts(base, find_contestant(str(copy)), "emoji-world")) > 10


def test_pairs_by_prompt_and_seed_before_names() -> None:
    a = [make_clip("x.mp4", "a cat", 0), make_clip("y.mp4", "a cat", 1), make_clip("z.mp4", "a dog", 0)]
    b = [make_clip("x.mp4", "a dog", 0), make_clip("w.mp4", "a cat", 1)]
    pairs = pair_clips(a, b, ("a", "b"))
    assert [(first.name, second.name) for first, second in pairs] == [("y.mp4", "w.mp4"), ("z.mp4", "x.mp4")]


def test_pairs_by_name_lend_each_other_the_prompt() -> None:
    pairs = pair_clips([make_clip("x.mp4", "a cat", 0)], [make_clip("x.gif")], ("a", "b"))
    assert [(first.prompt, second.prompt) for first, second in pairs] == [("a cat", "a cat")]


def test_pairs_that_cannot_be() -> None:
    with pytest.raises(IvideoError, match="a and b share no video"):
        pair_clips([make_clip("x.mp4", "a cat", 0)], [make_clip("y.mp4", "a cat", 1)], ("a", "b"))
    with pytest.raises(IvideoError, match=r"video x\.mp4 says its prompt on neither side"):
        pair_clips([make_clip("x.mp4")], [make_clip("x.mp4")], ("a", "b"))
