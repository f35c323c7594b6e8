from __future__ import annotations

import argparse

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from torch import nn

from examples.emoji_world.captions import random_scene
from examples.emoji_world.train_preference import preference_loss
from examples.emoji_world.train_text_to_video import Trainer
from examples.emoji_world.training import Clock, Muon, Optimisers, learning_rate_factor, orthogonalise, update_average


@pytest.mark.parametrize("shape", [(16, 16), (8, 40), (40, 8), (1, 5)])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 100.0])
def test_singular_values_come_near_one_and_directions_stay(shape, scale):
    matrix = scale * torch.randn(shape, generator=torch.Generator().manual_seed(0))
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    result = orthogonalise(matrix)
    large = values > 0.05 * values.max()
    assert ((torch.linalg.svdvals(result) > 0.65) & (torch.linalg.svdvals(result) < 1.25))[large].all()
    assert (left.T @ result @ right.T).diagonal()[large].min() > 0.65
    assert result.dtype == matrix.dtype


def test_a_step_of_muon_is_an_orthogonal_step_of_the_learning_rate():
    generator = torch.Generator().manual_seed(0)
    weight = nn.Parameter(torch.randn((8, 4, 1, 1), generator=generator))
    before = weight.detach().clone()
    weight.grad = torch.randn(weight.shape, generator=generator)
    Muon([weight], lr=0.1).step()
    step = (before - weight.detach()).flatten(1) / 0.1 / 2**0.5  # twice as many rows as columns
    assert torch.linalg.svdvals(step).sub(1).abs().max() < 0.35
    assert (step * weight.grad.flatten(1)).sum() > 0


def test_matrices_go_to_muon_and_the_rest_to_adam():
    model = nn.ModuleDict({"embedding": nn.Embedding(3, 4), "hidden": nn.Linear(4, 4)})
    optimisers = Optimisers(model, 0.1, 0.01, lambda name: "embedding" in name)
    muon, adam = ([p for group in part.param_groups for p in group["params"]] for part in optimisers.parts)
    assert [id(p) for p in muon] == [id(model["hidden"].weight)]
    assert {id(p) for p in adam} == {id(model["embedding"].weight), id(model["hidden"].bias)}


def test_learning_rate_warms_up_stays_and_falls_to_zero():
    factors = [learning_rate_factor(step, 100) for step in range(100)]
    assert factors[0] == 1 / 20
    assert factors[19:60] == [1.0] * 41
    assert factors[80] == pytest.approx(0.5)
    assert factors[99] == pytest.approx(1 / 40)


def test_average_of_weights():
    average, model = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
    average.weight.data.fill_(1.0)
    model.weight.data.fill_(3.0)
    update_average(average, model, 0.75)
    assert average.weight.item() == 1.5
    average, model = nn.BatchNorm1d(1), nn.BatchNorm1d(1)
    model(torch.tensor([[2.0], [4.0]]))
    update_average(average, model, 0.75)
    assert average.running_mean.item() == pytest.approx(0.3), "buffers are copied"


def test_clock_counts_on_after_a_break(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr("examples.emoji_world.training.time.monotonic", lambda: now[0])
    first = Clock(tmp_path / "folder" / "model.ckpt")
    assert first.load() is None
    now[0] += 30
    first.save(step=7, model={"weight": torch.ones(2)})
    now[0] += 1000  # nobody trains
    second = Clock(tmp_path / "folder" / "model.ckpt")
    state = second.load()
    assert (state["step"], second.seconds) == (7, 30.0)
    assert torch.equal(state["model"]["weight"], torch.ones(2))
    now[0] += 5
    assert second.seconds == 35.0
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["model.ckpt"]


def test_an_interrupted_save_keeps_the_last_checkpoint(tmp_path, monkeypatch):
    clock = Clock(tmp_path / "model.ckpt")
    clock.save(step=1)

    def interrupt(state, path):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", interrupt)
    with pytest.raises(KeyboardInterrupt):
        clock.save(step=2)
    assert clock.load()["step"] == 1


def test_training_that_was_stopped_ends_where_it_would_have(tmp_path):
    def start():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 2))
        return model, Optimisers(model, 0.02, 1e-3, lambda name: False)

    def train(model, optimisers, steps):
        for step in steps:
            inputs = torch.randn((5, 4), generator=torch.Generator().manual_seed(step))
            model(inputs).square().mean().backward()
            optimisers.step(learning_rate_factor(step, 6))
        return [parameter.detach() for parameter in model.parameters()]

    straight = train(*start(), range(6))
    model, optimisers = start()
    train(model, optimisers, range(3))
    clock = Clock(tmp_path / "model.ckpt")
    clock.save(model=model.state_dict(), optimisers=optimisers.state_dict())
    model, optimisers = start()
    state = clock.load()
    model.load_state_dict(state["model"])
    optimisers.load_state_dict(state["optimisers"])
    resumed = train(model, optimisers, range(3, 6))
    assert all(torch.equal(a, b) for a, b in zip(straight, resumed, strict=True))


def test_what_a_step_sees_depends_on_its_number_only():
    rng = np.random.default_rng(0)
    scenes = [random_scene(rng) for _ in range(10)]
    latents = torch.arange(10.0).view(10, 1, 1, 1, 1).expand(10, 8, 16, 8, 8).half()
    parts = {"unet": nn.Linear(1, 1), "text_encoder": nn.Linear(1, 1), "scheduler": DDIMScheduler()}
    options = argparse.Namespace(seed=0, image_share=0.5, image_batch=6, video_batch=2)

    def draw(order):
        trainer = Trainer(parts, scenes, latents, options)
        return {step: trainer.draw(step) for step in order}

    forwards, backwards = draw(range(12)), draw(reversed(range(12)))
    shapes = set()
    for step, (clips, captions, generator) in forwards.items():
        others, other_captions, other_generator = backwards[step]
        assert torch.equal(clips, others)
        assert captions == other_captions
        assert generator.initial_seed() == other_generator.initial_seed()
        shapes.add(tuple(clips.shape))
        for clip, caption in zip(clips, captions, strict=True):
            subject = scenes[int(clip.flatten()[0])].subject
            assert caption == "" or caption.split()[1] == subject
    assert shapes == {(6, 8, 1, 8, 8), (2, 8, 16, 8, 8)}


def test_preference_loss_by_hand():
    # Better images match their captions (cosine 1), worse ones the other caption (cosine 0); scale ln 3.
    texts = torch.eye(2)
    images = torch.cat([texts, texts.flip(0)])
    loss = preference_loss(images, texts, torch.tensor(3.0).log())
    assert loss.item() == pytest.approx(1.25 * np.log(4 / 3), rel=1e-5)
