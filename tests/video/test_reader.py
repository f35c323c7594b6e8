"""The same frames in any container, little in memory, and files that are no whole videos."""

from __future__ import annotations

import json
import os
import weakref
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ivideo.errors import IvideoError
from ivideo.video import pixels
from ivideo.video.folders import natural_order
from ivideo.video.reader import open_video, read_video
from ivideo.video.writer import write_video

Ffmpeg = Callable[..., str]

LOSSLESS = {
    "mkv": "-c:v ffv1 -pix_fmt bgr0",
    "avi": "-c:v ffv1 -pix_fmt bgr0",
    "mov": "-c:v png -pix_fmt rgb24",
    "mp4": "-c:v libx264rgb -qp 0 -pix_fmt rgb24 -movflags +faststart",
    "m4v": "-c:v libx264rgb -qp 0 -pix_fmt rgb24 -f mp4",
    "webm": "-c:v libvpx-vp9 -lossless 1 -pix_fmt gbrp",
    "gif": "-pix_fmt gray",
}
NOISE = np.random.default_rng(0).integers(0, 256, (9, 34, 50, 1), np.uint8).repeat(3, axis=-1)


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory, run_ffmpeg: Ffmpeg) -> Path:
    """The same 9 frames of 50 x 34 noise at 8 fps in every container, without loss; leave them as they are."""
    folder = tmp_path_factory.mktemp("videos")
    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", "50x34", "-r", 8, "-i", "-"]
    for suffix, options in LOSSLESS.items():
        run_ffmpeg(*source, *options.split(), folder / f"a.{suffix}", input=NOISE.tobytes())
    (folder / "frames").mkdir()
    run_ffmpeg("-i", folder / "a.mkv", folder / "frames" / "%d.png")
    return folder


@pytest.fixture(scope="session")
def h264(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An .mp4 as this package writes it: 12 frames of 64 x 48 at 8 fps, each brighter than the one before."""
    frames = np.broadcast_to(np.arange(12, dtype=np.uint8)[:, None, None, None] * 20, (12, 48, 64, 3)).copy()
    frames[:, :20, :30, 0] = 255
    return write_video(tmp_path_factory.mktemp("h264") / "a.mp4", frames, 8, {"prompt": "a cat", "seed": 3})


def copy_to(path: Path, source: Path, run_ffmpeg: Ffmpeg, *options: object) -> Path:
    """The same coded frames in another container."""
    run_ffmpeg("-i", source, "-c", "copy", *options, path)
    assert path.is_file()
    return path


def cut(path: Path, source: Path, share: float) -> Path:
    """The first part of a file."""
    data = source.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def assert_fails_in_one_line(path: Path, message: str) -> None:
    with pytest.raises(IvideoError, match=message) as caught:
        read_video(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [*(f"a.{suffix}" for suffix in LOSSLESS), "frames"])
def test_the_same_frames_come_out_of_any_container(videos: Path, name: str) -> None:
    reader = open_video(videos / name)
    assert reader.num_frames == (None if name[2:] in ("webm", "mkv", "avi") else 9)
    assert (reader.fps, reader.height, reader.width, reader.count()) == (pytest.approx(8, abs=0.4), 34, 50, 9)
    video = read_video(videos / name)
    assert video.fps == reader.fps
    assert np.array_equal(video.frames, NOISE)
    assert video.frames.dtype == np.uint8


@pytest.mark.parametrize("suffix", ["mov", "m4v", "mkv", "avi", "ts", "flv"])
def test_another_container_changes_no_pixel(tmp_path: Path, h264: Path, run_ffmpeg: Ffmpeg, suffix: str) -> None:
    other = read_video(copy_to(tmp_path / f"a.{suffix}", h264, run_ffmpeg))
    assert np.array_equal(other.frames, read_video(h264).frames)
    assert other.fps == 8 or suffix == "avi"  # ffmpeg writes 1/600 s as the time of a copied frame there


@pytest.mark.parametrize("suffix", ["mov", "m4v", "mkv", "avi"])
def test_metadata_goes_along(tmp_path: Path, h264: Path, run_ffmpeg: Ffmpeg, suffix: str) -> None:
    assert read_video(copy_to(tmp_path / f"a.{suffix}", h264, run_ffmpeg)).metadata == {"prompt": "a cat", "seed": 3}


def test_metadata_falls_back_to_the_sidecar(tmp_path: Path, videos: Path) -> None:
    os.link(videos / "a.webm", tmp_path / "a.webm")
    assert open_video(tmp_path / "a.webm").metadata == {}
    (tmp_path / "a.json").write_text('{"prompt": "a dog"}')
    assert open_video(tmp_path / "a.webm").metadata == {"prompt": "a dog"}


def test_the_name_does_not_tell_what_a_file_is(tmp_path: Path, videos: Path) -> None:
    for suffix in ("webm", "gif", "mp4"):
        os.link(videos / f"a.{suffix}", tmp_path / f"{suffix}.txt")
        assert np.array_equal(read_video(tmp_path / f"{suffix}.txt").frames, NOISE)


@pytest.mark.parametrize("name", ["a.mp4", "a.webm", "a.gif", "frames"])
@pytest.mark.parametrize("indices", [[0], [8], [5, 0, 5, 2]])
def test_some_frames_are_those_of_the_whole(videos: Path, name: str, indices: list[int]) -> None:
    assert np.array_equal(open_video(videos / name).read(indices), NOISE[indices])


def test_a_frame_that_is_not_there_is_named(videos: Path) -> None:
    with pytest.raises(IvideoError, match=r"a\.webm has 9 frames, none at position 9 \(counted from 0\)"):
        open_video(videos / "a.webm").read([0, 9])
    for indices in ([], [0, -1]):
        with pytest.raises(ValueError, match="from 0 on"):
            open_video(videos / "a.webm").read(indices)


def test_frames_are_read_no_further_than_needed(tmp_path: Path, videos: Path) -> None:
    """What lies behind the frames that are wanted may even be damaged."""
    pictures = sorted((videos / "frames").iterdir(), key=natural_order)
    (tmp_path / "frames").mkdir()
    for picture in pictures[:3]:
        os.link(picture, tmp_path / "frames" / picture.name)
    (tmp_path / "frames" / "9.png").write_text("no picture")
    assert np.array_equal(open_video(tmp_path / "frames").read([2, 1]), NOISE[[2, 1]])
    assert_fails_in_one_line(tmp_path / "frames", r"9\.png is damaged or not a picture")
    data = bytearray((videos / "a.mp4").read_bytes())
    start = data.index(b"mdat") - 4
    data[start + (len(data) - start) // 2 :] = b""
    data[start : start + 4] = (len(data) - start).to_bytes(4, "big")
    (tmp_path / "a.mp4").write_bytes(data)
    assert np.array_equal(open_video(tmp_path / "a.mp4").read([0, 1]), NOISE[:2])
    assert_fails_in_one_line(tmp_path / "a.mp4", "of its 9 frames can be read")


@pytest.fixture(scope="session")
def long_clip(tmp_path_factory: pytest.TempPathFactory, run_ffmpeg: Ffmpeg) -> Path:
    """400 frames of 320 x 240, about 90 MB as pixels."""
    path = tmp_path_factory.mktemp("long") / "a.mp4"
    run_ffmpeg("-f", "lavfi", "-i", "testsrc=s=320x240:r=25:d=16", "-threads", 1, "-preset", "ultrafast", path)
    return path


def test_a_long_clip_keeps_few_frames_alive(long_clip: Path) -> None:
    given: list[weakref.ref[Any]] = []
    most = 0
    for frame in open_video(long_clip):
        given.append(weakref.ref(frame))
        most = max(most, sum(reference() is not None for reference in given))
    assert len(given) == 400
    assert most <= 2


def test_some_frames_of_a_long_clip_keep_no_others_alive(long_clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[weakref.ref[Any]] = []
    convert = pixels.Converter.__call__

    def watch(*arguments: Any) -> Any:
        frame = convert(*arguments)
        given.append(weakref.ref(frame))
        return frame

    monkeypatch.setattr(pixels.Converter, "__call__", watch)
    assert open_video(long_clip).read([3, 90]).shape == (2, 240, 320, 3)
    assert [reference() for reference in given] == [None, None]


def test_the_file_is_closed_with_the_iterator(long_clip: Path) -> None:
    def is_open() -> bool:
        files = [Path("/proc/self/fd", name) for name in os.listdir("/proc/self/fd")]
        return long_clip in [file.readlink() for file in files if file.is_symlink()]

    frames = iter(open_video(long_clip))
    assert not is_open()
    assert len(list(islice(frames, 2))) == 2
    assert is_open()
    del frames
    assert not is_open()


def test_only_frames_that_are_wanted_become_pixels(videos: Path, h264: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    convert = pixels.Converter.__call__
    monkeypatch.setattr(pixels.Converter, "__call__", lambda *given: made.append(0) or convert(*given))
    reader = open_video(h264)
    assert (reader.num_frames, reader.fps, reader.height, reader.width) == (12, 8.0, 48, 64)
    assert (open_video(videos / "a.webm").count(), made) == (9, [])
    assert [frame is not None for frame in reader.select([4, 2, 4])] == [False, False, True, False, True]
    assert len(made) == 2


@pytest.mark.parametrize("options", ["", "-display_rotation 90 -display_hflip"])
def test_pixels_are_those_of_ffmpegs_best_scaling(
    tmp_path: Path, h264: Path, run_ffmpeg: Ffmpeg, monkeypatch: pytest.MonkeyPatch, options: str
) -> None:
    path = tmp_path / "a.mp4"
    run_ffmpeg(*options.split(), "-i", h264, "-c", "copy", path)
    best = "-sws_flags bicubic+accurate_rnd+full_chroma_int -pix_fmt rgb24 -f rawvideo".split()
    run_ffmpeg("-i", path, *best, tmp_path / "raw")
    size = (64, 48) if options else (48, 64)
    expected = np.fromfile(tmp_path / "raw", np.uint8).reshape(12, *size, 3)
    assert np.array_equal(read_video(path).frames, expected)
    monkeypatch.setattr(pixels, "MIN_PIXELS_FOR_THREADS", 0)
    assert np.array_equal(read_video(path).frames, expected)


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_turned_video_stands_upright(
    tmp_path: Path, videos: Path, run_ffmpeg: Ffmpeg, suffix: str, degrees: int
) -> None:
    path = tmp_path / f"a.{suffix}"
    run_ffmpeg("-display_rotation", degrees, "-i", videos / "a.mp4", "-c", "copy", path)
    assert np.array_equal(read_video(path).frames, np.rot90(NOISE, degrees // 90, axes=(1, 2)))
    reader = open_video(path)
    assert (reader.height, reader.width) == ((34, 50) if degrees == 180 else (50, 34))


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_uneven_times_give_each_frame_once_and_the_average_rate(
    tmp_path: Path, videos: Path, run_ffmpeg: Ffmpeg, suffix: str
) -> None:
    """Frames 0 to 4 last 1/8 s each, the others 4/8 s; an .mkv may say the rate at which it would be even."""
    path = tmp_path / f"a.{suffix}"
    times = "setpts='if(lt(N,5),N,5+(N-5)*4)/8/TB'"
    lossless = "-fps_mode passthrough -enc_time_base 1/8 -c:v libx264rgb -qp 0".split()
    run_ffmpeg("-i", videos / "a.mkv", "-vf", times, *lossless, path)
    video = read_video(path)
    assert np.array_equal(video.frames, NOISE)
    assert 2 < video.fps <= 8
    assert suffix == "mkv" or video.fps == pytest.approx(9 / (17 / 8), rel=0.15)


def test_sound_beside_the_picture_changes_nothing(tmp_path: Path, videos: Path, run_ffmpeg: Ffmpeg) -> None:
    path = tmp_path / "a.mkv"
    run_ffmpeg("-i", videos / "a.mkv", "-f", "lavfi", "-i", "sine=duration=5", "-c:v", "copy", path)
    assert np.array_equal(read_video(path).frames, NOISE)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a.webm", "has no video frames"),
        ("a.m4a", "has no video frames"),
        ("a.wav", "is not a video that can be read"),
        ("a.mp3", "is not a video that can be read"),
    ],
)
def test_a_sound_file_is_no_video(tmp_path: Path, run_ffmpeg: Ffmpeg, name: str, message: str) -> None:
    run_ffmpeg("-f", "lavfi", "-i", "sine=duration=0.2", tmp_path / name)
    assert_fails_in_one_line(tmp_path / name, message)


def test_a_sound_file_with_a_cover_is_no_video(tmp_path: Path, videos: Path, run_ffmpeg: Ffmpeg) -> None:
    path = tmp_path / "a.mkv"
    cover = ["-attach", videos / "frames" / "1.png", "-metadata:s:t", "mimetype=image/png"]
    run_ffmpeg("-f", "lavfi", "-i", "sine=duration=0.2", *cover, path)
    assert "attached pic" in run_ffmpeg("-i", path)
    assert_fails_in_one_line(path, "has no video frames")


def test_an_mp4_of_no_frames_is_named(tmp_path: Path, h264: Path, run_ffmpeg: Ffmpeg) -> None:
    copy_to(tmp_path / "a.mp4", h264, run_ffmpeg, "-frames:v", 0)
    assert_fails_in_one_line(tmp_path / "a.mp4", "has no video frames")


@pytest.mark.parametrize("name", ["a.webm", "a.mkv", "a.avi"])
@pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
def test_a_file_that_ends_before_its_announced_size_is_cut(
    tmp_path: Path, videos: Path, name: str, share: float
) -> None:
    path = cut(tmp_path / name, videos / name, share)
    num_bytes = [os.path.getsize(one) for one in (path, videos / name)]
    assert_fails_in_one_line(path, "is truncated: it has {} of its {} bytes".format(*num_bytes))


@pytest.mark.parametrize("min_pixels_for_threads", [0, 2**17])
def test_a_frame_that_cannot_be_decoded_is_an_error(
    tmp_path: Path, videos: Path, run_ffmpeg: Ffmpeg, monkeypatch: pytest.MonkeyPatch, min_pixels_for_threads: int
) -> None:
    monkeypatch.setattr(pixels, "MIN_PIXELS_FOR_THREADS", min_pixels_for_threads)
    path = copy_to(tmp_path / "a.mkv", videos / "a.mov", run_ffmpeg)
    data = bytearray(path.read_bytes())
    for place in range(len(data) // 2, len(data) // 2 + 50):
        data[place] ^= 0x5A
    path.write_bytes(data)
    assert_fails_in_one_line(path, "is truncated or damaged: only 8 frames can be read")
    assert np.array_equal(list(islice(open_video(path), 8)), np.delete(NOISE, 4, axis=0))


def test_a_live_recording_does_not_say_its_size(tmp_path: Path, videos: Path, run_ffmpeg: Ffmpeg) -> None:
    """So it can be read, and a cut one reads as a shorter one."""
    path = copy_to(tmp_path / "a.webm", videos / "a.webm", run_ffmpeg, "-live", 1)
    assert np.array_equal(read_video(path).frames, NOISE)
    short = read_video(cut(tmp_path / "b.webm", path, 0.6)).frames
    assert 1 < len(short) < 9
    assert np.array_equal(short, NOISE[: len(short)])


def test_a_fragmented_mp4_is_read_and_a_cut_one_is_not(tmp_path: Path, videos: Path, run_ffmpeg: Ffmpeg) -> None:
    fragmented = ["-movflags", "+frag_every_frame+empty_moov"]
    path = copy_to(tmp_path / "a.mp4", videos / "a.mp4", run_ffmpeg, *fragmented)
    reader = open_video(path)
    assert (reader.num_frames, reader.fps, reader.height, reader.width) == (None, 8.0, 34, 50)
    assert np.array_equal(read_video(path).frames, NOISE)
    assert_fails_in_one_line(cut(tmp_path / "b.mp4", path, 0.6), "is truncated")


def test_a_change_of_size_is_scaled_to_the_first(tmp_path: Path, run_ffmpeg: Ffmpeg) -> None:
    for name, size in (("a", "64x48"), ("b", "96x64")):
        run_ffmpeg("-f", "lavfi", "-i", f"testsrc=s={size}:r=8:d=1", "-pix_fmt", "yuv420p", tmp_path / f"{name}.ts")
    both = tmp_path / "c.ts"
    both.write_bytes((tmp_path / "a.ts").read_bytes() + (tmp_path / "b.ts").read_bytes())
    num_frames, *size = read_video(both).frames.shape
    assert num_frames > 8
    assert size == [48, 64, 3]


@pytest.mark.parametrize("source", ["frames/1.png", "list"])
def test_pictures_and_playlists_are_no_videos(tmp_path: Path, videos: Path, source: str) -> None:
    path = tmp_path / "a.mp4"
    playlist = f"ffconcat version 1.0\nfile {videos}/a.mp4\n".encode()
    path.write_bytes(playlist if source == "list" else (videos / source).read_bytes())
    assert_fails_in_one_line(path, "is not a video that can be read")


def test_what_is_no_regular_file_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.mp4")
    assert_fails_in_one_line(tmp_path / "a.mp4", "no regular file")
    assert_fails_in_one_line(tmp_path / "b.webm", "does not exist")


@pytest.mark.parametrize("name", ["a.webm", "frames"])
def test_a_foreign_json_beside_a_video_is_told_and_left_alone(tmp_path: Path, videos: Path, name: str) -> None:
    (tmp_path / name).symlink_to(videos / name)
    sidecar = (tmp_path / name).resolve().parent / "frames.json" if name == "frames" else tmp_path / "a.json"
    sidecar.write_text("[1]")
    reader = open_video(tmp_path / name)
    assert (reader.metadata, reader.foreign) == ({}, f"{sidecar} is not a JSON object")
    sidecar.unlink()


def test_metadata_of_a_folder_lies_beside_it(tmp_path: Path, videos: Path) -> None:
    (tmp_path / "v1.5").mkdir()
    os.link(videos / "frames" / "1.png", tmp_path / "v1.5" / "1.png")
    (tmp_path / "v1.5.json").write_text(json.dumps({"prompt": "a cat"}))
    reader = open_video(tmp_path / "v1.5", folder_fps=24)
    assert (reader.metadata, reader.fps, reader.num_frames) == ({"prompt": "a cat"}, 24, 1)
