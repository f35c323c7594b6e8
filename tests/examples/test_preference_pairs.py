from __future__ import annotations

import numpy as np
import pytest
import torch

from examples.emoji_world import preference_pairs
from examples.emoji_world.degradations import degrade
from examples.emoji_world.preference_pairs import (
    FRAMES_A_CLIP,
    KINDS,
    TRAINED_STRENGTHS,
    UNSEEN_STRENGTHS,
    Maker,
    Pool,
    as_float,
    foreign_picture,
    pair_batch,
    to_bytes,
)
from examples.emoji_world.renderer import render
from ivideo.models.families import load_model

ROUND_TRIP, EDITED, SAMPLE = 10, 20, 30


@pytest.fixture(scope="module")
def pool():
    """Two makers whose pictures are of one grey each, 1 more for the better maker."""
    made = Pool(400, seed=0)
    made.edited = {name: grey(80, value) for name, value in (("round trip", ROUND_TRIP), ("edited", EDITED))}
    made.samples = [grey(40, SAMPLE), grey(40, SAMPLE + 1)]
    return made


def grey(count, level):
    return torch.full((count, 3, 64, 64), level, dtype=torch.uint8)


def grey_of(picture):
    """The grey of a maker's picture, None for a render."""
    level = picture * 255
    return round(level.mean().item()) if level.std() < 1e-3 else None


def scene_of(pool, picture):
    """The scene of a render."""
    matches = (as_float(pool.frames) == picture).flatten(1).all(1).nonzero().flatten().tolist()
    return pool.scenes[matches[0]]


def draws(pool, kind, count=12):
    rng = np.random.default_rng(1)
    return [pool.draw(kind, rng) for _ in range(count)]


@pytest.mark.needs_font
@pytest.mark.parametrize(
    ("kind", "better_greys", "worse_greys"),
    [
        ("round trip", {None}, {10}),
        ("edited", {None, 10}, {20}),
        ("sample", {None}, {31}),
        ("decoded sample", {10}, {31}),
        ("worse sample", {31}, {30}),
    ],
)
def test_the_better_picture_comes_first(pool, kind, better_greys, worse_greys):
    pairs = draws(pool, kind, 30)
    assert {grey_of(better) for better, _, _ in pairs} == better_greys
    assert {grey_of(worse) for _, worse, _ in pairs} == worse_greys


@pytest.mark.needs_font
@pytest.mark.parametrize("kind", ["wrong subject", "wrong place"])
def test_one_word_of_the_caption_is_wrong_of_the_worse_picture(pool, kind):
    faithful = set()
    for better, worse, caption in draws(pool, kind):
        faithful.add(grey_of(better))
        wrong = scene_of(pool, worse)
        assert (wrong.subject not in caption.split()) == (kind == "wrong subject")
        if kind == "wrong place":
            assert wrong.place not in caption
        if grey_of(better) is None:
            assert scene_of(pool, better).subject in caption.split()
    assert faithful == {None, 31}, "a maker's faithful work beats a wrong render"


@pytest.mark.needs_font
def test_degraded_pictures_are_the_worse_ones(pool):
    for better, worse, caption in draws(pool, "degraded"):
        assert scene_of(pool, better).subject in caption
        assert not torch.equal(better, worse)
    for mild, heavy, caption in draws(pool, "degraded more", 40):
        clean = next(as_float(pool.frames[i]) for i, s in enumerate(pool.scenes) if s.subject in caption.split())
        assert mild.shape == heavy.shape == clean.shape
        assert not torch.equal(mild, heavy)
    assert {grey_of(better) for better, _, _ in draws(pool, "degraded sample")} == {31}


@pytest.mark.needs_font
def test_a_batch_holds_every_kind_and_its_better_half_first(pool):
    frames, captions = pair_batch(pool, 8, np.random.default_rng(0), {"worse sample": 1.0})
    assert frames.shape == (16, 3, 64, 64)
    assert len(captions) == 8
    assert [grey_of(frame) for frame in frames] == [31] * 8 + [30] * 8
    frames, captions = pair_batch(pool, 300, np.random.default_rng(0))
    worse = {grey_of(frame) for frame in frames[300:]}
    assert {None, 10, 20, 30, 31} <= worse
    assert sum(KINDS.values()) == pytest.approx(1)


def test_bytes_and_back():
    levels = to_bytes(torch.tensor([-1.0, 0.0, 0.5, 1.0, 2.0]))
    assert levels.tolist() == [0, 0, 128, 255, 255]
    assert as_float(levels)[[0, -1]].tolist() == [0, 1]


def test_a_maker_is_named_by_all_that_it_is(tmp_path):
    assert Maker(tmp_path / "model_02600.safetensors", 4).name == "model_02600_4"
    assert Maker(tmp_path / "model_02600.safetensors").name == "model_02600_8"


@pytest.mark.needs_font
def test_strengths_of_training_are_not_those_of_measuring(pool, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        preference_pairs,
        "degrade",
        lambda image, strength, rng: drawn.append(strength) or degrade(image, strength, rng),
    )
    draws(pool, "degraded", 40)
    assert all(any(low <= value <= high for low, high in TRAINED_STRENGTHS) for value in drawn)
    drawn.clear()
    draws(Pool(4, seed=0, strengths=UNSEEN_STRENGTHS), "degraded more", 40)
    assert all(any(low <= value <= high for low, high in UNSEEN_STRENGTHS) for value in drawn)
    assert all(mild < heavy for mild, heavy in zip(drawn[::2], drawn[1::2], strict=True))


@pytest.mark.needs_font
def test_more_clips_leave_the_first_as_they_are(pool):
    fewer = Pool(5, seed=0)
    assert fewer.scenes == pool.scenes[: 5 * FRAMES_A_CLIP]
    assert torch.equal(fewer.frames, pool.frames[: 5 * FRAMES_A_CLIP])
    clip = fewer.clips[2]
    whole = torch.from_numpy(render(clip.scene, clip.seed)).permute(0, 3, 1, 2)
    assert torch.equal(whole[clip.frame_indices], fewer.frames[2 * FRAMES_A_CLIP : 3 * FRAMES_A_CLIP])
    assert (clip.frame_indices // 4).tolist() == [0, 1, 2, 3]


def test_foreign_pictures_differ_and_stay_in_range():
    pictures = torch.stack([foreign_picture(np.random.default_rng(seed)) for seed in range(30)])
    assert pictures.min() >= 0
    assert pictures.max() <= 1
    spread = pictures.flatten(2).std(-1).mean(-1)
    assert spread.min() < 0.02, "plain colours"
    assert spread.max() > 0.2, "noise"


@pytest.mark.needs_font
def test_a_model_s_versions_are_kept_and_made_from_the_same_noise(tmp_path, monkeypatch):
    monkeypatch.setattr(preference_pairs, "CLIPS_A_FILE", 1)
    loaded = []
    monkeypatch.setattr(preference_pairs, "load_snapshot", lambda model, path: loaded.append(path.stem))
    model = load_model("emoji-world", torch.device("cpu"), torch.float32)
    makers = [Maker(tmp_path / "early.safetensors", 1), Maker(tmp_path / "late.safetensors", 1)]
    first, again = Pool(2, seed=3), Pool(2, seed=3)
    first.make_versions(model, makers, 1, tmp_path)
    assert loaded == ["early", "late", "late"]
    assert torch.equal(first.samples[0], first.samples[1]), "same noise, and here the same weights"
    assert first.edited.keys() == {"round trip", "edited"}
    assert all(frames.shape == (FRAMES_A_CLIP, 3, 64, 64) for frames in first.edited.values())
    error = (as_float(first.edited["round trip"]) - as_float(first.frames[:FRAMES_A_CLIP])).abs().mean()
    assert error < 0.05, "frames of the same moments"
    loaded.clear()
    again.make_versions(model, makers, 1, tmp_path)
    assert loaded == []
    assert torch.equal(again.edited["edited"], first.edited["edited"])
