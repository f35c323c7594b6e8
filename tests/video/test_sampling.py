"""Which frames of a video make a clip, and which part of them."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ivideo.errors import IvideoError
from ivideo.video.reader import VideoReader, open_video
from ivideo.video.sampling import crop_box, fit_frame, read_clip, sample_indices
from ivideo.video.writer import write_video


def shades(count: int, height: int = 32, width: int = 32) -> np.ndarray:
    """Frames of one grey each, 4 lighter than the one before: a frame tells its place."""
    return np.broadcast_to(
        (4 * np.arange(count, dtype=np.uint8))[:, None, None, None], (count, height, width, 3)
    ).copy()


def places(clip: np.ndarray) -> list[int]:
    return [round(float(frame.mean()) / 4) for frame in clip]


@pytest.mark.parametrize(
    ("video_fps", "expected"),
    [
        (30.0, [0, 4, 8, 11, 15]),  # every 3.75 frames: 3.75, 7.5, 11.25, 15
        (24.0, [0, 3, 6, 9, 12]),
        (23.976, [0, 3, 6, 9, 12]),
        (12.0, [0, 2, 3, 5, 6]),
        (8.0, [0, 1, 2, 3, 4]),
        (7.99, [0, 1, 2, 3, 4]),
        (4.0, [0, 1, 2, 3, 4]),
    ],
)
def test_frames_are_the_nearest_in_time(video_fps: float, expected: list[int]) -> None:
    assert sample_indices(5, 8.0, video_fps) == expected


@pytest.mark.parametrize("video_fps", [0.1, 7.999, 8.001, 9.0, 11.3, 29.97, 60.0, 239.0])
def test_no_frame_comes_twice_and_none_is_half_a_frame_off(video_fps: float) -> None:
    indices = sample_indices(500, 8.0, video_fps)
    assert len({*indices}) == 500
    assert indices == sorted(indices)
    if video_fps >= 8:
        times = np.arange(500) / 8
        assert np.abs(np.array(indices) / video_fps - times).max() <= 0.5 / video_fps + 1e-9


@pytest.mark.parametrize(
    ("size", "target", "expected"),
    [
        ((100, 64), (32, 32), (0, 18, 64, 82)),
        ((64, 100), (32, 32), (18, 0, 82, 64)),
        ((1920, 1080), (320, 576), (0, 660, 1080, 1260)),
        ((720, 1280), (320, 576), (0, 4.444444, 1280, 715.555556)),
        ((37, 53), (37, 53), (0, 0, 53, 37)),
    ],
)
def test_the_crop_is_centred_and_as_large_as_can_be(size, target, expected) -> None:
    left, top, right, bottom = crop_box(*size, *target)
    assert (left, top, right, bottom) == pytest.approx(expected)
    assert (bottom - top) / (right - left) == pytest.approx(target[0] / target[1])
    assert right <= size[1]
    assert bottom <= size[0]


@pytest.mark.parametrize("size", [(101, 67), (67, 101), (479, 853), (1, 3)])
def test_every_size_fits(size: tuple[int, int]) -> None:
    frame = np.full((*size, 3), 90, np.uint8)
    fitted = fit_frame(frame, 48, 80)
    assert fitted.shape == (48, 80, 3)
    assert (fitted == 90).all()


def test_a_frame_of_the_right_size_stays_as_it_is() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)
    assert np.array_equal(fit_frame(frame, 16, 24), frame)


def test_what_is_cropped_off_leaves_no_trace_and_fine_patterns_no_moire() -> None:
    """Columns of black and white, a pixel each, average to grey; red margins above and below are cut off."""
    frame = np.zeros((256, 128, 3), np.uint8)
    frame[:, ::2] = 255
    frame[:64] = frame[192:] = (255, 0, 0)
    fitted = fit_frame(frame, 32, 32)[1:-1].astype(int)  # the filter sees a little of the margin at the very edge
    assert np.abs(fitted[:, 2:-2] - 127.5).max() < 4


@pytest.mark.parametrize(
    ("name", "fps", "expected"), [("a.mp4", 30.0, [0, 4, 8, 11, 15]), ("a.gif", 20.0, [0, 3, 5, 8, 10])]
)
def test_faster_videos_become_eight_frames_a_second(tmp_path: Path, name: str, fps: float, expected) -> None:
    video = open_video(write_video(tmp_path / name, shades(20), fps, {}))
    assert places(read_clip(video, 5, 8.0, 16, 16)) == expected


def test_a_slower_video_gives_its_frames_one_after_the_other(tmp_path: Path) -> None:
    video = open_video(write_video(tmp_path / "a.mp4", shades(5), 4.0, {}))
    assert places(read_clip(video, 4, 8.0, 16, 16)) == [0, 1, 2, 3]


def test_a_folder_of_odd_portrait_pictures_counts_as_eight_a_second(tmp_path: Path) -> None:
    for place, frame in enumerate(shades(7, 51, 35)):
        Image.fromarray(frame).save(tmp_path / f"{place}.png")
    clip = read_clip(open_video(tmp_path), 3, 4.0, 16, 32)
    assert clip.shape == (3, 16, 32, 3)
    assert places(clip) == [0, 2, 4]


def test_uneven_time_stamps_are_not_looked_at(tmp_path: Path, run_ffmpeg: Callable[..., str]) -> None:
    """Frames 0 to 4 last 1/16 s each, the others 1/4 s; by average rate the clip still takes frames evenly."""
    even = write_video(tmp_path / "even.mp4", shades(16), 16.0, {})
    times = "setpts='if(lt(N,5),N,5+(N-5)*4)/16/TB'"
    run_ffmpeg("-i", even, "-vf", times, "-fps_mode", "passthrough", "-enc_time_base", "1/16", tmp_path / "uneven.mp4")
    video = open_video(tmp_path / "uneven.mp4")
    assert 4 < video.fps < 8
    assert places(read_clip(video, 8, video.fps / 2, 16, 16)) == [0, 2, 4, 6, 8, 10, 12, 14]


def test_the_shortest_video_that_is_long_enough(tmp_path: Path) -> None:
    write_video(tmp_path / "enough.mp4", shades(16), 30.0, {})
    write_video(tmp_path / "short.mp4", shades(15), 30.0, {})
    assert len(read_clip(open_video(tmp_path / "enough.mp4"), 5, 8.0, 16, 16)) == 5
    with pytest.raises(IvideoError) as caught:
        read_clip(open_video(tmp_path / "short.mp4"), 5, 8.0, 16, 16)
    message = f"{tmp_path / 'short.mp4'} is too short: 15 frames at 30 a second; 5 at 8 a second need 16"
    assert str(caught.value) == message


def test_a_video_that_does_not_say_its_length_is_counted(tmp_path: Path, run_ffmpeg: Callable[..., str]) -> None:
    write_video(tmp_path / "a.mp4", shades(6), 8.0, {})
    run_ffmpeg("-i", tmp_path / "a.mp4", "-c", "copy", tmp_path / "a.mkv")
    video = open_video(tmp_path / "a.mkv")
    assert video.num_frames is None
    assert places(read_clip(video, 6, 8.0, 16, 16)) == [0, 1, 2, 3, 4, 5]
    with pytest.raises(IvideoError, match=r"too short: 6 frames at 8 a second; 7 at 8 a second need 7$"):
        read_clip(video, 7, 8.0, 16, 16)


def test_frames_of_the_video_are_not_kept() -> None:
    alive: list[weakref.ref[np.ndarray]] = []
    most = 0

    def decode(wanted: object) -> Iterator[np.ndarray]:
        nonlocal most
        for _ in range(30):
            frame = np.zeros((20, 20, 3), np.uint8)
            alive.append(weakref.ref(frame))
            most = max(most, sum(ref() is not None for ref in alive))
            yield frame

    assert read_clip(VideoReader(Path("a"), 30, 8.0, 20, 20, {}, decode), 30, 8.0, 8, 8).shape == (30, 8, 8, 3)
    assert most <= 3  # the one that comes, the one before it, and a picture made of that


def test_no_more_is_decoded_than_needed(tmp_path: Path) -> None:
    """Damage behind the clip does not matter to it: the last pictures of the folder are no pictures."""
    for place, frame in enumerate(shades(4)):
        Image.fromarray(frame).save(tmp_path / f"{place}.png")
    (tmp_path / "4.png").write_bytes(b"not a picture")
    assert places(read_clip(open_video(tmp_path), 4, 8.0, 16, 16)) == [0, 1, 2, 3]
    with pytest.raises(IvideoError, match=r"4\.png is damaged"):
        read_clip(open_video(tmp_path), 5, 8.0, 16, 16)
