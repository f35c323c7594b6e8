from __future__ import annotations

import numpy as np
import pytest
import torch

from examples.emoji_world.classifier.augment import (
    AUGMENTATIONS,
    PROBABILITY,
    augment,
    change_brightness,
    compress,
    move,
    tint,
    turn_hue,
)


def blocks(num_frames=1):
    """Frames of coloured blocks of 8 pixels, all alike."""
    colours = torch.rand((1, 3, 8, 8), generator=torch.Generator().manual_seed(0))
    return colours.repeat_interleave(8, 2).repeat_interleave(8, 3).repeat(num_frames, 1, 1, 1)


@pytest.mark.parametrize("kind", AUGMENTATIONS)
def test_clips_change_more_the_stronger_the_augmentation_and_stay_in_range(kind):
    clip = blocks(2)
    errors = {}
    for strength in (0.15, 1.0):
        changed = [AUGMENTATIONS[kind](clip, strength, np.random.default_rng(seed)) for seed in range(20)]
        assert all(c.shape == clip.shape and c.dtype == clip.dtype and 0 <= c.min() <= c.max() <= 1 for c in changed)
        errors[strength] = np.mean([(c - clip).abs().mean() for c in changed])
    assert 0 < errors[0.15] < errors[1.0]


@pytest.mark.parametrize("kind", sorted(AUGMENTATIONS.keys() - {"noise"}))
def test_all_frames_of_a_clip_are_changed_alike(kind):
    changed = AUGMENTATIONS[kind](blocks(3), 0.7, np.random.default_rng(1))
    assert torch.allclose(changed, changed[:1].expand_as(changed), atol=1e-6)


def test_noise_is_fresh_in_each_frame_but_equally_strong():
    grey = torch.full((3, 3, 64, 64), 0.5)
    noise = AUGMENTATIONS["noise"](grey, 0.5, np.random.default_rng(0)) - grey
    assert noise.std((1, 2, 3)).tolist() == pytest.approx([0.02 + 0.13 * 0.5] * 3, rel=0.05)
    assert (noise[0] - noise[1]).abs().mean() > 0.05


def test_a_clip_moves_by_no_more_than_a_tenth():
    clip = torch.zeros((1, 3, 64, 64))
    clip[..., 31:33, 31:33] = 1.0  # the middle, which zooming leaves
    places = torch.arange(64.0) + 0.5
    centres = []
    for seed in range(40):
        weights = move(clip, 1.0, np.random.default_rng(seed))[0, 0]
        rows, columns = weights.sum(1) / weights.sum(), weights.sum(0) / weights.sum()
        centres.append([(rows * places).sum() - 32, (columns * places).sum() - 32])
    shifts = np.abs(centres)
    assert 5 < shifts.max() < 6.4 / 0.9 + 0.5  # shifts are enlarged with the picture
    assert shifts[:, 0].max() > 5
    assert shifts[:, 1].max() > 5


@pytest.mark.parametrize("change", [change_brightness, tint])
def test_night_does_not_become_day(change):
    night = torch.full((1, 3, 64, 64), 0.2)
    assert max(change(night, 1.0, np.random.default_rng(seed)).max() for seed in range(20)) < 0.3


def test_turning_the_hue_keeps_greys_and_brightness():
    muted = 0.4 + 0.2 * blocks()
    turned = turn_hue(muted, 1.0, np.random.default_rng(0))
    assert torch.allclose(turned.mean(1), muted.mean(1), atol=1e-6)
    assert torch.allclose(turned.std(1), muted.std(1), atol=1e-6)
    grey = muted.mean(1, keepdim=True).expand_as(muted)
    assert torch.allclose(turn_hue(grey, 1.0, np.random.default_rng(0)), grey, atol=1e-6)
    angle = torch.nn.functional.cosine_similarity(muted - grey, turned - grey, dim=1).acos().rad2deg()
    assert angle.mean().item() == pytest.approx(360 / 7, abs=0.1)


def test_compression_rounds_little_at_best_and_keeps_colours():
    red = torch.tensor([0.8, 0.2, 0.2])[:, None, None].expand(1, 3, 64, 64)
    assert torch.allclose(compress(red, 0.0, np.random.default_rng(0)), red, atol=0.02)


def test_augment_is_fixed_by_its_generator_and_leaves_some_clips_clean():
    clip = blocks()
    results = [augment(clip, np.random.default_rng(seed)) for seed in range(300)]
    assert torch.equal(results[5], augment(clip, np.random.default_rng(5)))
    assert not torch.equal(results[5], results[6])
    num_clean = sum(torch.equal(result, clip) for result in results)
    expected = 300 * (1 - PROBABILITY) ** len(AUGMENTATIONS)
    assert 0 < num_clean < 3 * expected
