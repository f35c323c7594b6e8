from __future__ import annotations

import itertools

import pytest
import torch

from ivideo.core.segments import first_frame_indices, sample_frame_indices, spread_frame_indices


@pytest.mark.parametrize(
    ("num_frames", "num_segments", "expected"),
    [(16, 4, [0, 4, 8, 12]), (8, 4, [0, 2, 4, 6]), (10, 4, [0, 2, 4, 6]), (3, 3, [0, 1, 2]), (5, 1, [0])],
)
def test_first_frames_by_hand(num_frames, num_segments, expected):
    assert first_frame_indices(num_frames, num_segments).tolist() == expected


def test_one_frame_of_each_segment_uniformly():
    draws = sample_frame_indices(16, 4, torch.Generator().manual_seed(0), batch_size=4000)
    assert draws.shape == (4000, 4)
    assert draws.dtype == torch.int64
    for segment in range(4):
        counts = torch.bincount(draws[:, segment] - 4 * segment, minlength=4)
        assert counts.shape == (4,), "a frame outside its segment"
        assert ((counts - 1000).abs() < 120).all()  # four standard deviations of a binomial are 110


def test_segments_are_drawn_independently():
    draws = sample_frame_indices(16, 4, torch.Generator().manual_seed(0), batch_size=4000) % 4
    pairs = torch.bincount(draws[:, 0] * 4 + draws[:, 1], minlength=16)
    assert ((pairs - 250).abs() < 65).all()


def test_frames_beyond_the_even_segments_are_never_drawn():
    draws = sample_frame_indices(10, 4, torch.Generator().manual_seed(0), batch_size=1000)
    assert sorted(set(draws.flatten().tolist())) == list(range(8))


def test_as_many_segments_as_frames_takes_every_frame():
    assert sample_frame_indices(5, 5, torch.Generator()).tolist() == [[0, 1, 2, 3, 4]]


def test_same_generator_state_same_draw_and_the_process_state_is_left_alone():
    before = torch.get_rng_state()
    first = sample_frame_indices(16, 4, torch.Generator().manual_seed(3), batch_size=5)
    second = sample_frame_indices(16, 4, torch.Generator().manual_seed(3), batch_size=5)
    assert torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("num_segments", [-1, 0, 17])
def test_impossible_segments_are_refused(num_segments):
    with pytest.raises(ValueError, match=f"num_segments must be from 1 to num_frames .16., got {num_segments}"):
        first_frame_indices(16, num_segments)
    with pytest.raises(ValueError, match="num_segments must be"):
        sample_frame_indices(16, num_segments, torch.Generator())


def test_frames_along_a_clip_are_all_of_a_short_one() -> None:
    assert spread_frame_indices(16, 4, 64).tolist() == list(range(16))
    assert spread_frame_indices(16, 4, 16).tolist() == list(range(16))


def test_frames_along_a_long_clip_are_evenly_spread_and_hold_the_segments() -> None:
    assert spread_frame_indices(32, 4, 8).tolist() == [0, 4, 8, 12, 16, 20, 24, 28]
    assert spread_frame_indices(16, 4, 15).tolist() == [0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14]
    for num_frames, num_segments, most in ((1000, 4, 64), (103, 7, 20), (65, 4, 64), (9, 9, 3), (10, 3, 5)):
        indices = spread_frame_indices(num_frames, num_segments, most).tolist()
        assert {*first_frame_indices(num_frames, num_segments).tolist()} <= {*indices}
        assert indices == sorted({*indices})
        assert len(indices) <= max(num_segments, most)
        gaps = [b - a for a, b in itertools.pairwise(indices)]
        assert max(gaps) - min(gaps) <= 1 + num_frames // num_segments % max(1, most // num_segments)


def test_no_frames_along_a_clip_are_the_segments() -> None:
    assert spread_frame_indices(16, 4, 0).tolist() == [0, 4, 8, 12]
