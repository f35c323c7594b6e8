"""Draws clips of the emoji world: an emoji that moves over a calm background.

Needs Debian's `fonts-noto-color-emoji` (or its file by EMOJI_FONT) and Pillow.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .captions import Scene

FONT_PATH = Path(os.environ.get("EMOJI_FONT", "/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf"))
SIZE = 64  # pixels of a frame
NUM_FRAMES = 16
SUPERSAMPLING = 2
GLYPHS = {
    "cat": "🐈", "dog": "🐕", "horse": "🐎", "cow": "🐄", "pig": "🐖", "sheep": "🐑", "elephant": "🐘", "rabbit": "🐇",
    "tiger": "🐅", "giraffe": "🦒", "panda": "🐼", "monkey": "🐒", "penguin": "🐧", "duck": "🦆", "eagle": "🦅",
    "owl": "🦉", "parrot": "🦜", "flamingo": "🦩", "turtle": "🐢", "crocodile": "🐊", "fish": "🐠", "shark": "🦈",
    "octopus": "🐙", "butterfly": "🦋", "bee": "🐝", "fox": "🦊", "lion": "🦁", "dragon": "🐉", "unicorn": "🦄",
    "car": "🚗", "bus": "🚌", "tractor": "🚜", "train": "🚂", "bicycle": "🚲", "motorcycle": "🛵", "airplane": "✈️",
    "helicopter": "🚁", "rocket": "🚀", "boat": "⛵", "balloon": "🎈", "ball": "⚽", "robot": "🤖", "snowman": "⛄",
    "pumpkin": "🎃", "star": "⭐",
}  # fmt: skip
FACES_RIGHT: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Pose:
    """Where the subject is in one frame: centre in pixels, scale, rotation in degrees, vertical squash."""

    x: float
    y: float
    scale: float = 1.0
    angle: float = 0.0
    squash: float = 1.0


@cache
def _font() -> ImageFont.FreeTypeFont:
    if not FONT_PATH.exists():
        raise FileNotFoundError(f"{FONT_PATH} is missing: apt-get install fonts-noto-color-emoji, or set EMOJI_FONT")
    return ImageFont.truetype(str(FONT_PATH), 109)


@cache
def sprite(subject: str) -> Image.Image:
    """The subject's emoji, facing left, cropped to its ink, its longer side 128 px (premultiplied RGBa)."""
    canvas = Image.new("RGBA", (160, 160))
    ImageDraw.Draw(canvas).text((80, 80), GLYPHS[subject], font=_font(), embedded_color=True, anchor="mm")
    drawn = canvas.crop(canvas.getbbox()).convert("RGBa")
    if subject in FACES_RIGHT:
        drawn = drawn.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    scale = 128 / max(drawn.size)
    return drawn.resize((round(drawn.width * scale), round(drawn.height * scale)), Image.Resampling.LANCZOS)


def poses(motion: str, rng: np.random.Generator, num_frames: int = NUM_FRAMES) -> list[Pose]:
    """The subject's pose in each of the clip's frames."""
    times = np.linspace(0.0, 1.0, num_frames)
    jitter_x, jitter_y = rng.uniform(-2, 2, 2)
    phase = rng.uniform(0, 2 * math.pi)
    centre = SIZE / 2
    if motion == "running":
        travel = rng.uniform(26, 32)
        return [
            Pose(
                centre + jitter_x + travel * (0.5 - t),
                42 + jitter_y - 4 * abs(math.sin(2 * math.pi * 1.5 * t + phase)),
                angle=7 * math.sin(2 * math.pi * 1.5 * t + phase),
            )
            for t in times
        ]
    if motion == "jumping":
        height = rng.uniform(17, 21)
        hops = [abs(math.sin(2 * math.pi * t + phase)) for t in times]
        return [
            Pose(centre + 3 * jitter_x, 43 + jitter_y / 2 - height * hop, squash=0.82 + 0.18 * min(1, 3 * hop))
            for hop in hops
        ]
    if motion == "flying":
        travel = rng.uniform(16, 22)
        return [
            Pose(
                centre + jitter_x + travel * (0.5 - t),
                25 + jitter_y / 2 + 3 * math.sin(2 * math.pi * t + phase),
                angle=-14 + 4 * math.cos(2 * math.pi * t + phase),
            )
            for t in times
        ]
    if motion == "spinning":
        return [Pose(centre + 2 * jitter_x, 35 + jitter_y, 0.95, angle=math.degrees(phase) - 360 * t) for t in times]
    if motion == "surfing":
        travel = rng.uniform(10, 16)
        return [
            Pose(
                centre + jitter_x + travel * (0.5 - t),
                34 + jitter_y / 2 + 4 * math.sin(2 * math.pi * t + phase),
                0.88,
                angle=11 * math.cos(2 * math.pi * t + phase),
            )
            for t in times
        ]
    if motion == "approaching":
        return [Pose(centre + jitter_x, 34 + jitter_y / 2 + 5 * t, 0.32 + 0.95 * t**1.2) for t in times]
    raise ValueError(f"unknown motion {motion!r}")


class Painter:
    """Draws shapes in units of frame pixels on a supersampled background."""

    def __init__(self, top: tuple[int, int, int], bottom: tuple[int, int, int], horizon: float) -> None:
        side = SIZE * SUPERSAMPLING
        ramp = np.clip(np.linspace(0, SIZE / max(horizon, 1), side), 0, 1)[:, None, None]
        pixels = np.array(top) * (1 - ramp) + np.array(bottom) * ramp
        self.image = Image.fromarray(np.broadcast_to(pixels, (side, side, 3)).astype(np.uint8))
        self._draw = ImageDraw.Draw(self.image)

    @staticmethod
    def _scaled(points: tuple[float, ...]) -> list[float]:
        return [SUPERSAMPLING * p for p in points]

    def box(self, x0: float, y0: float, x1: float, y1: float, colour: tuple[int, int, int]) -> None:
        self._draw.rectangle(self._scaled((x0, y0, x1, y1)), fill=colour)

    def disc(self, x: float, y: float, radius: float, colour: tuple[int, int, int]) -> None:
        self._draw.ellipse(self._scaled((x - radius, y - radius, x + radius, y + radius)), fill=colour)

    def polygon(self, points: list[tuple[float, float]], colour: tuple[int, int, int]) -> None:
        self._draw.polygon([(SUPERSAMPLING * x, SUPERSAMPLING * y) for x, y in points], fill=colour)


def _shade(colour: tuple[int, int, int], rng: np.random.Generator, spread: int = 10) -> tuple[int, int, int]:
    return tuple(int(np.clip(c + d, 0, 255)) for c, d in zip(colour, rng.integers(-spread, spread + 1, 3), strict=True))


def background(place: str, rng: np.random.Generator) -> Image.Image:
    """The clip's background: few, large, calm shapes."""
    horizon = rng.uniform(38, 44)
    if place == "on grass":
        paint = Painter(_shade((110, 185, 245), rng), (205, 235, 255), horizon)
        x = rng.uniform(0, 64)
        paint.disc(x, horizon + 6, 16, _shade((105, 185, 80), rng))
        paint.box(0, horizon, 64, 64, _shade((85, 170, 60), rng))
        return paint.image
    if place == "on the beach":
        paint = Painter(_shade((95, 190, 250), rng), (190, 232, 255), horizon)
        paint.disc(rng.choice([9, 55]), 9, 6, (255, 225, 90))
        paint.box(0, horizon - 8, 64, horizon + 2, _shade((20, 130, 200), rng))
        paint.box(0, horizon + 2, 64, 64, _shade((240, 212, 145), rng))
        return paint.image
    if place == "in the snow":
        paint = Painter(_shade((165, 190, 215), rng), (220, 232, 242), horizon)
        for x in (rng.uniform(4, 14), rng.uniform(50, 60)):
            paint.polygon([(x - 8, horizon + 2), (x, horizon - 24), (x + 8, horizon + 2)], _shade((40, 105, 80), rng))
        paint.box(0, horizon, 64, 64, (246, 250, 255))
        return paint.image
    if place == "at night":
        paint = Painter(_shade((12, 16, 60), rng, 6), (38, 42, 105), horizon)
        x = rng.choice([10, 54])
        paint.disc(x, 11, 7, (250, 240, 180))
        paint.disc(x + 3.5, 9.5, 5.5, (14, 18, 62))
        for star_x in (64 - x + rng.uniform(-6, 6), 32 + rng.uniform(-8, 8)):
            paint.disc(star_x, rng.uniform(5, 16), 1.4, (255, 250, 220))
        paint.box(0, horizon, 64, 64, _shade((22, 44, 40), rng, 6))
        return paint.image
    if place == "in the city":
        paint = Painter(_shade((215, 190, 200), rng), (250, 225, 200), horizon)
        left = rng.uniform(-6, 0)
        while left < 64:
            width, top = rng.uniform(11, 17), rng.uniform(8, 26)
            paint.box(left, top, left + width - 1.5, horizon + 4, _shade((105, 110, 135), rng, 18))
            for y in np.arange(top + 4, horizon - 4, 8):
                for x in (left + width * 0.22, left + width * 0.58):
                    paint.box(x, y, x + 2.6, y + 3.4, (250, 225, 130))
            left += width
        paint.box(0, horizon + 3, 64, 64, _shade((80, 82, 88), rng, 6))
        for x in (6, 28, 50):
            paint.box(x, 58, x + 9, 60, (240, 240, 235))
        return paint.image
    if place == "in space":
        paint = Painter(_shade((22, 8, 45), rng, 6), (48, 18, 85), 64)
        x, y, tint = rng.choice([10, 54]), rng.choice([11, 52]), rng.choice([0, 1])
        paint.disc(x, y, 8, _shade(((225, 130, 80), (90, 170, 215))[tint], rng))
        for _ in range(4):
            paint.disc(rng.uniform(3, 61), rng.uniform(3, 61), 1.5, (255, 255, 255))
        return paint.image
    if place == "on a wave":
        paint = Painter(_shade((120, 200, 250), rng), (215, 240, 255), 46)
        crest = rng.uniform(40, 45)
        shift = rng.uniform(0, 2 * math.pi)
        outline = [(x, crest - 5 * math.sin(x / 64 * 2 * math.pi + shift)) for x in range(-2, 68, 2)]
        paint.polygon([*outline, (68, 66), (-2, 66)], (240, 250, 255))
        lowered = [(x, y + 4) for x, y in outline]
        paint.polygon([*lowered, (68, 66), (-2, 66)], _shade((25, 125, 205), rng))
        return paint.image
    raise ValueError(f"unknown place {place!r}")


def _board(size: float) -> Image.Image:
    board = Image.new("RGBA", (160, 40))
    draw = ImageDraw.Draw(board)
    draw.ellipse((2, 6, 158, 34), fill=(225, 50, 60, 255))
    draw.ellipse((18, 13, 142, 27), fill=(255, 235, 120, 255))
    return board.convert("RGBa").resize((round(size * 1.15), max(2, round(size * 0.27))), Image.Resampling.LANCZOS)


def _subject(scene: Scene, size: float) -> Image.Image:
    """The sprite at its size in supersampled pixels, on its board when it surfs."""
    drawn = sprite(scene.subject)
    factor = size / max(drawn.size)
    drawn = drawn.resize(
        (max(2, round(drawn.width * factor)), max(2, round(drawn.height * factor))), Image.Resampling.LANCZOS
    )
    if scene.motion != "surfing":
        return drawn
    board = _board(size)
    height = drawn.height + board.height // 2
    joined = Image.new("RGBa", (max(drawn.width, board.width), height))
    joined.paste(board, ((joined.width - board.width) // 2, height - board.height))
    layer = Image.new("RGBa", joined.size)
    layer.paste(drawn, ((joined.width - drawn.width) // 2, 0))
    return Image.alpha_composite(joined.convert("RGBA"), layer.convert("RGBA")).convert("RGBa")


def render(scene: Scene, seed: int, frame_indices: list[int] | None = None, num_frames: int = NUM_FRAMES) -> np.ndarray:
    """One clip of a scene.

    Args:
        scene: what to show.
        seed: fixes background, size and trajectory.
        frame_indices: the frames to draw; all when None.
        num_frames: of the clip, which shows the same movement at any number.

    Returns:
        uint8 array (num_frames, 64, 64, 3), RGB.
    """
    rng = np.random.default_rng([seed, *scene.caption().encode()])
    backdrop = background(scene.place, rng).convert("RGBA")
    size = rng.uniform(37, 42) * SUPERSAMPLING
    track = poses(scene.motion, rng, num_frames)
    frames = []
    for index in range(num_frames) if frame_indices is None else frame_indices:
        pose = track[index]
        subject = _subject(scene, size * pose.scale)
        if pose.squash != 1.0:
            subject = subject.resize((subject.width, round(subject.height * pose.squash)), Image.Resampling.BILINEAR)
        if pose.angle:
            subject = subject.rotate(-pose.angle, Image.Resampling.BICUBIC, expand=True)
        layer = Image.new("RGBA", backdrop.size)
        corner = (
            round(pose.x * SUPERSAMPLING - subject.width / 2),
            round(pose.y * SUPERSAMPLING - subject.height / 2),
        )
        layer.paste(subject.convert("RGBA"), corner)
        frame = Image.alpha_composite(backdrop, layer).convert("RGB")
        frames.append(np.asarray(frame.resize((SIZE, SIZE), Image.Resampling.BOX)))
    return np.stack(frames)
