"""A comparison's rows are scored from the disk, one at a time."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from torch import Tensor

from ivideo.comparing import videos as contest_scoring
from ivideo.comparing.pairs import Row, plan_rows
from ivideo.comparing.videos import pick_frames, score_rows
from ivideo.config.settings import Settings
from ivideo.progress import Silence
from ivideo.rewards.contract import RewardModel
from ivideo.rewards.mixture import Rewards
from ivideo.video.panels import STRIP_HEIGHT
from ivideo.video.reader import Video, read_video
from ivideo.video.writer import write_video


class Brightness(RewardModel):
    """Likes bright frames."""

    name, label = "brightness", "mean pixel"

    def score(self, frames: Tensor, prompts: Sequence[str], times: Tensor) -> Tensor:
        return frames.mean((2, 3, 4))


def make_videos(folder: Path, levels: Sequence[int]) -> tuple[list[Row], list[Path]]:
    rows = plan_rows([(f"prompt {i}", i) for i in range(len(levels))])
    paths = [folder / f"{row.name}.mp4" for row in rows]
    for path, level in zip(paths, levels, strict=True):
        write_video(path, np.full((4, 64, 64, 3), level, np.uint8), 8, {})
    return rows, paths


def test_no_more_than_one_row_is_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, paths = make_videos(tmp_path, [40, 80, 120, 160])
    alive: list[weakref.ref[np.ndarray]] = []
    most = 0

    def read_and_count(path: Path) -> Video:
        nonlocal most
        video = read_video(path)
        alive.append(weakref.ref(video.frames))
        most = max(most, sum(frames() is not None for frames in alive))
        return video

    monkeypatch.setattr(contest_scoring, "read_video", read_and_count)
    by_row = dict(zip([row.name for row in rows], paths, strict=True))
    scored = score_rows(
        rows,
        lambda row: [by_row[row.name]] * 2,
        Rewards.of(Brightness()),
        Settings(model="m", reward="r"),
        names=["a", "b"],
        output=tmp_path / "out",
        progress=Silence(),
    )
    assert len(alive) == 8
    assert most <= 4  # a row's two clips, and the two before until they are replaced
    levels = [one.scores[1].reward * 255 for one in scored]
    assert levels == pytest.approx([40, 80, 120, 160], abs=3)
    assert scored[2].side_by_side == tmp_path / "out" / "side_by_side" / "002_prompt-2_seed2.mp4"
    assert scored[2].side_by_side.is_file()
    assert read_video(scored[2].side_by_side).frames.shape == (4, STRIP_HEIGHT + 256, 2 * 256 + 8, 3)


@pytest.mark.parametrize(("num_frames", "picked"), [(16, [0, 5, 10, 15]), (4, [0, 1, 2, 3]), (1, [0, 0, 0, 0])])
def test_a_sheet_shows_frames_from_the_first_to_the_last(num_frames: int, picked: list[int]) -> None:
    frames = np.arange(num_frames).reshape(-1, 1, 1, 1)
    assert pick_frames(frames).ravel().tolist() == picked
