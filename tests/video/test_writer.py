"""Clips come back as they were written, and a damaged file is never read as a whole one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ivideo.errors import IvideoError, UsageError
from ivideo.video.reader import Frames, open_video, read_video
from ivideo.video.writer import default_suffix, explain_ffmpeg, write_video

Ffmpeg = Callable[..., str]

NASTY = 'a "cat"; surfing=yes\nline two \\ # 🐈 naïve \x00 \' {}'


def make_clip(num_frames: int = 16, height: int = 64, width: int = 64) -> Frames:
    """Smooth colours that move by one pixel a frame."""
    t, y, x = np.mgrid[:num_frames, :height, :width]
    waves = [np.sin((x + t) / 9), np.cos((y + t) / 11), np.sin((x + y) / 15)]
    return (128 + 100 * np.stack(waves, axis=-1)).astype(np.uint8)


def assert_fails_in_one_line(path: Path, message: str) -> None:
    with pytest.raises(IvideoError, match=message) as caught:
        read_video(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("fps", [8, 7.5, 29.97, 1, 60])
def test_mp4_comes_back_with_frames_fps_and_metadata(tmp_path: Path, fps: float) -> None:
    frames = make_clip()
    metadata = {"prompt": "a cat", "seed": 3, "settings": {"guidance_scale": 3.0, "lora": None}}
    video = read_video(write_video(tmp_path / "a.mp4", frames, fps, metadata))
    assert video.frames.shape == frames.shape
    assert video.frames.dtype == np.uint8
    assert np.abs(video.frames.astype(int) - frames).mean() < 2.0
    assert video.fps == pytest.approx(fps, abs=1e-9)
    assert video.metadata == metadata


def test_flat_colours_survive_the_change_of_colour_space(tmp_path: Path) -> None:
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [0, 0, 0], [90, 140, 200]], np.uint8)
    frames = np.broadcast_to(colours[:, None, None, :], (6, 64, 64, 3)).copy()
    video = read_video(write_video(tmp_path / "a.mp4", frames, 8, {}))
    assert np.abs(video.frames.astype(int) - frames).max() <= 4


@pytest.mark.parametrize(
    ("status", "log", "reason"),
    [
        (
            228,
            "Error muxing: No space left on device\n[libx264] kb/s:269\nConversion failed!\n",
            "No space left on device",
        ),
        (1, "Disk quota exceeded\nConversion failed!", "Disk quota exceeded"),
        (1, "Unknown encoder\nConversion failed!\n\n", "ffmpeg: Unknown encoder"),
        (1, "Conversion failed!", "ffmpeg: no reason given"),
        (-9, "", "ffmpeg was ended by SIGKILL"),
    ],
)
def test_a_failing_encoder_says_why(status: int, log: str, reason: str) -> None:
    assert explain_ffmpeg(status, log) == reason


@pytest.mark.parametrize("suffix", [".mp4", ".gif", ".MP4"])
def test_any_text_survives_in_the_metadata(tmp_path: Path, suffix: str) -> None:
    metadata = {"prompt": NASTY, "ключ;=": [1, "=\n;"]}
    assert read_video(write_video(tmp_path / f"a{suffix}", make_clip(2), 8, metadata)).metadata == metadata


def test_the_title_is_the_prompt_and_the_stream_is_plain_h264(tmp_path: Path, run_ffmpeg: Ffmpeg) -> None:
    path = write_video(tmp_path / "a.mp4", make_clip(), 8, {"prompt": "a 🐈; surfing"})
    report = run_ffmpeg("-i", str(path))
    assert ": a 🐈; surfing\n" in report
    assert "Video: h264" in report
    assert "yuv420p(tv, bt709" in report
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


@pytest.mark.parametrize(("height", "width"), [(63, 65), (64, 33), (1, 1)])
def test_odd_sides_are_filled_up_by_repeating_the_edge(tmp_path: Path, height: int, width: int) -> None:
    frames = make_clip(4, height, width)
    read = read_video(write_video(tmp_path / "a.mp4", frames, 8, {})).frames
    assert read.shape == (4, height + height % 2, width + width % 2, 3)
    assert np.abs(read[:, :height, :width].astype(int) - frames).mean() < 3.0


@pytest.mark.parametrize("suffix", [".mp4", ".gif"])
def test_same_frames_give_the_same_bytes(tmp_path: Path, suffix: str) -> None:
    first = write_video(tmp_path / f"a{suffix}", make_clip(), 8, {"seed": 1})
    second = write_video(tmp_path / f"b{suffix}", make_clip(), 8, {"seed": 1})
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("fps", [8, 30, 50])
def test_gif_comes_back_with_its_sidecar(tmp_path: Path, fps: float) -> None:
    frames = make_clip()[..., :1].repeat(3, axis=-1)
    frames[4:9] = frames[4]
    video = read_video(write_video(tmp_path / "a.gif", frames, fps, {"seed": 1}))
    assert video.frames.shape == frames.shape
    assert np.abs(video.frames.astype(int) - frames).mean() < 1.0
    assert video.fps == pytest.approx(fps, rel=0.02)
    assert sorted(os.listdir(tmp_path)) == ["a.gif", "a.json"]
    assert json.loads((tmp_path / "a.json").read_text()) == {"seed": 1}


def test_a_gif_of_another_program_is_read(tmp_path: Path) -> None:
    pictures = [Image.new("RGB", (20, 10), colour) for colour in ("red", "lime", "blue")]
    pictures[0].save(tmp_path / "a.gif", save_all=True, append_images=pictures[1:], duration=100)
    video = read_video(tmp_path / "a.gif")
    assert video.frames[:, 5, 5].tolist() == [[255, 0, 0], [0, 255, 0], [0, 0, 255]]
    assert (video.fps, video.metadata) == (10.0, {})


@pytest.mark.parametrize("name", ["a.avi", "a", "a.mp4.txt"])
def test_other_suffixes_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=r"ends in \.mp4 or \.gif"):
        write_video(tmp_path / name, make_clip(1), 8, {})
    assert os.listdir(tmp_path) == []


def test_a_gif_that_browsers_would_slow_down_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at most 50"):
        write_video(tmp_path / "a.gif", make_clip(2), 60, {})


@pytest.mark.parametrize(
    "frames",
    [make_clip().astype(np.float32), make_clip()[0], make_clip()[:0]],
)
def test_what_is_no_clip_is_a_bug(tmp_path: Path, frames: Any) -> None:
    with pytest.raises(ValueError, match="must be"):
        write_video(tmp_path / "a.mp4", frames, 8, {})


@pytest.mark.parametrize("fps", [0, 0.001, float("nan")])
def test_a_rate_that_no_player_shows_is_refused(tmp_path: Path, fps: float) -> None:
    with pytest.raises(UsageError, match=r"at least 0\.01"):
        write_video(tmp_path / "a.mp4", make_clip(), fps, {})
    assert os.listdir(tmp_path) == []


def test_a_failing_encoder_leaves_nothing_and_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ivideo.video.writer._MP4_OPTIONS", ["-vf", "no_such_filter"])
    with pytest.raises(IvideoError, match="ffmpeg: ") as caught:
        write_video(tmp_path / "a.mp4", make_clip(), 8, {})
    assert str(caught.value).startswith(f"cannot write {tmp_path / 'a.mp4'}: ffmpeg: ")
    assert "\n" not in str(caught.value)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("suffix", [".mp4", ".gif"])
def test_writing_and_reading_are_silent(tmp_path: Path, capfd: pytest.CaptureFixture[str], suffix: str) -> None:
    read_video(write_video(tmp_path / f"a{suffix}", make_clip(), 8, {}))
    assert capfd.readouterr() == ("", "")


def test_odd_file_names_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("-a.mp4", "http:b 100%d.mp4", "it's [c]é.gif"):
        assert read_video(write_video(Path(name), make_clip(2), 8, {"name": name})).metadata == {"name": name}


def test_reading_a_short_clip_is_quick(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", make_clip(), 8, {})
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        read_video(path)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.5


def test_metadata_falls_back_to_the_sidecar_and_then_to_nothing(tmp_path: Path, run_ffmpeg: Ffmpeg) -> None:
    written = write_video(tmp_path / "a.mp4", make_clip(2), 8, {"seed": 1})
    bare = tmp_path / "b.mp4"
    run_ffmpeg("-i", str(written), "-map_metadata", "-1", "-c", "copy", str(bare))
    assert read_video(bare).metadata == {}
    bare.with_suffix(".json").write_text('{"prompt": "a dog"}')
    assert read_video(bare).metadata == {"prompt": "a dog"}
    written.with_suffix(".json").write_text('{"prompt": "a dog"}')
    assert read_video(written).metadata == {"seed": 1}


@pytest.mark.parametrize("comment", ["shot on holiday", '"text"', "[1, 2]"])
def test_another_programs_comment_is_no_metadata(tmp_path: Path, comment: str, run_ffmpeg: Ffmpeg) -> None:
    written = write_video(tmp_path / "a.mp4", make_clip(2), 8, {"seed": 1})
    other = tmp_path / "b.mp4"
    run_ffmpeg("-i", str(written), "-metadata", f"comment={comment}", "-c", "copy", str(other))
    assert f"comment         : {comment}\n" in run_ffmpeg("-i", other)
    assert read_video(other).metadata == {}


@pytest.mark.parametrize("content", ["{", "[1]", b"\xff", "[" * 10**5, "9" * 5000], ids=range(5))
def test_a_broken_sidecar_is_told(tmp_path: Path, content: str | bytes) -> None:
    path = write_video(tmp_path / "a.gif", make_clip(2), 8, {})
    path.with_suffix(".json").write_bytes(content if isinstance(content, bytes) else content.encode())
    reader = open_video(path)
    assert reader.metadata == {}
    assert reader.foreign.startswith(f"{path.with_suffix('.json')} is not ")


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    assert_fails_in_one_line(tmp_path / "nothing.mp4", "does not exist")
    assert_fails_in_one_line(tmp_path, "is a folder")


@pytest.mark.parametrize("content", [b"a cat", b"this is a text about cats\n" * 50, b"\x1aE\xdf\xa3" + bytes(99)])
def test_what_is_not_a_video_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    assert_fails_in_one_line(path, "is not a video")


def test_a_sound_file_has_no_frames(tmp_path: Path, run_ffmpeg: Ffmpeg) -> None:
    run_ffmpeg("-f", "lavfi", "-i", "sine=duration=0.2", str(tmp_path / "a.mp4"))
    assert_fails_in_one_line(tmp_path / "a.mp4", "has no video frames")


def test_sound_longer_than_the_picture_is_no_short_read(tmp_path: Path, run_ffmpeg: Ffmpeg) -> None:
    written = write_video(tmp_path / "a.mp4", make_clip(), 8, {})
    mixed = tmp_path / "b.mp4"
    run_ffmpeg("-i", str(written), "-f", "lavfi", "-i", "sine=duration=5", "-c:v", "copy", str(mixed))
    assert read_video(mixed).frames.shape[0] == 16


@pytest.mark.parametrize("is_faststart", [True, False])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9, 0.999])
def test_a_cut_off_mp4_is_an_error(tmp_path: Path, is_faststart: bool, share: float, run_ffmpeg: Ffmpeg) -> None:
    path = write_video(tmp_path / "a.mp4", make_clip(), 8, {"prompt": "a cat"})
    if not is_faststart:
        run_ffmpeg("-i", str(path), "-c", "copy", str(tmp_path / "b.mp4"))
        path = tmp_path / "b.mp4"
        assert path.read_bytes().index(b"mdat") < path.read_bytes().index(b"moov")
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    assert_fails_in_one_line(path, "is truncated")


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_short_read_is_an_error_even_if_the_boxes_fit(tmp_path: Path, share: float) -> None:
    """The box of the pictures is made to end where the file ends, so only counting frames can tell."""
    path = write_video(tmp_path / "a.mp4", make_clip(), 8, {})
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat") - 4
    del data[start + int((len(data) - start) * share) :]
    data[start : start + 4] = (len(data) - start).to_bytes(4, "big")
    path.write_bytes(data)
    assert_fails_in_one_line(path, r"of its 16 frames can be read|no frame can be read")


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9, 0.999])
def test_a_cut_off_gif_is_an_error(tmp_path: Path, share: float) -> None:
    path = write_video(tmp_path / "a.gif", make_clip(), 8, {})
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    assert_fails_in_one_line(path, "is truncated")


def test_without_an_encoder_gifs_are_written_and_mp4s_are_refused(tmp_path: Path, bare_machine: None) -> None:
    assert default_suffix() == ".gif"
    with pytest.raises(UsageError) as caught:
        write_video(tmp_path / "a.mp4", make_clip(2), 8, {})
    assert str(caught.value) == (
        f"cannot write {tmp_path / 'a.mp4'}: no encoder of videos is installed (pip install moviepy imageio-ffmpeg); "
        "a .gif can be written"
    )
    assert os.listdir(tmp_path) == []
    assert read_video(write_video(tmp_path / "a.gif", make_clip(2), 8, {"seed": 1})).metadata == {"seed": 1}
    with pytest.raises(UsageError, match=r"at most 50 frames per second, not 60; an \.mp4 could, but no encoder"):
        write_video(tmp_path / "b.gif", make_clip(2), 60, {})


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_without_a_decoder_one_line_says_so_but_damage_comes_first(
    tmp_path: Path, run_ffmpeg: Ffmpeg, request: pytest.FixtureRequest, suffix: str
) -> None:
    path = write_video(tmp_path / "a.mp4", make_clip(2), 8, {})
    run_ffmpeg("-i", path, "-c", "copy", path.with_suffix(suffix))
    request.getfixturevalue("bare_machine")
    assert_fails_in_one_line(path.with_suffix(suffix), r"cannot be read: no decoder .*\(pip install av\); ")
    path.write_bytes(path.read_bytes()[:200])
    assert_fails_in_one_line(path, "is truncated")


def test_a_package_without_its_program_is_no_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    def find_none() -> str:
        raise RuntimeError("No ffmpeg exe could be found.")

    assert default_suffix() == ".mp4"
    monkeypatch.setattr("imageio_ffmpeg.get_ffmpeg_exe", find_none)
    assert default_suffix() == ".gif"


def test_asking_for_an_encoder_does_not_import_it() -> None:
    code = (
        "import sys; from ivideo.video.writer import default_suffix; print(default_suffix(), 'moviepy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [".mp4", "False"]
