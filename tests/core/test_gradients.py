from __future__ import annotations

from collections import Counter
from functools import partial
from itertools import pairwise

import pytest
import torch

from ivideo.core.gradients import (
    count_evaluations,
    draw_late_step,
    draw_spread_steps,
    run_detached,
    run_renoised,
    run_to_guess,
)
from ivideo.core.sampler import run_chain, start_chain

A, C = 0.1, 0.8


class Shrink:
    """A linear stepper, `c * x - eps`: with `denoise = a * x` a step gives `(c - a) * x`."""

    timesteps = torch.tensor([4, 3, 2, 1])

    def corrupt(self, latents, noise, timestep):
        return latents + 10 * timestep * noise

    def step(self, noise_pred, timestep, latents):
        return C * latents - noise_pred

    def predict_clean(self, noise_pred, timestep, latents):
        return latents - timestep * noise_pred


class Scale:
    """`denoise = a * x`, which notes of each call its timestep, whether it has a graph, and whether its input has."""

    def __init__(self):
        self.a = torch.tensor(A, dtype=torch.float64, requires_grad=True)
        self.calls = []

    def __call__(self, latents, timestep, conditioning):
        self.calls.append((int(timestep), torch.is_grad_enabled(), latents.requires_grad))
        return self.a * latents


@pytest.fixture
def latents():
    return torch.linspace(-1, 2, 2 * 3 * 2, dtype=torch.float64).view(2, 1, 3, 2, 1)


@pytest.fixture
def fresh(latents):
    """Noise of three samples that differ."""
    return torch.linspace(-2, 5, 3 * latents.numel(), dtype=torch.float64).cos().view(3, *latents.shape)


def run_and_differentiate(run, latents, **options):
    """What comes out of the small chain, the derivative of its sum for a, and the calls of the network."""
    denoise = Scale()
    out = run(denoise, Shrink(), latents, Shrink.timesteps, None, **options)
    calls = list(denoise.calls)
    (gradient,) = torch.autograd.grad(out.sum(), denoise.a)
    return out, gradient.item(), calls


@pytest.mark.parametrize("checkpoint", [True, False])
@pytest.mark.parametrize("num_grad_steps", [1, 3])
def test_the_last_steps_by_hand(checkpoint, num_grad_steps, latents):
    out, gradient, _ = run_and_differentiate(run_chain, latents, num_grad_steps=num_grad_steps, checkpoint=checkpoint)
    torch.testing.assert_close(out, (C - A) ** 4 * latents, rtol=0, atol=1e-14)
    assert gradient == pytest.approx(-num_grad_steps * (C - A) ** 3 * latents.sum().item(), abs=1e-13)


@pytest.mark.parametrize("checkpoint", [True, False])
@pytest.mark.parametrize("grad_step", [0, 2, 3])
def test_a_guess_by_hand(checkpoint, grad_step, latents):
    out, gradient, calls = run_and_differentiate(run_to_guess, latents, grad_step=grad_step, checkpoint=checkpoint)
    timestep, reached = 4 - grad_step, (C - A) ** grad_step * latents
    torch.testing.assert_close(out, reached - timestep * A * reached, rtol=0, atol=1e-14)
    assert gradient == pytest.approx(-timestep * reached.sum().item(), abs=1e-13)
    assert [timestep for timestep, _, _ in calls] == [4, 3, 2, 1][: grad_step + 1]  # the later ones are not run
    assert [has_graph for _, has_graph, _ in calls] == [False] * grad_step + [True]


@pytest.mark.parametrize("checkpoint", [True, False])
@pytest.mark.parametrize("grad_steps", [[1], [0, 2], [0, 1, 2, 3]])
def test_detached_inputs_by_hand(checkpoint, grad_steps, latents):
    out, gradient, calls = run_and_differentiate(run_detached, latents, grad_steps=grad_steps, checkpoint=checkpoint)
    torch.testing.assert_close(out, (C - A) ** 4 * latents, rtol=0, atol=1e-14)
    # step s predicts a * (c - a)^s * x, which each later step multiplies by c
    expected = -sum(C ** (3 - s) * (C - A) ** s for s in grad_steps) * latents.sum().item()
    assert gradient == pytest.approx(expected, abs=1e-13)
    assert [s for s, (_, has_graph, _) in enumerate(calls) if has_graph] == grad_steps


def test_no_gradient_flows_through_the_detached_input(latents):
    latents.requires_grad_()
    denoise = Scale()
    out = run_detached(denoise, Shrink(), latents, Shrink.timesteps, None, grad_steps=[0, 1, 2, 3])
    assert not any(has_input_graph for _, _, has_input_graph in denoise.calls)
    (gradient,) = torch.autograd.grad(out.sum(), latents)
    torch.testing.assert_close(gradient, torch.full_like(latents, C**4), rtol=0, atol=1e-14)  # (c - a)^4 through it


@pytest.mark.parametrize("checkpoint", [True, False])
def test_samples_noised_anew_by_hand(checkpoint, latents, fresh):
    out, gradient, calls = run_and_differentiate(run_renoised, latents, noise=fresh, checkpoint=checkpoint)
    noised = (C - A) ** 4 * latents + 10 * fresh
    torch.testing.assert_close(out, ((C - A) * noised).flatten(0, 1), rtol=0, atol=1e-13)
    assert gradient == pytest.approx(-noised.sum().item(), abs=1e-12)
    assert [has_graph for _, has_graph, _ in calls] == [False] * 4 + [True] * 3
    assert [timestep for timestep, _, _ in calls] == [4, 3, 2, 1, 1, 1, 1]


def test_one_sample_noised_anew_is_the_last_step_of_that_noised_clip(latents, fresh):
    out, gradient, _ = run_and_differentiate(run_renoised, latents, noise=fresh[:1])
    denoise, stepper, last = Scale(), Shrink(), Shrink.timesteps[-1:]
    clean = run_chain(denoise, stepper, latents, stepper.timesteps, None)
    noisy = stepper.corrupt(clean, fresh[0], last[0])
    expected = run_chain(denoise, stepper, noisy, last, None, num_grad_steps=1)
    assert torch.equal(out, expected)
    assert gradient == torch.autograd.grad(expected.sum(), denoise.a)[0].item()


@pytest.fixture(params=["random", "drtune", "draft-lv"])
def run(request, fresh):
    """A way that differentiates as many calls as it says, of a chain of at least 3 steps."""
    ways = {
        "random": (partial(run_to_guess, grad_step=2), 1),
        "drtune": (partial(run_detached, grad_steps=[0, 2]), 2),
        "draft-lv": (partial(run_renoised, noise=fresh), 3),
    }
    return ways[request.param]


def test_checkpointing_changes_no_gradient(run, latents, ddim20):
    def differentiate(checkpoint):
        p = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)

        def denoise(x, timestep, conditioning):
            return torch.tanh(p * x + conditioning)

        out = run[0](denoise, ddim20, latents, ddim20.timesteps[-3:], 0.3, checkpoint=checkpoint)
        return torch.autograd.grad(out.cos().sum(), p)[0]

    assert torch.equal(differentiate(True), differentiate(False))
    assert differentiate(True).abs() > 1e-3


@pytest.mark.parametrize("checkpoint", [True, False])
def test_only_calls_with_gradient_are_recomputed(run, checkpoint, latents):
    denoise, (way, num_backward) = Scale(), run
    out = way(denoise, Shrink(), latents, Shrink.timesteps, None, checkpoint=checkpoint)
    assert sum(has_graph for _, has_graph, _ in denoise.calls) == num_backward
    denoise.calls.clear()
    out.sum().backward()
    assert len(denoise.calls) == (num_backward if checkpoint else 0)


def test_gradcheck_of_a_guess(latents, ddim20):
    def guess(p):
        def denoise(x, timestep, conditioning):
            return torch.tanh(p * x)

        return run_to_guess(denoise, ddim20, latents, ddim20.timesteps[-3:], None, grad_step=0)

    assert torch.autograd.gradcheck(guess, (torch.tensor(0.7, dtype=torch.float64, requires_grad=True),))


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (partial(run_to_guess, grad_step=4), "grad_step must be from 0 to 3, got 4"),
        (partial(run_to_guess, grad_step=-1), "grad_step must be from 0 to 3, got -1"),
        (partial(run_detached, grad_steps=[0, 4]), r"grad_steps must be from 0 to 3, got \[4\]"),
    ],
)
def test_steps_that_are_not_run_are_refused(run, message, latents):
    denoise = Scale()
    with pytest.raises(ValueError, match=message):
        run(denoise, Shrink(), latents, Shrink.timesteps, None)
    assert denoise.calls == []


def test_a_chain_starts_from_the_clip_or_from_the_noise(latents):
    noise = torch.ones_like(latents)
    noisy, timesteps = start_chain(Shrink(), latents, noise, 0.5)
    torch.testing.assert_close(noisy, latents + 20 * noise)
    assert timesteps.tolist() == [2, 1]
    noisy, timesteps = start_chain(Shrink(), None, noise, 0.5)
    assert noisy is noise
    assert timesteps.tolist() == [4, 3, 2, 1]


def draws(draw, *arguments, count=300):
    """Outcomes of a draw for many seeds, with how often each came."""
    found = (draw(*arguments, torch.Generator().manual_seed(seed)) for seed in range(count))
    return Counter(tuple(one) if isinstance(one, list) else one for one in found)


def test_late_steps_are_the_last_ones_equally_often():
    found = draws(draw_late_step, 12, 3)
    assert {*found} == {9, 10, 11}
    assert min(found.values()) > 75


def test_spread_steps_are_even_and_reach_every_step():
    assert {*draws(draw_spread_steps, 12, 3)} == {(0, 4, 8), (1, 5, 9), (2, 6, 10), (3, 7, 11)}
    assert {*draws(draw_spread_steps, 4, 4, count=20)} == {(0, 1, 2, 3)}
    found = draws(draw_spread_steps, 7, 3, count=2000)  # 3 does not divide 7
    assert all({b - a for a, b in pairwise(steps)} <= {2, 3} for steps in found)
    by_step = Counter(step for steps in found.elements() for step in steps)
    assert {*by_step} == {*range(7)}
    assert max(by_step.values()) < 1.15 * min(by_step.values())


@pytest.mark.parametrize("draw", [draw_late_step, draw_spread_steps])
@pytest.mark.parametrize("num_grad_steps", [0, 5])
def test_more_steps_than_there_are_cannot_be_drawn(draw, num_grad_steps):
    with pytest.raises(ValueError, match=f"from 1 to the 4 steps that are run, got {num_grad_steps}"):
        draw(4, num_grad_steps, torch.Generator())


SETTINGS = {"num_inference_steps": 20, "strength": 0.6, "num_grad_steps": 1}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, (12, 1)),
        ({"start": "noise"}, (20, 1)),
        ({"num_grad_steps": 3}, (12, 3)),
        ({"gradient": "random", "num_grad_steps": 4}, (10.5, 1)),
        ({"gradient": "drtune", "num_grad_steps": 4, "start": "noise"}, (20, 4)),
        ({"gradient": "draft-lv", "num_grad_steps": 15}, (27, 15)),
    ],
)
def test_evaluations_by_hand(changes, expected):
    assert count_evaluations(**{"start": "clip", "gradient": "last", **SETTINGS, **changes}) == expected


@pytest.mark.parametrize("gradient", ["last", "drtune"])
@pytest.mark.parametrize(("start", "most"), [("clip", 12), ("noise", 20)])
def test_no_count_of_steps_that_are_not_run(gradient, start, most):
    settings = {**SETTINGS, "start": start, "gradient": gradient}
    assert count_evaluations(**{**settings, "num_grad_steps": most}) == (most, most)
    with pytest.raises(ValueError, match=f"from 1 to the {most} steps that are run, got {most + 1}"):
        count_evaluations(**{**settings, "num_grad_steps": most + 1})


def test_counts_are_those_of_the_calls(latents, fresh):
    settings = {"start": "noise", "num_inference_steps": 4, "strength": 1.0}
    ways = {
        "last": [partial(run_chain, num_grad_steps=3)],
        "random": [partial(run_to_guess, grad_step=step) for step in (1, 2, 3)],  # each as likely
        "drtune": [partial(run_detached, grad_steps=[0, 1, 3])],
        "draft-lv": [partial(run_renoised, noise=fresh)],
    }
    for gradient, runs in ways.items():
        calls = [call for run in runs for call in run_and_differentiate(run, latents)[2]]
        counted = len(calls) / len(runs), sum(has_graph for _, has_graph, _ in calls) / len(runs)
        assert counted == count_evaluations(gradient=gradient, num_grad_steps=3, **settings), gradient
