"""Clips and pictures side by side, with a label that says which is which."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ivideo.files.atomic import atomic_path

Frames = NDArray[np.uint8]
PAPER = (255, 255, 255)
INK = (32, 33, 36)
STRIP_HEIGHT = 28
NUM_PICKS = 4  # frames of a clip on a sheet
_FONT_SIZE = 15
_PANEL_HEIGHT = 256
_TILE = 128
_GAP = 4
_MARGIN = 16


def enlarge(frames: Frames, factor: int) -> Frames:
    """Enlarge a clip by repeating pixels, so that small clips can be looked at without blur.

    Args:
        frames: (num_frames, height, width, 3), uint8.
        factor: copies of each pixel in both directions, at least 1.
    """
    return frames.repeat(factor, axis=1).repeat(factor, axis=2)


def annotate(frames: Frames, text: str) -> Frames:
    """Put a strip with a line of dark text on white over a clip, STRIP_HEIGHT pixels more; too wide text ends in "...".

    Args:
        frames: (num_frames, height, width, 3), uint8.
        text: what to say, e.g. the candidate's name.
    """
    num_frames, _, width, _ = frames.shape
    strip = Image.new("RGB", (width, STRIP_HEIGHT), PAPER)
    _draw_centred(ImageDraw.Draw(strip), text, width / 2, STRIP_HEIGHT / 2, width - 8)
    return np.concatenate([np.broadcast_to(np.asarray(strip), (num_frames, STRIP_HEIGHT, width, 3)), frames], axis=1)


def label_clip(frames: Frames, text: str) -> Frames:
    """Enlarge a small clip by a whole factor, up to 256 pixels high, with a line of text on top: a panel of a video.

    Args:
        frames: (num_frames, height, width, 3), uint8.
        text: what to say.
    """
    return annotate(enlarge(frames, max(1, _PANEL_HEIGHT // frames.shape[1])), text)


def stack_side_by_side(panels: Sequence[Frames], gap: int = 8) -> Frames:
    """Join clips from left to right into one; shorter clips hold their last frame, lower ones end in white.

    Args:
        panels: clips of (num_frames, height, width, 3), uint8, each of its own size; at least one.
        gap: white pixels between neighbours, at least 0.
    """
    num_frames = max(len(panel) for panel in panels)
    height = max(panel.shape[1] for panel in panels)
    width = sum(panel.shape[2] for panel in panels) + gap * (len(panels) - 1)
    joined = np.full((num_frames, height, width, 3), PAPER, dtype=np.uint8)
    left = 0
    for panel in panels:
        held = panel[np.minimum(np.arange(num_frames), len(panel) - 1)]
        joined[:, : panel.shape[1], left : left + panel.shape[2]] = held
        left += panel.shape[2] + gap
    return joined


def stack_in_rows(panels: Sequence[Frames], num_columns: int, gap: int = 8) -> Frames:
    """Join clips row by row into one, each row as `stack_side_by_side` does; narrower rows end in white.

    Args:
        panels: clips of (num_frames, height, width, 3), uint8, each of its own size; at least one.
        num_columns: clips a row, at least 1.
        gap: white pixels between neighbours, at least 0.
    """
    rows = [
        stack_side_by_side(panels[start : start + num_columns], gap) for start in range(0, len(panels), num_columns)
    ]
    return stack_side_by_side([row.swapaxes(1, 2) for row in rows], gap).swapaxes(1, 2)


def pick_frames(frames: Frames) -> Frames:
    """The frames of a clip that a sheet shows, evenly spread from first to last: 0, 5, 10 and 15 of 16."""
    picked: Frames = frames[np.linspace(0, len(frames) - 1, NUM_PICKS).round().astype(int)]
    return picked


def contact_sheet(rows: Sequence[tuple[str, Sequence[Frames]]], column_names: Sequence[str]) -> Image.Image:
    """Draw prompts as rows and candidates as columns, each cell a clip's `pick_frames`, 128 pixels high.

    Args:
        rows: label (the prompt) and one clip of (num_frames, height, width, 3), uint8, for each column.
        column_names: what stands above each column.

    Raises:
        ValueError: a row that doesn't have one clip for each column.
    """
    cells = [[_draw_cell(clip) for clip in clips] for _, clips in rows]
    if any(len(row) != len(column_names) for row in cells):
        raise ValueError("each row needs one clip for each column")
    widths = [max((row[column].width for row in cells), default=0) for column in range(len(column_names))]
    inner_width = sum(widths) + _MARGIN * (len(widths) - 1)
    row_height = STRIP_HEIGHT + _TILE + _MARGIN
    sheet = Image.new("RGB", (inner_width + 2 * _MARGIN, STRIP_HEIGHT + row_height * len(rows) + _MARGIN), PAPER)
    draw = ImageDraw.Draw(sheet)
    lefts = [_MARGIN + sum(widths[:column]) + _MARGIN * column for column in range(len(widths))]
    for name, left, width in zip(column_names, lefts, widths, strict=True):
        _draw_centred(draw, name, left + width / 2, STRIP_HEIGHT / 2 + 4, width, bold=True)
    for index, ((label, _), row) in enumerate(zip(rows, cells, strict=True)):
        top = STRIP_HEIGHT + row_height * index
        draw.line([(_MARGIN, top + 2), (_MARGIN + inner_width, top + 2)], fill=(218, 220, 224))
        text = _shorten(label, inner_width)
        draw.text((_MARGIN, top + STRIP_HEIGHT / 2 + 2), text, INK, _font(), anchor="lm")
        for cell, left in zip(row, lefts, strict=True):
            sheet.paste(cell, (left, top + STRIP_HEIGHT))
    return sheet


def write_png(path: Path, picture: Image.Image) -> Path:
    """Write a picture as PNG, whole or not at all.

    Args:
        path: the file to create or replace, whatever its suffix.
        picture: what to write.

    Raises:
        IvideoError: the file can't be written.
    """
    with atomic_path(path) as temporary:
        picture.save(temporary, format="PNG", optimize=True)
    return path


def _draw_cell(clip: Frames) -> Image.Image:
    height, width = clip.shape[1:3]
    size = (max(round(width * _TILE / height), 1), _TILE)
    method = Image.Resampling.NEAREST if _TILE % height == 0 else Image.Resampling.LANCZOS
    cell = Image.new("RGB", (NUM_PICKS * (size[0] + _GAP) - _GAP, _TILE), PAPER)
    for place, pick in enumerate(pick_frames(clip)):
        cell.paste(Image.fromarray(pick).resize(size, method), (place * (size[0] + _GAP), 0))
    return cell


def _draw_centred(draw: ImageDraw.ImageDraw, text: str, x: float, y: float, width: float, bold: bool = False) -> None:
    draw.text((x, y), _shorten(text, width), INK, _font(), anchor="mm", stroke_width=0.4 if bold else 0)


def _shorten(text: str, width: float) -> str:
    """Keep a single line that fits the width, ending in "..." where there was more."""
    font = _font()
    line = " ".join(text.split())
    if font.getlength(line) <= width:
        return line
    fitting = (line[:end].rstrip() + "..." for end in range(len(line), -1, -1))
    return next((short for short in fitting if font.getlength(short) <= width), "")


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(_FONT_SIZE)
