"""Which videos are held against each other."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ivideo.comparing import pairs as pairing
from ivideo.comparing.pairs import ReadyVideo, Row, find_listed, match_folders, plan_clips, plan_rows, read_folder
from ivideo.errors import IvideoError, UsageError
from ivideo.inputs.prompts import Prompt, own_of
from ivideo.video.captions import Captions
from ivideo.video.reader import VideoReader
from ivideo.video.writer import write_video


def make_video(path: str, prompt: str | None = None, seed: int | None = None) -> ReadyVideo:
    return ReadyVideo(Path(path), prompt, seed)


def match(*folders: list[ReadyVideo], by_name: bool = True) -> list[Row]:
    return match_folders(dict(enumerate(folders)), dict(enumerate("abc")), by_name)


def test_no_two_clips_share_a_seed_and_more_seeds_keep_those_of_fewer() -> None:
    assert plan_clips(["a", "b"], 2, 0) == [("a", 0), ("a", 2), ("b", 1), ("b", 3)]
    many = plan_clips(["a", "b", "c"], 3, 10)
    assert sorted(seed for _, seed in many) == list(range(10, 19))
    assert {*plan_clips(["a", "b", "c"], 2, 10)} < {*many}
    assert plan_clips(["a", Prompt("b", seed=7)], 2, 0) == [("a", 0), ("a", 2), ("b", 7), ("b", 9)]


def test_a_listed_prompt_with_a_seed_is_of_the_videos_with_that_seed() -> None:
    listed = ["a", Prompt("b", "fog", 3), Prompt("b", seed=4)]
    assert [find_listed("a", seed, listed) for seed in (0, None)] == ["a", "a"]
    assert [own_of(find_listed("b", seed, listed)) for seed in (3, 4)] == [
        {"negative_prompt": "fog", "seed": 3},
        {"seed": 4},
    ]
    assert [find_listed(*key, listed) for key in (("b", 5), ("c", 0), (None, 0))] == [None, None, None]
    with pytest.raises(UsageError, match=r"^`prompts` has 'a' several times, and videos of a folder are found by"):
        find_listed("a", 0, ["a", Prompt("a", "fog")])


def test_rows_have_names_of_their_own() -> None:
    rows = plan_rows([("A dog!", 1), ("a dog", 1), ("A dog!", 2), ("x/../y", None), ("x/../y", None)])
    assert [row.name for row in rows] == [
        "000_a-dog_seed1",
        "001_a-dog_seed1",
        "000_a-dog_seed2",
        "002_x-y_row3",
        "002_x-y_row4",
    ]


def test_prompt_and_seed_come_before_names() -> None:
    a = [make_video("x.mp4", "a cat", 0), make_video("y.mp4", "a cat", 1), make_video("z.mp4", "a dog", 0)]
    b = [make_video("x.mp4", "a dog", 0), make_video("w.mp4", "a cat", 1)]
    rows = match(a, b)
    assert [(row.prompt, row.seed) for row in rows] == [("a cat", 1), ("a dog", 0)]
    assert [row.ready for row in rows] == [
        {0: Path("y.mp4"), 1: Path("w.mp4")},
        {0: Path("z.mp4"), 1: Path("x.mp4")},
    ]


def test_only_what_all_folders_have_is_compared() -> None:
    a = [make_video("x.mp4", "a cat", 0), make_video("y.mp4", "a cat", 1)]
    (row,) = match(a, a, a[1:])
    assert (row.seed, len(row.ready)) == (1, 3)


def test_names_lend_each_other_the_prompt() -> None:
    (row,) = match([make_video("a/x.mp4", "a cat", 0)], [make_video("b/x.gif")])
    assert (row.prompt, row.seed) == ("a cat", None)


def test_names_pair_the_videos_of_a_run_though_prompts_and_seeds_come_twice() -> None:
    a, b = (
        [make_video(f"{run}/0_{moment}.mp4", "a cat", 0) for moment in ("before", "after")] for run in ("one", "two")
    )
    rows = match(a, b)
    assert [row.ready[1].name for row in rows] == ["0_before.mp4", "0_after.mp4"]
    assert len({row.name for row in rows}) == 2


def test_what_does_not_pair_is_told() -> None:
    with pytest.raises(IvideoError, match="a and b share no video"):
        match([make_video("x.mp4", "a cat", 0)], [make_video("y.mp4", "a cat", 1)])
    with pytest.raises(IvideoError, match=r"video x\.mp4 says its prompt in no folder"):
        match([make_video("x.mp4")], [make_video("x.mp4")])
    with pytest.raises(IvideoError, match=r"a/x\.mp4 is of 'a cat', b/x\.mp4 of 'a dog'"):
        match([make_video("a/x.mp4", "a cat", 0)], [make_video("b/x.mp4", "a dog", 1)])
    with pytest.raises(IvideoError, match=r"x\.mp4 and y\.mp4 say the same prompt and seed"):
        match([make_video("x.mp4", "a cat", 0), make_video("y.mp4", "a cat", 0)], [make_video("z.mp4", "a cat", 0)])
    with pytest.raises(IvideoError, match="the videos in b do not say their prompts and seeds"):
        match([make_video("x.mp4", "a cat", 0)], [make_video("x.mp4")], by_name=False)


@pytest.mark.parametrize("num_frames", [0, 1])
def test_a_video_needs_a_frame_to_be_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, num_frames: int) -> None:
    (tmp_path / "a.mp4").touch()
    said = {"prompt": "a cat", "seed": 3}
    reader = VideoReader(tmp_path / "a.mp4", num_frames, 8.0, 16, 24, said, lambda _: iter(()))
    monkeypatch.setattr(pairing, "open_video", lambda path: reader)
    if num_frames:
        assert read_folder(tmp_path, None) == [ReadyVideo(tmp_path / "a.mp4", "a cat", 3)]
    else:
        with pytest.raises(IvideoError, match=r"a\.mp4 has no frames"):
            read_folder(tmp_path, None)


def test_prompts_come_from_captions_texts_and_names_beside_the_videos(tmp_path: Path) -> None:
    write_video(tmp_path / "1.mp4", np.zeros((1, 16, 16, 3), np.uint8), 8, {})
    for name in ("2.mp4", "a cat-0.mp4"):
        os.link(tmp_path / "1.mp4", tmp_path / name)
    Image.new("RGB", (8, 8)).save(tmp_path / "3.gif")
    (tmp_path / "2.txt").write_text("a dog\n")
    (tmp_path / "3.json").write_text("[1]")
    (tmp_path / "captions").write_text('{"1": "a cow"}')
    found = {video.path.name: video for video in read_folder(tmp_path, None, Captions(tmp_path / "captions"))}
    prompts = {name: video.prompt for name, video in found.items()}
    assert prompts == {"1.mp4": "a cow", "2.mp4": "a dog", "a cat-0.mp4": "a cat", "3.gif": None}
    assert found["a cat-0.mp4"].notes == ("its prompt is from its name",)
    with pytest.raises(IvideoError, match=r"3\.json is not a JSON object, so nothing says what 3\.gif should show"):
        match([found["3.gif"]], [found["3.gif"]])
