"""Captions are read back into the words that they name."""

from __future__ import annotations

import pytest

from examples.emoji_world.captions import all_scenes
from examples.emoji_world.evaluation.named_words import NamedWords, draw_scene, read_caption
from examples.emoji_world.evaluation.records import accuracies
from ivideo.errors import IvideoError

CAT, OWL = "a cat running at night", "an owl"


@pytest.mark.parametrize(
    ("caption", "named"),
    [
        (CAT, NamedWords("cat", "running", "at night")),
        ("a cat running", NamedWords("cat", "running", None)),
        ("a cat at night", NamedWords("cat", None, "at night")),
        (OWL, NamedWords("owl", None, None)),
    ],
)
def test_a_caption_is_read_and_a_scene_fits_it(caption, named):
    assert read_caption(caption) == named
    drawn = {draw_scene(named, seed) for seed in range(400)}
    expected = {
        scene
        for scene in all_scenes((named.subject,))
        if caption in {scene.caption(with_motion=m, with_place=p) for m in (True, False) for p in (True, False)}
    }
    assert drawn == expected
    assert draw_scene(named, 3) == draw_scene(named, 3)


@pytest.mark.parametrize("caption", ["a cat sleeping", "cat running", "a cat running on a wave", ""])
def test_what_the_world_does_not_say_is_refused(caption):
    with pytest.raises(IvideoError, match="no caption of the emoji world"):
        read_caption(caption)


def test_only_named_words_are_scored():
    right = {"subject_accuracy": 1.0, "motion_accuracy": 0.0, "place_accuracy": 1.0}
    assert accuracies(CAT, "cat", "flying", "at night") == right
    assert accuracies("a cat at night", "dog", "flying", "at night") == {"subject_accuracy": 0.0, "place_accuracy": 1.0}
    assert accuracies(OWL, "owl", "flying", "at night") == {"subject_accuracy": 1.0}
