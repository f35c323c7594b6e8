"""Each video has a name of its own, and none that exists is written over."""

from __future__ import annotations

import os
from itertools import product
from pathlib import Path

import pytest

from ivideo.errors import IvideoError, UsageError
from ivideo.video.names import plan_files


def clips(prompts: list[str], seeds: list[int]) -> list[tuple[str, int]]:
    return list(product(prompts, seeds))


def fits_none(path: Path, prompt: str, seed: int) -> bool:
    return False


def name(planned: list) -> list[tuple[str, bool]]:
    return [(one.path.name, one.is_kept) for one in planned]


def test_an_equal_video_is_kept_and_another_one_keeps_its_name(tmp_path: Path) -> None:
    for there in ("a-cat_seed0.mp4", "a-cat_seed1.mp4", "a-cat_seed1_2.mp4"):
        (tmp_path / there).touch()
    os.symlink("nowhere", tmp_path / "a-cat_seed1_3.mp4")

    def fits(path: Path, prompt: str, seed: int) -> bool:
        return (path.name, prompt, seed) == ("a-cat_seed0.mp4", "a cat", 0)

    planned = plan_files(clips(["a cat", "A cat!"], [0, 1]), tmp_path, None, fits)
    assert name(planned) == [
        ("a-cat_seed0.mp4", True),
        ("a-cat_seed1_4.mp4", False),
        ("a-cat_seed0_2.mp4", False),
        ("a-cat_seed1_5.mp4", False),
    ]
    assert name(plan_files(clips(["a cat"], [0, 1]), tmp_path, None)) == [(f"a-cat_seed{k}.mp4", False) for k in (0, 1)]


def test_a_gif_needs_the_name_of_its_metadata_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ivideo.video.names.default_suffix", lambda: ".gif")
    (tmp_path / "a-cat_seed0.json").write_text("[]")
    assert name(plan_files(clips(["a cat"], [0]), tmp_path, None, fits_none)) == [("a-cat_seed0_2.gif", False)]


def test_a_named_file_that_is_there_stays_unless_asked_otherwise(tmp_path: Path) -> None:
    output = tmp_path / "x.mp4"
    assert name(plan_files(clips(["a cat"], [0]), output, None, fits_none)) == [("x.mp4", False)]
    output.touch()
    with pytest.raises(IvideoError, match="is there, made otherwise: choose another `output`, or `overwrite` True"):
        plan_files(clips(["a cat"], [0]), output, None, fits_none)
    assert name(plan_files(clips(["a cat"], [0]), output, None, lambda *_: True)) == [("x.mp4", True)]
    assert name(plan_files(clips(["a cat"], [0]), output, None)) == [("x.mp4", False)]


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.mp4")
    for output, message in ((Path("-"), "paths are printed"), (tmp_path / "x.mp4", "no regular file")):
        for fits in (None, fits_none):
            with pytest.raises(UsageError, match=message):
                plan_files(clips(["a cat"], [0]), output, None, fits)
