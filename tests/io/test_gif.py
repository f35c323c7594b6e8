"""What the blocks of a gif say, against Pillow."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from ivideo.errors import IvideoError
from ivideo.io.gif import GifHeader, read_gif_header


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
