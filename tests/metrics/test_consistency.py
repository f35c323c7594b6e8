"""VBench's consistency by hand and against torch's cosine."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ivideo.metrics.by_reward import consistency


def test_by_hand() -> None:
    assert consistency([[1, 0], [1, 0], [0, 1]]) == pytest.approx(0.5, abs=1e-15)
    assert consistency([[1, 0], [0, 1], [1, 0]]) == pytest.approx(0.25, abs=1e-15)


def test_opposite_features_count_as_unlike() -> None:
    assert consistency([[1, 0], [-1, 0], [-1, 0]]) == pytest.approx((0 + 0 + 1 + 0) / 4, abs=1e-15)


def test_length_of_features_does_not_matter() -> None:
    assert consistency([[3, 0], [0.5, 0]]) == 1.0


def test_agrees_with_torch() -> None:
    features = torch.randn(9, 32, generator=torch.Generator().manual_seed(0)) + 0.5
    previous = torch.cosine_similarity(features[1:], features[:-1]).clamp(min=0)
    first = torch.cosine_similarity(features[1:], features[:1]).clamp(min=0)
    assert consistency(features) == pytest.approx(((previous + first) / 2).mean().item(), abs=1e-6)


@pytest.mark.parametrize("num_frames", [0, 1])
def test_fewer_than_two_frames_are_consistent(num_frames: int) -> None:
    assert consistency(np.ones((num_frames, 4))) == 1.0


def test_a_feature_of_zeros_is_like_no_other() -> None:
    assert consistency([[1, 0], [0, 0], [1, 0]]) == 0.25


@pytest.mark.parametrize("features", [np.ones(3), np.ones((2, 2, 2)), [[1, float("nan")], [1, 1]]])
def test_what_is_no_row_of_features_is_a_bug(features: object) -> None:
    with pytest.raises(ValueError, match="features must be"):
        consistency(features)  # type: ignore[arg-type]
