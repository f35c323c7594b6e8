"""How frames are shown: what lies behind transparent pixels, and a record of what had to be done to show them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import ImageColor

BLACK = "black"


@dataclass
class Display:
    """How the frames of one video are shown.

    Attributes:
        background: colour that transparent pixels lie on, by its name in CSS, or as #rrggbb.
        notes: what was done to the frames or is odd about them, a line each, as reading meets it.
    """

    background: str = BLACK
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Keep a line, once."""
        if text not in self.notes:
            self.notes.append(text)

    def flatten(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Lay pixels on the background.

        Args:
            pixels: (height, width, 4), red, green, blue and opacity, not multiplied with each other.

        Returns:
            (height, width, 3), RGB; where all is opaque, the colours as they are.
        """
        colours, opacity = pixels[..., :3], pixels[..., 3:]
        if opacity.min() == 255:
            return np.ascontiguousarray(colours)
        self.note(f"transparent pixels are shown on {self.background}")
        behind = np.array(ImageColor.getrgb(self.background), np.uint16)
        mixed = colours * opacity.astype(np.uint16) + behind * (255 - opacity.astype(np.uint16))
        return ((mixed + 127) // 255).astype(np.uint8)


class NoteCounts:
    """How many videos have which note; what is kept does not grow with their number."""

    MAX_NOTES = 20  # different ones

    def __init__(self) -> None:
        """Begin without any."""
        self._found: dict[str, tuple[str, int]] = {}
        self._num_more = 0

    def add(self, video: object, notes: Iterable[str]) -> None:
        """Count a video's notes; `video` is what it is called."""
        for note in notes:
            if note in self._found or len(self._found) < self.MAX_NOTES:
                first, number = self._found.get(note, (str(video), 0))
                self._found[note] = (first, number + 1)
            else:
                self._num_more += 1

    def describe(self) -> list[str]:
        """A line a note, with the video or the number of videos."""
        lines = [
            f"{first if number == 1 else f'{number} videos'}: {note}" for note, (first, number) in self._found.items()
        ]
        return lines + [f"and {self._num_more} more notes"] * (self._num_more > 0)
