"""Comparison pictures keep their pixels where they belong."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ivideo.video.panels import (
    STRIP_HEIGHT,
    Frames,
    annotate,
    contact_sheet,
    enlarge,
    stack_in_rows,
    stack_side_by_side,
    write_png,
)


def make_flat(values: list[int], height: int = 8, width: int = 8) -> Frames:
    """One flat grey frame for each value."""
    return np.broadcast_to(np.array(values, np.uint8)[:, None, None, None], (len(values), height, width, 3)).copy()


def test_enlarge_repeats_pixels() -> None:
    frames = np.arange(12, dtype=np.uint8).reshape(1, 2, 2, 3)
    enlarged = enlarge(frames, 3)
    assert enlarged.shape == (1, 6, 6, 3)
    assert (enlarged[0, :3, 3:] == frames[0, 0, 1]).all()
    assert (enlarged[0, 3:, :3] == frames[0, 1, 0]).all()


def test_stack_holds_the_last_frame_and_fills_with_white() -> None:
    stacked = stack_side_by_side([make_flat([1, 2, 3]), make_flat([7], height=4, width=6)], gap=2)
    assert stacked.shape == (3, 8, 16, 3)
    assert stacked[:, 0, 0, 0].tolist() == [1, 2, 3]
    assert (stacked[:, :4, 10:] == 7).all()
    assert (stacked[:, 4:, 10:] == 255).all()
    assert (stacked[:, :, 8:10] == 255).all()


def test_rows_stand_one_below_the_other_in_reading_order() -> None:
    stacked = stack_in_rows([make_flat([value]) for value in (1, 2, 3)], 2, gap=2)
    assert stacked.shape == (1, 18, 18, 3)
    assert [int(stacked[0, y, x, 0]) for y, x in ((0, 0), (0, 10), (10, 0), (10, 10))] == [1, 2, 3, 255]
    assert (stacked[:, 8:10] == 255).all()


def test_annotate_keeps_the_clip_below_a_strip_with_ink() -> None:
    clip = make_flat([1, 2], height=16, width=128)
    labelled = annotate(clip, "fine-tuned")
    assert labelled.shape == (2, STRIP_HEIGHT + 16, 128, 3)
    assert (labelled[:, STRIP_HEIGHT:] == clip).all()
    assert (labelled[0, :STRIP_HEIGHT] < 100).any()
    assert (labelled[0, :STRIP_HEIGHT] == labelled[1, :STRIP_HEIGHT]).all()
    assert (annotate(clip, "")[:, :STRIP_HEIGHT] == 255).all()


@pytest.mark.parametrize("width", [8, 64, 128])
def test_a_label_that_is_too_long_stays_inside(width: int) -> None:
    strip = annotate(make_flat([0], width=width), "a very long label " * 20)[0, :STRIP_HEIGHT]
    assert (strip[:, :3] == 255).all()
    assert (strip[:, -3:] == 255).all()


def test_contact_sheet_shows_first_to_last_frame_of_each_candidate() -> None:
    clips = [make_flat(list(range(16)), 64, 64), make_flat(list(range(100, 116)), 64, 64)]
    sheet = np.asarray(contact_sheet([("a cat", clips), ("a dog", clips)], ["base", "tuned"]))
    assert sheet.shape == (28 + 2 * (28 + 128 + 16) + 16, 2 * (4 * 132 - 4) + 3 * 16, 3)
    for top in (56, 56 + 172):
        line = sheet[top + 64, :, 0]
        assert [int(line[16 + 64 + 132 * pick]) for pick in range(4)] == [0, 5, 10, 15]
        assert [int(line[16 + 524 + 16 + 64 + 132 * pick]) for pick in range(4)] == [100, 105, 110, 115]


def test_contact_sheet_needs_a_clip_for_each_column() -> None:
    with pytest.raises(ValueError, match="one clip for each column"):
        contact_sheet([("a cat", [make_flat([1])])], ["base", "tuned"])


def test_write_png_writes_png_and_nothing_else(tmp_path: Path) -> None:
    path = write_png(tmp_path / "out" / "sheet.png", Image.new("RGB", (3, 2), "red"))
    with Image.open(path) as picture:
        assert (picture.format, picture.size, picture.getpixel((0, 0))) == ("PNG", (3, 2), (255, 0, 0))
    assert os.listdir(path.parent) == ["sheet.png"]
