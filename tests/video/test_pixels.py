"""Frames as they look: transparent, in HDR, of pixels that are not square; and what is said of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ivideo.errors import IvideoError
from ivideo.video import pixels
from ivideo.video.display import Display, NoteCounts
from ivideo.video.pictures import read_picture
from ivideo.video.reader import open_video, read_video

Ffmpeg = Callable[..., str]

NOISE = np.random.default_rng(0).integers(0, 256, (4, 32, 48, 4), np.uint8)
NOISE[..., 3] = 0
NOISE[:, :, 24:] = (255, 255, 255, 255)  # the left half is transparent, whatever its colours
SAID = "transparent pixels are shown on black"


def write_transparent(path: Path, run_ffmpeg: Ffmpeg) -> Path:
    """A clip of `NOISE` in the kind that the suffix says."""
    pictures = [Image.fromarray(frame) for frame in NOISE]
    lossless = {"save_all": True, "append_images": pictures[1:], "duration": 125}
    match path.suffix:
        case "":
            path.mkdir()
            for index, picture in enumerate(pictures):
                picture.save(path / f"{index}.png")
        case ".webp":
            pictures[0].save(path, **lossless, lossless=True, exact=True)
        case ".avif":
            pictures[0].save(path, **lossless, quality=100)
        case ".apng":
            pictures[0].save(path, **lossless, format="png")
        case suffix:
            coder = {".webm": "libvpx-vp9 -lossless 1 -pix_fmt yuva420p", ".mov": "png"}[suffix]
            source = ["-f", "rawvideo", "-pix_fmt", "rgba", "-s", "48x32", "-r", 8, "-i", "-"]
            run_ffmpeg(*source, "-c:v", *coder.split(), path, input=NOISE.tobytes())
    return path


@pytest.mark.parametrize("name", ["frames", "a.webp", "a.avif", "a.apng", "a.webm", "a.mov"])
def test_transparent_pixels_lie_on_the_background(tmp_path: Path, run_ffmpeg: Ffmpeg, name: str) -> None:
    video = read_video(write_transparent(tmp_path / name, run_ffmpeg))
    assert video.frames.shape == (4, 32, 48, 3)
    assert video.frames[:, :, :22].max() <= 2
    assert video.frames[:, :, 26:].min() >= 253
    assert video.notes == [SAID]


def test_the_background_can_be_chosen_and_half_transparent_pixels_show_half_of_it(tmp_path: Path) -> None:
    Image.fromarray(np.full((8, 8, 4), (200, 100, 0, 51), np.uint8)).save(tmp_path / "1.png")
    reader = open_video(tmp_path, background="#0000ff")
    assert reader.read([0])[0, 0, 0].tolist() == [40, 20, 204]
    assert reader.notes == ["transparent pixels are shown on #0000ff"]


def test_opaque_pixels_stay_as_they_are_without_a_word() -> None:
    display = Display()
    opaque = NOISE[0] | np.array([0, 0, 0, 255], np.uint8)
    assert np.array_equal(display.flatten(opaque), opaque[..., :3])
    assert display.notes == []


@pytest.mark.parametrize(("transfer", "name"), [("smpte2084", "PQ"), ("arib-std-b67", "HLG")])
def test_hdr_is_tone_mapped_and_that_is_said(
    tmp_path: Path, run_ffmpeg: Ffmpeg, monkeypatch: pytest.MonkeyPatch, transfer: str, name: str
) -> None:
    monkeypatch.setattr(pixels, "_TONE_MAPPING", "out_primaries=bt709:out_transfer=bt709:intent=saturation")  # is fast
    frames = {}
    for kind, tags in (("sdr", "bt709"), ("hdr", transfer)):
        colours = f"setparams=color_primaries=bt2020:color_trc={tags}:colorspace=bt2020nc:range=tv"
        coder = "-c:v ffv1 -pix_fmt yuv444p10le".split()
        source = ["-f", "lavfi", "-i", "testsrc=s=48x32:r=8:d=0.5"]
        run_ffmpeg(*source, "-vf", f"scale=out_color_matrix=bt2020,{colours}", *coder, tmp_path / f"{kind}.mkv")
        if kind == "hdr":
            video = read_video(tmp_path / f"{kind}.mkv")
            assert video.notes == [f"HDR ({name}) is tone-mapped to SDR"]
            frames[kind] = video.frames.astype(int)
        else:
            monkeypatch.setattr(pixels, "_WIDE", {})
            frames[kind] = read_video(tmp_path / f"{kind}.mkv").frames.astype(int)
    assert frames["hdr"].shape == frames["sdr"].shape == (4, 32, 48, 3)
    assert np.abs(frames["hdr"] - frames["sdr"]).mean() > 5


def test_what_cannot_be_tone_mapped_is_refused(
    tmp_path: Path, run_ffmpeg: Ffmpeg, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pixels, "_TONE_MAPPING", "no_such_option=1")
    colours = "setparams=color_primaries=bt2020:color_trc=smpte2084:colorspace=bt2020nc"
    run_ffmpeg("-f", "lavfi", "-i", "testsrc=s=48x32:d=0.1", "-vf", colours, "-c:v", "ffv1", tmp_path / "a.mkv")
    with pytest.raises(IvideoError, match=r"a\.mkv is in HDR or in wide colours, which this PyAV cannot convert"):
        read_video(tmp_path / "a.mkv")


ODD = {
    "a.mp4 -vf setsar=3/2": (72, 32, "pixels of 3:2 are made square: 72 x 32"),
    "b.mp4 -vf setsar=2/3": (48, 48, "pixels of 2:3 are made square: 48 x 48"),
    "c.mp4 -vf setsar=100": (48, 32, None),
    "a.mpg -c:v mpeg2video -vf interlace -flags +ildct+ilme": (48, 32, "frames are interlaced, and shown as they are "),
    "d.mp4 -vf setpts=N*N/8/TB -fps_mode passthrough": (48, 32, "frame times are uneven: each frame counts once, at "),
    "a.mkv -map 0 -map 0": (48, 32, "of 2 video streams only the first one is read"),
}


@pytest.mark.parametrize("made", ODD)
def test_what_is_odd_about_frames_is_said(tmp_path: Path, run_ffmpeg: Ffmpeg, made: str) -> None:
    name, *options = made.split()
    run_ffmpeg("-f", "lavfi", "-i", "testsrc=s=48x32:r=25:d=0.4", "-pix_fmt", "yuv420p", *options, tmp_path / name)
    width, height, note = ODD[made]
    reader = open_video(tmp_path / name)
    assert (reader.width, reader.height) == (width, height)
    assert next(iter(reader)).shape == (height, width, 3)
    assert reader.count() > 1
    list(reader)
    assert [said[: len(note)] for said in reader.notes] == [note] if note else reader.notes == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b"\x89PNG\r\n\x1a\n" + bytes(20) + b"cICP\x09\x10\x00\x01",
            r"is an HDR picture \(PQ\), which is not tone-mapped",
        ),
        (b"\xff\x0a" + bytes(40), r"no installed library reads \.jxl pictures; save them as \.png"),
    ],
)
def test_a_picture_that_would_be_misread_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "1.jxl").write_bytes(content)
    with pytest.raises(IvideoError, match=message):
        read_picture(tmp_path / "1.jxl")


def test_an_animation_is_no_frame(tmp_path: Path) -> None:
    pictures = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    pictures[0].save(tmp_path / "1.png", save_all=True, append_images=pictures[1:])
    with pytest.raises(IvideoError, match=r"1\.png holds several pictures, not one frame"):
        read_video(tmp_path)


def test_notes_are_counted_and_do_not_pile_up() -> None:
    counts = NoteCounts()
    counts.add("a.mp4", ["dark"])
    for index in range(30):
        counts.add(f"{index}.mp4", ["bright", f"gap {index}"])
    lines = counts.describe()
    assert lines[:3] == ["a.mp4: dark", "30 videos: bright", "0.mp4: gap 0"]
    assert lines[-1] == "and 12 more notes"
    assert len(lines) == NoteCounts.MAX_NOTES + 1
