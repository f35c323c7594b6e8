from __future__ import annotations

import numpy as np
import pytest
import torch

from examples.emoji_world.degradations import DEGRADATIONS, degrade

PICTURE = torch.rand((3, 8, 8), generator=torch.Generator().manual_seed(0)).repeat_interleave(8, 1)
PICTURE = PICTURE.repeat_interleave(8, 2)


@pytest.mark.parametrize("kind", DEGRADATIONS)
def test_a_picture_is_spoilt_visibly_and_more_the_higher_the_strength(kind):
    errors = []
    for strength in (0.0, 0.5, 1.0):
        spoilt = [degrade(PICTURE, strength, np.random.default_rng(seed), kind) for seed in range(20)]
        assert all(s.shape == PICTURE.shape and s.dtype == PICTURE.dtype for s in spoilt)
        assert all(s.min() >= 0 and s.max() <= 1 for s in spoilt)
        errors.append(np.mean([(s - PICTURE).abs().mean() for s in spoilt]))
    assert 0.02 < errors[0] < errors[1] < errors[2]


def test_the_same_draws_spoil_alike_and_every_kind_is_drawn():
    first, second = (degrade(PICTURE, 0.5, np.random.default_rng(4)) for _ in range(2))
    assert torch.equal(first, second)
    by_kind = {k: degrade(PICTURE, 0.5, np.random.default_rng(0), k).mean().item() for k in ("brightness", "warp")}
    assert by_kind["brightness"] != pytest.approx(PICTURE.mean().item(), abs=0.05)
    assert by_kind["warp"] == pytest.approx(PICTURE.mean().item(), abs=0.05)
    drawn = {round(float(degrade(PICTURE, 0.5, np.random.default_rng(seed)).std()), 3) for seed in range(40)}
    assert len(drawn) > len(DEGRADATIONS)
