from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from examples.emoji_world.captions import (
    MOTIONS,
    NEW_ANIMALS,
    PLACES,
    SUBJECTS,
    THINGS,
    TRAINING_ANIMALS,
    WAVE,
    Scene,
    all_scenes,
    random_caption,
    random_scene,
    splits,
)
from examples.emoji_world.renderer import GLYPHS
from examples.emoji_world.write_splits import ABOUT, path_of
from ivideo.inputs.prompts import read_prompts


def subject_of(caption):
    return caption.split()[1]


def test_captions_in_words():
    scene = Scene("owl", "flying", "at night")
    assert scene.caption() == "an owl flying at night"
    assert scene.caption(with_place=False) == "an owl flying"
    assert scene.caption(with_motion=False) == "an owl at night"
    assert scene.caption(with_motion=False, with_place=False) == "an owl"
    assert Scene("unicorn", "running", "on grass").caption() == "a unicorn running on grass"


def test_every_subject_has_a_glyph_and_stands_in_one_list():
    assert {*GLYPHS} == {*SUBJECTS}
    assert len({*SUBJECTS}) == len(TRAINING_ANIMALS) + len(NEW_ANIMALS) + len(THINGS) == 45


def test_only_surfing_happens_on_a_wave():
    scenes = all_scenes()
    assert len({*scenes}) == len(scenes) == 45 * (7 + 5 * 6)
    assert {scene.motion for scene in scenes if scene.place == WAVE} == {"surfing"}
    assert {scene.place for scene in scenes if scene.motion == "surfing"} == {*PLACES}


def test_random_scenes_are_scenes_of_the_world_and_even_over_motions():
    rng = np.random.default_rng(0)
    drawn = [random_scene(rng) for _ in range(3000)]
    assert {*drawn} <= {*all_scenes()}
    counts = Counter(scene.motion for scene in drawn)
    assert {*counts} == {*MOTIONS}
    assert max(counts.values()) < 1.25 * min(counts.values())


def test_motion_and_place_are_dropped_now_and_then():
    rng = np.random.default_rng(0)
    scene = Scene("cat", "surfing", "in space")
    counts = Counter(random_caption(scene, rng, drop_probability=0.2) for _ in range(2000))
    shares = {"a cat surfing in space": 0.64, "a cat surfing": 0.16, "a cat in space": 0.16, "a cat": 0.04}
    assert {caption: count / 2000 for caption, count in counts.items()} == pytest.approx(shares, abs=0.03)


def test_no_caption_stands_in_two_splits():
    every = [caption for captions in splits().values() for caption in captions]
    assert len(every) == len({*every})


def test_splits_are_as_large_as_they_say():
    named = splits()
    assert {name: len(captions) for name, captions in named.items()} == {
        "prompts": 100,
        "heldout": 48,
        "new_animals": 45,
        "things": 48,
    }
    assert Counter(map(subject_of, named["prompts"])) == dict.fromkeys(TRAINING_ANIMALS, 5)
    assert {*map(subject_of, named["heldout"])} == {*TRAINING_ANIMALS}
    assert Counter(map(subject_of, named["new_animals"])) == dict.fromkeys(NEW_ANIMALS, 5)
    assert Counter(map(subject_of, named["things"])) == dict.fromkeys(THINGS, 3)


def test_plain_captions_are_trained_and_held_out():
    full = {scene.caption() for scene in all_scenes()}
    named = splits()
    assert sum(caption not in full for caption in named["prompts"]) == 20
    assert sum(caption not in full for caption in named["heldout"]) == 8


@pytest.mark.parametrize("name", splits())
def test_the_files_are_what_the_script_writes(name):
    assert path_of(name).read_text() == "\n".join([f"# {ABOUT[name]}", *splits()[name]]) + "\n"


def test_the_files_are_read_as_prompts():
    for name, captions in splits().items():
        assert read_prompts(path_of(name)) == captions


def test_another_seed_splits_otherwise():
    assert splits(0) == splits(0)
    assert splits(1) != splits(0)
