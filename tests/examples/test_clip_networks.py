from __future__ import annotations

import pytest
import torch
from torch import nn

from examples.emoji_world.clip_networks import fit, logit_scale, padded_ids, print_shares
from examples.emoji_world.tokenizer import CONTEXT_LENGTH, make_tokenizer
from examples.emoji_world.training import Clock


def small_pair():
    torch.manual_seed(0)
    networks = nn.Linear(4, 4), nn.Linear(4, 4)
    networks[1].load_state_dict(networks[0].state_dict())
    return networks


def train(path, num_steps, stop_at=None):
    """Teach a layer to give back what it gets; `stop_at` is the step that is interrupted."""
    network, average = small_pair()

    def loss_of(step):
        if step == stop_at:
            raise KeyboardInterrupt
        inputs = torch.randn(64, 4, generator=torch.Generator().manual_seed(step))
        return (network(inputs) - inputs).square().mean()

    fit(network, average, loss_of, lambda: "told", Clock(path), num_steps, 0.02, save_every=3)
    return network, average


def test_training_that_was_stopped_ends_where_it_would_have(tmp_path, capsys):
    straight = train(tmp_path / "straight.ckpt", 8)
    assert [line.split(" | ")[1] for line in capsys.readouterr().out.splitlines()] == ["told"] * 3
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "stopped.ckpt", 8, stop_at=5)
    resumed = train(tmp_path / "stopped.ckpt", 8)
    steps = [line.split()[1] for line in capsys.readouterr().out.splitlines()]
    assert steps == ["3", "6", "8"]
    for network, same in zip(straight, resumed, strict=True):
        assert all(torch.equal(value, same.state_dict()[name]) for name, value in network.state_dict().items())


def test_training_learns_and_the_average_lags_behind(tmp_path):
    network, average = train(tmp_path / "c.ckpt", 200)
    far = (small_pair()[0].weight - torch.eye(4)).norm()
    assert (network.weight - torch.eye(4)).norm() < 0.3 * far
    assert not torch.equal(network.weight, average.weight)
    assert (average.weight - torch.eye(4)).norm() < 0.5 * far


def test_captions_become_ids_of_one_length():
    tokenizer = make_tokenizer(["cat", "owl"])
    ids = padded_ids(tokenizer)(["a cat", "an owl " * 20])
    assert ids.shape == (2, CONTEXT_LENGTH)
    assert ids[0, -1] == ids[1, -1] == len(tokenizer) - 1


def test_the_scale_is_100_at_most():
    network = nn.Module()
    for exponent, scale in ((0.0, 1.0), (9.0, 100.0)):
        network.logit_scale = nn.Parameter(torch.tensor(exponent))
        assert logit_scale(network).item() == scale


def test_shares_below_their_floor_are_remarked(capsys):
    print_shares({"blur": 0.5, "noise": 0.9, "tint": 0.1}, {"blur": 0.85, "noise": 0.85})
    low, *others = capsys.readouterr().out.splitlines()
    assert low.split() == ["blur", "0.500", "below", "0.85"]
    assert [line.split() for line in others] == [["noise", "0.900"], ["tint", "0.100"]]
