"""Videos on their way to reward models: each read once, few frames at a time, and a bad one in its place."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from torch import Tensor

from ivideo.config.settings import ScoreSettings
from ivideo.metrics.registry import measure_temporal
from ivideo.rewards.contract import RewardModel
from ivideo.rewards.mixture import Rewards
from ivideo.scoring import videos as video_parts
from ivideo.scoring.videos import VideoToScore, count_frames, read_parts
from ivideo.video.reader import VideoReader
from ivideo.video.writer import write_video


class Brightness(RewardModel):
    name = label = "brightness"

    def score(self, frames: Tensor, prompts: Sequence[str], times: Tensor) -> Tensor:
        return frames.mean((2, 3, 4))


REWARDS = Rewards.of(Brightness())


class Reels:
    """Makes readers of frames that count how often they are read, and how many of them are alive."""

    def __init__(self, num_frames: int, announced: int | None, metadata: dict[str, object]) -> None:
        self.num_frames, self.num_reads, self.most_alive, self.last_read = num_frames, 0, 0, -1
        self._given: list[weakref.ref[np.ndarray]] = []
        self.reader = VideoReader(Path("reel"), announced, 8.0, 16, 24, metadata, self._frames)

    def _frames(self, wanted: object) -> Iterator[np.ndarray]:
        self.num_reads += 1
        for index in range(self.num_frames):
            frame = np.full((16, 24, 3), index % 251, np.uint8)
            self._given = [ref for ref in self._given if ref() is not None]
            self._given.append(weakref.ref(frame))
            self.most_alive, self.last_read = max(self.most_alive, len(self._given)), index
            yield frame


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch):
    """`read(reel, **settings)`: the video, and the indices and pixels of the frames that a reward model would see."""

    def read(reel: Reels, **settings: object) -> tuple[VideoToScore, list[tuple[int, int]]]:
        monkeypatch.setattr(video_parts, "open_video", lambda path, background: reel.reader)
        video = VideoToScore(Path("reel"))
        seen = []
        for part in read_parts([video], REWARDS, ScoreSettings(model="m", reward="r", **settings)):
            assert len(part.frames) <= settings.get("batch_size", 16)
            seen += [(index, int(frame[0, 0, 0])) for index, frame in part.frames]
            is_last = part.is_last
            del part
        assert is_last
        return video, seen

    return read


@pytest.mark.parametrize("announced", [40, None])
def test_a_short_video_is_read_once_and_whole(read, announced: int | None) -> None:
    reel = Reels(40, announced, {"prompt": "a cat"})
    video, seen = read(reel, batch_size=7)
    assert seen == [(index, index) for index in range(40)]
    assert (video.prompt, video.error, reel.num_reads) == ("a cat", None, 1)
    assert video.figures == measure_temporal(np.full((16, 24, 3), level, np.uint8) for level in range(40))


@pytest.mark.parametrize(("announced", "num_reads"), [(3000, 1), (None, 2)])
def test_a_long_video_keeps_few_frames_alive(read, monkeypatch, announced: int | None, num_reads: int) -> None:
    monkeypatch.setattr(video_parts, "MAX_PART_BYTES", 10 * 16 * 24 * 3)
    reel = Reels(3000, announced, {"prompt": "a cat"})
    video, seen = read(reel, max_curve_frames=64)
    assert [index for index, _ in seen] == [750 * s + j * 750 // 16 for s in range(4) for j in range(16)]
    assert [level for _, level in seen] == [index % 251 for index, _ in seen]
    assert video.clip is not None
    assert (video.clip.num_frames, reel.num_reads) == (3000, num_reads)
    assert reel.most_alive <= 16


def test_rewards_alone_read_no_further_than_their_last_frame(read) -> None:
    reel = Reels(400, 400, {"prompt": "a cat"})
    video, seen = read(reel, temporal=False)
    assert [index for index, _ in seen] == [0, 100, 200, 300]
    assert (reel.last_read, video.figures, video.error) == (300, None, None)


def test_large_frames_come_in_smaller_parts(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(video_parts, "MAX_PART_BYTES", 2 * 16 * 16 * 3)
    path = write_video(tmp_path / "a.mp4", np.zeros((5, 16, 16, 3), np.uint8), 8, {"prompt": "a cat"})
    parts = read_parts([VideoToScore(path)], REWARDS, ScoreSettings(model="m", reward="r"))
    assert [len(part.frames) for part in parts] == [2, 2, 1, 0]


@pytest.mark.parametrize(
    ("reel", "error"),
    [
        (Reels(8, 8, {}), "reel does not say its prompt"),
        (Reels(8, 8, {"prompt": " "}), "reel does not say its prompt"),
        (Reels(0, 0, {"prompt": "a cat"}), "reel has no frames"),
        (Reels(0, None, {"prompt": "a cat"}), "reel has no frames"),
        (Reels(6, 8, {"prompt": "a cat"}), "6 of its 8 frames"),
    ],
)
def test_what_cannot_be_scored_says_why(read, reel: Reels, error: str) -> None:
    video, _ = read(reel)
    assert error in str(video.error)


def test_the_length_of_a_video_is_counted_where_it_does_not_say_it(monkeypatch) -> None:
    monkeypatch.setattr(video_parts, "MAX_PART_BYTES", 10 * 16 * 24 * 3)
    for length in (9, 10, 11):
        num_frames, kept = count_frames(Reels(length, None, {}).reader)
        assert (num_frames, len(kept)) == (length, length if length < 10 else 0)
