"""What the parts measure by: the authors' step is ours to the last bits, and an operator that differs is named."""

from __future__ import annotations

import pytest
import torch

from examples.gpu_check.authors_step import differentiate, do_as_the_authors
from examples.gpu_check.models import MODELS, build_reward
from examples.gpu_check.numerics import find_first_difference
from examples.gpu_check.stepping import make_trainer, relative_error
from examples.gpu_check.where_time_goes import cover

CPU = torch.device("cpu")


@pytest.mark.parametrize("row", MODELS, ids=lambda row: row.name)
def test_the_authors_step_gives_our_loss_and_gradient_and_decodes_every_frame(row):
    reward = build_reward(CPU, is_small=True)
    model = row.build_with_adapter(CPU, torch.float32, True)
    ours = row.settings(CPU, True, batch_size=1, gradient_accumulation=1, num_frames=8)
    (loss, gradient) = differentiate(make_trainer(model, reward, ours))
    decoded = []
    vae_decode = model.vae.decode
    model.vae.decode = lambda latents, **kwargs: decoded.append(len(latents)) or vae_decode(latents, **kwargs)
    theirs = do_as_the_authors(make_trainer(model, reward, ours.model_copy(update={"guidance_batching": False})))
    their_loss, their_gradient = differentiate(theirs)
    assert sum(decoded) == 8  # of which 4 are scored
    assert loss == pytest.approx(their_loss, abs=1e-6)
    assert gradient.norm() > 0
    assert relative_error(their_gradient, gradient) < 1e-3


def test_small_settings_differ_from_the_preset_in_size_only():
    row = MODELS[0]
    small, full = (row.settings(CPU, is_small) for is_small in (True, False))
    changed = {name for name, value in small.model_dump().items() if value != getattr(full, name)}
    assert changed == set(row.tiny)
    assert (full.num_frames, full.height, full.width, full.num_inference_steps) == (16, 256, 256, 20)


def test_the_first_operator_that_differs_is_named():
    matrix = torch.ones(4, 4)
    assert find_first_difference(lambda: (matrix @ matrix).relu().sum()) == "none found"

    def differ_in_the_middle():
        hidden = (matrix @ matrix).relu()
        return hidden * torch.rand(4, 4)

    assert find_first_difference(differ_in_the_middle).startswith("aten.rand")
    weights = torch.ones(4, requires_grad=True)

    def differ_in_the_backward_pass():
        hidden = weights * 2
        hidden.register_hook(lambda gradient: gradient * torch.rand(4))
        return torch.autograd.grad(hidden.sum(), weights)

    assert find_first_difference(differ_in_the_backward_pass).startswith("aten.rand")


@pytest.mark.parametrize(("intervals", "length"), [([], 0), ([(0, 2), (1, 3), (5, 6)], 4), ([(0, 9), (1, 2)], 9)])
def test_time_that_is_covered_counts_once(intervals, length):
    assert cover(intervals) == length
