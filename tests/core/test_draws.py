from __future__ import annotations

import pytest
import torch

from ivideo.core.draws import draw_frame_indices, draw_normal, epoch_order, generator_for, item_at
from ivideo.core.segments import sample_frame_indices


def noise(sample_indices, *, seed=1, step=2, purpose="noise"):
    return draw_normal((4, 3, 5), seed=seed, step=step, sample_indices=sample_indices, purpose=purpose)


def frames(sample_indices, *, seed=1, step=2):
    return draw_frame_indices(64, 4, seed=seed, step=step, sample_indices=sample_indices)


@pytest.fixture(params=[noise, frames])
def draw(request):
    return request.param


def test_the_key_is_the_same_on_every_machine():
    assert generator_for(0, 0, 0, "noise").initial_seed() == 0x7435771CBF94FB15


def test_splitting_a_batch_changes_nothing(draw):
    whole = draw(range(8))
    assert torch.equal(whole, torch.cat([draw([0, 1, 2]), draw([3]), draw([4, 5, 6, 7])]))


def test_the_order_of_a_batch_changes_nothing(draw):
    order = [5, 0, 7, 2]
    assert torch.equal(draw(order), draw(range(8))[order])


def test_two_processes_that_take_turns_see_what_one_sees(draw):
    one = draw(range(8))
    two = torch.stack([draw(range(0, 8, 2)), draw(range(1, 8, 2))], dim=1).flatten(0, 1)
    assert torch.equal(one, two)


def test_process_state_is_neither_used_nor_changed(draw):
    torch.manual_seed(0)
    first = draw([3])
    torch.manual_seed(99)
    before = torch.get_rng_state()
    assert torch.equal(draw([3]), first)
    assert torch.equal(torch.get_rng_state(), before)


def test_another_default_device_changes_nothing(draw):
    expected = draw([0, 1])
    with torch.device("meta"):  # as `torch.set_default_device("cuda")` would: draws are of the CPU's generator
        assert torch.equal(draw([0, 1]), expected)
        assert sorted(epoch_order(5, seed=0, epoch=0)) == [0, 1, 2, 3, 4]


def test_a_resumed_run_sees_what_the_unbroken_run_saw(draw):
    def run(first_step, last_step):
        return [draw(range(4 * step, 4 * step + 4), step=step) for step in range(first_step, last_step)]

    for unbroken, resumed in zip(run(0, 6)[4:], run(4, 6), strict=True):
        assert torch.equal(unbroken, resumed)


def test_every_part_of_the_key_matters(draw):
    base = draw([0, 1, 2, 3])
    assert not torch.equal(base, draw([0, 1, 2, 3], seed=2))
    assert not torch.equal(base, draw([0, 1, 2, 3], step=3))
    assert not torch.equal(base, draw([4, 5, 6, 7]))


def test_the_purpose_matters_and_numbers_do_not_run_together():
    assert not torch.equal(noise([0]), noise([0], purpose="offset"))
    assert not torch.equal(noise([2], step=11), noise([12], step=1))


def test_noise_is_standard_normal_float32():
    draws = draw_normal((50, 50), seed=0, step=0, sample_indices=range(20), purpose="noise")
    assert draws.shape == (20, 50, 50)
    assert draws.dtype == torch.float32
    assert draws.mean().abs() < 0.02
    assert (draws.std() - 1).abs() < 0.02


def test_frames_stay_in_their_segments():
    draws = draw_frame_indices(16, 4, seed=0, step=0, sample_indices=range(100))
    assert torch.equal(draws // 4, torch.arange(4).expand(100, 4))
    assert len(draws.unique()) == 16


def test_frames_have_a_purpose_of_their_own():
    expected = sample_frame_indices(64, 4, generator_for(1, 2, 3, "frame_indices"))
    assert torch.equal(frames([3]), expected)
    assert not torch.equal(frames([3]), sample_frame_indices(64, 4, generator_for(1, 2, 3, "noise")))


def test_an_epoch_uses_each_item_once_and_the_next_in_another_order():
    first, second = epoch_order(50, seed=7, epoch=0), epoch_order(50, seed=7, epoch=1)
    assert sorted(first) == sorted(second) == list(range(50))
    assert first != second
    assert first != list(range(50))
    assert first != epoch_order(50, seed=8, epoch=0)
    assert first == epoch_order(50, seed=7, epoch=0)


def test_positions_run_through_the_epochs():
    items = [item_at(position, 5, seed=7) for position in range(15)]
    assert items == [item for epoch in range(3) for item in epoch_order(5, seed=7, epoch=epoch)]
    assert item_at(7, 5, seed=7) == epoch_order(5, seed=7, epoch=1)[2]
