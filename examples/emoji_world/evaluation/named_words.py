"""What a caption names, and a scene that fits it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from examples.emoji_world.captions import Scene, all_scenes
from ivideo.errors import IvideoError


@dataclass(frozen=True)
class NamedWords:
    """What a caption names; motion or place is None where it is dropped."""

    subject: str
    motion: str | None
    place: str | None


@cache
def _captions() -> dict[str, NamedWords]:
    return {
        scene.caption(with_motion=with_motion, with_place=with_place): NamedWords(
            scene.subject, scene.motion if with_motion else None, scene.place if with_place else None
        )
        for scene in all_scenes()
        for with_motion in (True, False)
        for with_place in (True, False)
    }


def read_caption(caption: str) -> NamedWords:
    """The words that a caption of the world names.

    Raises:
        IvideoError: it is no caption of the world.
    """
    if caption not in _captions():
        raise IvideoError(f"prompt {caption!r} is no caption of the emoji world: a SUBJECT [MOTION] [PLACE]")
    return _captions()[caption]


def draw_scene(named: NamedWords, seed: int) -> Scene:
    """A scene that fits what is named, drawn evenly over all that do."""
    fitting = [
        scene
        for scene in all_scenes((named.subject,))
        if named.motion in (None, scene.motion) and named.place in (None, scene.place)
    ]
    return fitting[np.random.default_rng(seed).integers(len(fitting))]
