from __future__ import annotations

import math

import pytest
import torch

from ivideo.core.attenuation import attenuated_mean, frame_weights


def test_weights_by_hand():
    weights = frame_weights(torch.tensor([2, 6, 9, 13]), 16, 1.0)
    expected = torch.tensor([math.exp(-6), math.exp(-2), math.exp(-1), math.exp(-5)])
    torch.testing.assert_close(weights, expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize(("num_frames", "centre"), [(16, 8), (8, 4), (7, 3), (1, 0)])
def test_the_centre_is_frame_half_rounded_down(num_frames, centre):
    weights = frame_weights(torch.arange(num_frames), num_frames, 1.0)
    assert weights.argmax() == centre
    assert weights[centre] == 1


def test_unit_scores_at_the_documented_frames():
    weights = frame_weights(torch.tensor([[2, 6, 9, 13]]), 16, 1.0)
    assert attenuated_mean(torch.ones(1, 4), weights).item() == pytest.approx(0.1281, abs=5e-5)


def test_share_of_the_signal_per_segment():
    weights = frame_weights(torch.arange(16), 16, 1.0).view(4, 4).sum(dim=1)
    shares = 100 * weights / weights.sum()
    torch.testing.assert_close(shares, torch.tensor([0.48, 26.41, 71.80, 1.31]), rtol=0, atol=0.01)


def test_half_the_rate_is_the_square_root():
    indices = torch.arange(16).view(2, 8)
    half, whole = (frame_weights(indices, 16, rate) for rate in (0.5, 1.0))
    torch.testing.assert_close(half**2, whole)
    assert half.shape == (2, 8)


def test_no_rate_is_a_plain_mean():
    weights = frame_weights(torch.tensor([[0, 5], [1, 7]]), 8, None)
    assert weights.dtype == torch.float32
    assert attenuated_mean(torch.tensor([[1.0, 2.0], [3.0, 5.0]]), weights).tolist() == [1.5, 4.0]


def test_the_mean_is_not_divided_by_the_weights():
    weights = torch.tensor([[0.5, 0.25]])
    assert attenuated_mean(torch.tensor([[2.0, 4.0]]), weights).tolist() == [1.0]


def test_a_whole_clip_score_is_not_broadcast():
    with pytest.raises(ValueError, match=r"one weight per score: scores \(2, 1\), weights \(2, 4\)"):
        attenuated_mean(torch.ones(2, 1), torch.ones(2, 4))
