"""The world's words, its captions, and which captions belong to which split.

A caption is "a|an SUBJECT MOTION PLACE" ("an owl flying at night"). Motion or place may be dropped ("an owl flying",
"an owl at night", "an owl"): then the clip shows any motion or any place.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

TRAINING_ANIMALS = (
    "cat dog horse cow pig sheep elephant rabbit tiger giraffe panda monkey penguin duck eagle owl parrot flamingo "
    "turtle crocodile"
).split()
NEW_ANIMALS = "fish shark octopus butterfly bee fox lion dragon unicorn".split()
THINGS = (
    "car bus tractor train bicycle motorcycle airplane helicopter rocket boat balloon ball robot snowman pumpkin star"
).split()
SUBJECTS = (*TRAINING_ANIMALS, *NEW_ANIMALS, *THINGS)
MOTIONS = ("running", "jumping", "flying", "spinning", "surfing", "approaching")
WAVE = "on a wave"
PLACES = ("on grass", "on the beach", "in the snow", "at night", "in the city", "in space", WAVE)


def places_for(motion: str) -> tuple[str, ...]:
    """Places where a motion can happen: everything can surf on a wave, nothing can run on one."""
    return PLACES if motion == "surfing" else PLACES[:-1]


@dataclass(frozen=True, order=True)
class Scene:
    """What a clip shows: one subject, one motion, one place."""

    subject: str
    motion: str
    place: str

    def caption(self, *, with_motion: bool = True, with_place: bool = True) -> str:
        """The scene in words, with its motion or place left out on request."""
        article = "an" if self.subject[0] in "aeio" else "a"
        words = [article, self.subject]
        if with_motion:
            words.append(self.motion)
        if with_place:
            words.append(self.place)
        return " ".join(words)


def all_scenes(subjects: tuple[str, ...] = SUBJECTS) -> list[Scene]:
    """Every scene of the given subjects, in a fixed order."""
    return [Scene(s, m, p) for s in subjects for m in MOTIONS for p in places_for(m)]


def random_scene(rng: np.random.Generator, subjects: tuple[str, ...] = SUBJECTS) -> Scene:
    """A scene drawn evenly over subjects and motions, then over the places that the motion admits."""
    motion = str(rng.choice(MOTIONS))
    return Scene(str(rng.choice(subjects)), motion, str(rng.choice(places_for(motion))))


def random_caption(scene: Scene, rng: np.random.Generator, drop_probability: float = 0.15) -> str:
    """The scene's caption with motion and place each dropped with the given probability."""
    with_motion, with_place = rng.random(2) >= drop_probability
    return scene.caption(with_motion=bool(with_motion), with_place=bool(with_place))


def splits(seed: int = 0) -> dict[str, list[str]]:
    """The four prompt lists by name; no caption stands in two of them.

    Returns:
        `prompts` (100, training animals: 4 full captions and 1 plain one each), `heldout` (48, the same animals),
        `new_animals` (45) and `things` (48).
    """
    rng = np.random.default_rng(seed)
    training, heldout = [], []
    for index, animal in enumerate(TRAINING_ANIMALS):
        scenes = all_scenes((animal,))
        drawn = [scenes[i] for i in rng.permutation(len(scenes))]
        training += [scene.caption() for scene in drawn[:4]]
        # Every other animal is trained with a plain motion, the rest with a plain place.
        plain = drawn[4]
        training.append(plain.caption(with_motion=index % 2 == 0, with_place=index % 2 == 1))
        heldout += [scene.caption() for scene in drawn[5:7]]
        if index % 5 < 2:
            heldout.append(drawn[7].caption(with_motion=index % 2 == 1, with_place=index % 2 == 0))
    named = {"prompts": training, "heldout": heldout}
    for name, subjects, count in (("new_animals", NEW_ANIMALS, 5), ("things", THINGS, 3)):
        named[name] = []
        for subject in subjects:
            scenes = all_scenes((subject,))
            named[name] += [scenes[i].caption() for i in rng.permutation(len(scenes))[:count]]
    return named
