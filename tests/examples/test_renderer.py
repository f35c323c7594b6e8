from __future__ import annotations

import numpy as np
import pytest

from examples.emoji_world import renderer
from examples.emoji_world.captions import MOTIONS, PLACES, Scene, all_scenes, places_for
from examples.emoji_world.renderer import NUM_FRAMES, SIZE, background, poses, render, sprite

CAT = Scene("cat", "running", "on grass")


def test_a_missing_font_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setattr(renderer, "FONT_PATH", tmp_path / "none.ttf")
    renderer._font.cache_clear()
    with pytest.raises(FileNotFoundError, match=r"none\.ttf is missing: apt-get install fonts-noto-color-emoji"):
        renderer._font()


@pytest.mark.parametrize("motion", MOTIONS)
def test_the_subject_stays_inside_and_its_motion_is_fixed_by_the_seed(motion):
    assert poses(motion, np.random.default_rng(3)) == poses(motion, np.random.default_rng(3))
    for seed in range(50):
        track = poses(motion, np.random.default_rng(seed))
        assert len(track) == NUM_FRAMES
        assert all(10 < pose.x < SIZE - 10 and 10 < pose.y < SIZE - 10 for pose in track)
        assert len({*track}) > NUM_FRAMES // 2, "it moves"


def test_motions_do_what_they_are_called():
    def track(motion, value):
        return np.array([[getattr(p, value) for p in poses(motion, np.random.default_rng(s))] for s in range(20)])

    assert (np.diff(track("running", "x")) < 0).all()
    assert (np.diff(track("flying", "x")) < 0).all()
    assert (np.diff(track("approaching", "scale")) > 0).all()
    assert np.ptp(track("spinning", "angle"), axis=1) == pytest.approx(360)
    assert np.ptp(track("jumping", "y"), axis=1).min() > 10
    assert np.ptp(track("jumping", "x"), axis=1).max() == 0


def test_an_unknown_motion_or_place():
    with pytest.raises(ValueError, match="unknown motion 'sitting'"):
        poses("sitting", np.random.default_rng(0))
    with pytest.raises(ValueError, match="unknown place 'at home'"):
        background("at home", np.random.default_rng(0))


def test_places_look_different():
    means = {place: np.asarray(background(place, np.random.default_rng(0))).mean((0, 1)) for place in PLACES}
    assert all(np.abs(means[a] - means[b]).max() > 8 for a in PLACES for b in PLACES if a < b)


@pytest.mark.needs_font
def test_a_clip_is_fixed_by_scene_and_seed():
    clip = render(CAT, 5)
    assert clip.shape == (NUM_FRAMES, SIZE, SIZE, 3)
    assert clip.dtype == np.uint8
    assert np.array_equal(render(CAT, 5), clip)
    assert not np.array_equal(render(CAT, 6), clip)
    assert not np.array_equal(render(Scene("cat", "running", "on the beach"), 5), clip)


@pytest.mark.needs_font
def test_frames_can_be_drawn_one_by_one():
    assert np.array_equal(render(CAT, 5, [12, 3]), render(CAT, 5)[[12, 3]])


@pytest.mark.needs_font
@pytest.mark.parametrize("motion", MOTIONS)
def test_the_subject_is_seen_whole_and_the_background_rests(motion):
    place = places_for(motion)[0]
    clip = render(Scene("cat", motion, place), 1).astype(int)
    changed = (np.abs(np.diff(clip, axis=0)).max((0, 3)) > 0).mean()
    assert 0.05 < changed < 0.9, "the subject moves, and not everything does"
    assert all(np.abs(frame - other).max() > 60 for frame, other in zip(clip, np.roll(clip, 8, axis=0), strict=True))


@pytest.mark.needs_font
def test_every_subject_has_its_own_picture():
    pictures = {scene.subject: sprite(scene.subject) for scene in all_scenes()}
    assert all(max(picture.size) == 128 for picture in pictures.values())
    assert all(np.asarray(picture)[..., 3].max() == 255 for picture in pictures.values())
    assert len({picture.tobytes() for picture in pictures.values()}) == len(pictures)
