"""What the blocks of a gif say, against Pillow, and what is written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageSequence

from ivideo.errors import IvideoError
from ivideo.video.gif import GifHeader, read_gif_frames, read_gif_header, write_gif
from ivideo.video.reader import open_video


def save(path: Path, durations: list[int], **options: object) -> Path:
    pictures = [Image.new("RGB", (300, 5), (40 * place, 0, 255 - 40 * place)) for place in range(len(durations))]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=durations, **options)
    return path


@pytest.mark.parametrize("durations", [[100], [100, 100, 100], [20, 100, 3000, 40]])
def test_frames_rate_and_size(tmp_path: Path, durations: list[int]) -> None:
    path = save(tmp_path / "a.gif", durations, comment=b"x" * 700, loop=0)
    header = read_gif_header(path)
    assert header == GifHeader(len(durations), pytest.approx(1000 * len(durations) / sum(durations)), 5, 300)
    with Image.open(path) as gif:
        assert (gif.n_frames, gif.size) == (header.num_frames, (header.width, header.height))


def test_a_gif_without_delays_plays_as_browsers_play_it(tmp_path: Path) -> None:
    assert read_gif_header(save(tmp_path / "a.gif", [0, 0])).fps == 10


def test_what_follows_the_end_mark_is_left(tmp_path: Path) -> None:
    path = save(tmp_path / "a.gif", [100, 100])
    path.write_bytes(path.read_bytes() + b"\0junk,,,")
    assert read_gif_header(path).num_frames == 2


def test_every_cut_is_noticed(tmp_path: Path) -> None:
    path = save(tmp_path / "a.gif", [100, 100])
    data = path.read_bytes()
    for length in range(6, len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(IvideoError, match="is truncated"):
            read_gif_header(path)


def delays(path: Path) -> list[int]:
    """Of each picture, in 1/100 s."""
    with Image.open(path) as gif:
        return [picture.info["duration"] // 10 for picture in ImageSequence.Iterator(gif)]


@pytest.mark.parametrize(
    ("fps", "expected"),
    [(8, [13, 12, 13, 12, 13]), (30, [3, 4, 3, 3, 4]), (50, [2] * 5), (7.5, [13, 14, 13, 13, 14]), (0.01, [10000] * 5)],
)
def test_delays_add_up_to_the_time_of_the_clip(tmp_path: Path, fps: float, expected: list[int]) -> None:
    frames = np.arange(5, dtype=np.uint8)[:, None, None, None] * np.full((6, 4, 3), 50, np.uint8)
    write_gif(tmp_path / "a.gif", frames, fps)
    assert delays(tmp_path / "a.gif") == expected
    assert read_gif_header(tmp_path / "a.gif").fps == pytest.approx(500 / sum(expected))


@pytest.mark.parametrize("num_frames", [1, 2, 16])
def test_a_frozen_clip_keeps_its_frames(tmp_path: Path, num_frames: int) -> None:
    frames = np.broadcast_to(np.arange(192, dtype=np.uint8).reshape(8, 8, 3), (num_frames, 8, 8, 3))
    write_gif(tmp_path / "a.gif", frames, 8)
    assert np.array_equal(np.stack(list(read_gif_frames(tmp_path / "a.gif"))), frames)


def test_it_loops_for_ever(tmp_path: Path) -> None:
    write_gif(tmp_path / "a.gif", np.zeros((2, 4, 4, 3), np.uint8), 8)
    with Image.open(tmp_path / "a.gif") as gif:
        assert gif.info["loop"] == 0


def test_many_colours_come_out_as_near_as_256_can(tmp_path: Path) -> None:
    t, y, x = np.mgrid[:16, :64, :64]
    waves = [np.sin((x + t) / 9), np.cos((y + t) / 11), np.sin((x + y) / 15)]
    frames = (128 + 100 * np.stack(waves, axis=-1)).astype(np.uint8)
    write_gif(tmp_path / "a.gif", frames, 8)
    error = np.stack(list(read_gif_frames(tmp_path / "a.gif"))).astype(float) - frames
    assert 10 * np.log10(255**2 / (error**2).mean()) > 29  # ffmpeg's palettegen and paletteuse: 25.8


def test_few_colours_stay_as_they_are_however_rare(tmp_path: Path) -> None:
    frames = np.full((4, 300, 300, 3), 200, np.uint8)
    frames[0, 0, :255] = np.random.default_rng(0).permutation(765).reshape(255, 3) % 256
    write_gif(tmp_path / "a.gif", frames, 8)
    assert np.array_equal(np.stack(list(read_gif_frames(tmp_path / "a.gif"))), frames)


def test_an_animated_webp_is_read_too(tmp_path):
    frames = np.random.default_rng(0).integers(256, size=(3, 8, 12, 3), dtype=np.uint8)
    first, *others = map(Image.fromarray, frames)
    first.save(tmp_path / "a.webp", save_all=True, append_images=others, duration=40, lossless=True)
    reader = open_video(tmp_path / "a.webp")
    assert (reader.num_frames, reader.fps, reader.height, reader.width) == (3, 25, 8, 12)
    assert np.array_equal(np.stack(list(reader)), frames)
    (tmp_path / "cut.webp").write_bytes((tmp_path / "a.webp").read_bytes()[:60])
    with pytest.raises(IvideoError, match="truncated or damaged"):
        open_video(tmp_path / "cut.webp")
