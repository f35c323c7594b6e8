"""The contract of a function of the user's own, and every way to break it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from ivideo.errors import IvideoError
from ivideo.rewards.registry import load_reward, runs_code

CPU = torch.device("cpu")
FRAMES = torch.rand((2, 3, 3, 8, 8), generator=torch.Generator().manual_seed(0))
PROMPTS = ["a cat", "an owl"]
TIMES = torch.tensor([[0.0, 0.25, 0.5], [1.0, 1.25, 1.5]])

GOOD = """
import torch
from beside import FACTOR

def bright(frames, prompts):
    assert frames.dtype == torch.float32 and len(frames) == len(prompts) and isinstance(prompts, list)
    return FACTOR * frames.mean((2, 3, 4)) + torch.tensor([len(prompt) for prompt in prompts])[:, None]

def rounded(frames, prompts):
    return frames.round().mean((2, 3, 4))

@torch.no_grad()
def blind(frames, prompts):
    return bright(frames, prompts)

def constant(frames, prompts):
    return torch.ones(frames.shape[:2], requires_grad=True) * 2
"""


@pytest.fixture
def write(tmp_path):
    def write_file(text: str) -> Path:
        (tmp_path / "my.py").write_text(text)
        (tmp_path / "beside.py").write_text("FACTOR = 2.0\n")
        return tmp_path / "my.py"

    return write_file


def test_it_gets_frames_and_prompts_and_gives_scores_and_gradients(write):
    path = write(GOOD)
    reward_model = load_reward(f"{path}:bright", CPU)
    assert (reward_model.name, reward_model.label) == (f"{path}:bright", f"{path}:bright, a function of your own")
    assert reward_model.is_differentiable
    frames = FRAMES.double().requires_grad_()
    scores = reward_model.score(frames, PROMPTS, TIMES)
    torch.testing.assert_close(scores, 2 * FRAMES.mean((2, 3, 4)) + torch.tensor([[5.0], [6.0]]))
    scores[0, 1].backward()
    assert frames.grad[0, 1].sum().item() == pytest.approx(2)
    assert frames.grad[1].eq(0).all()


@pytest.mark.parametrize("function", ["rounded", "blind", "constant"])
def test_without_gradients_it_scores_but_cannot_be_trained_on(write, function):
    reward_model = load_reward(f"{write(GOOD)}:{function}", CPU)
    assert not reward_model.is_differentiable
    assert reward_model.score(FRAMES, PROMPTS, TIMES).shape == (2, 3)


TAKING = """
import torch

def plain(frames): return frames.mean((2, 3, 4))
def second(frames, texts): return frames.mean((2, 3, 4)) * len(texts)
def named(frames, *, fps, prompts): return frames.mean((2, 3, 4)) * fps * len(prompts)
def reordered(frames, times, prompts): return frames.mean((2, 3, 4)) + times * len(prompts)
def optional(frames, scale=3.0, fps=None): return frames.mean((2, 3, 4)) * scale * fps
def anything(frames, **given): return frames.mean((2, 3, 4)) * given["fps"] * len(given["prompts"]) + given["times"]
def clip(frames, fps): return frames.mean((2, 3, 4)).diff(dim=1).mean(1) * fps
class Judge:
    def __call__(self, frames, prompts): return frames.mean((2, 3, 4)) * len(prompts)
judge = Judge()
class Network(torch.nn.Module):
    def forward(self, frames, prompts): return frames.mean((2, 3, 4)) * len(prompts)
network = Network()
def wrapped(*given): return judge(*given)
"""
MEANS = FRAMES.mean((2, 3, 4))


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        ("plain", MEANS),
        ("second", MEANS * 2),
        ("named", MEANS * 4 * 2),
        ("reordered", MEANS + TIMES * 2),
        ("optional", MEANS * 3 * 4),
        ("anything", MEANS * 4 * 2 + TIMES),
        ("judge", MEANS * 2),
        ("network", MEANS * 2),
        ("wrapped", MEANS * 2),
        ("clip", (MEANS[:, 2] - MEANS[:, 0]) / 2 * 4),
    ],
)
def test_it_takes_what_it_has_parameters_for(write, function: str, expected: torch.Tensor) -> None:
    reward_model = load_reward(f"{write(TAKING)}:{function}", CPU)
    torch.testing.assert_close(reward_model.score(FRAMES, PROMPTS, TIMES), expected)
    assert reward_model.scope == ("clip" if expected.ndim == 1 else "frame")
    assert reward_model.is_differentiable


def test_a_single_frame_has_no_rate(write) -> None:
    reward_model = load_reward(
        f"{write('def f(frames, fps): return frames.mean((2, 3, 4)) * (fps != fps or 8)')}:f", CPU
    )
    torch.testing.assert_close(reward_model.score(FRAMES[:, :1], PROMPTS, TIMES[:, :1]), MEANS[:, :1])


def test_memory_that_runs_out_in_it_is_not_its_fault(write) -> None:
    path = write("def f(frames): return frames.mean((2, 3, 4)) + len(bytes(2**60 * (frames.shape[1] - 2)))")
    reward_model = load_reward(f"{path}:f", CPU)
    with pytest.raises(MemoryError):
        reward_model.score(FRAMES, PROMPTS, TIMES)


def test_an_edited_file_is_read_anew(write):
    path = write("def f(frames, prompts): return frames.mean((2, 3, 4))")
    first = load_reward(f"{path}:f", CPU)
    write("def f(frames, prompts): return 1 - frames.mean((2, 3, 4))")
    os.utime(path, ns=(1, 1))
    second = load_reward(f"{path}:f", CPU)
    total = first.score(FRAMES, PROMPTS, TIMES) + second.score(FRAMES, PROMPTS, TIMES)
    torch.testing.assert_close(total, torch.ones(2, 3))


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("def f(): return 1", "f() takes 0 positional arguments but 2 were given"),
        ("def f(frames, prompts, mood): return 1", "f() missing 1 required positional argument: 'mood'"),
        ("def f(frames): return frames.mean((2, 3, 4)).T", "returned a float32 tensor (2, 1) instead of"),
        (
            "def f(frames): return frames.mean((0, 2, 3, 4))",
            "instead of a floating-point tensor (1, 2), a score a frame or ",
        ),
        ("import sys\ndef f(frames): sys.exit(3)", "raised SystemExit: 3 (my.py, line 2)"),
        ("def f(frames, prompts):\n    return {}['x']", "KeyError: 'x' (my.py, line 2)"),
        ("def f(frames, prompts): raise ValueError", "raised ValueError (my.py, line 1)"),
        (
            "def f(frames, prompts): return 0.5",
            "returned a float instead of a floating-point tensor (1, 2), a score a frame or (1,), a score a clip",
        ),
        ("def f(frames, prompts): return frames.mean()", "returned a float32 tensor () instead of a floating-point"),
        ("def f(frames, prompts): return frames.mean((2, 3, 4))[0]", "returned a float32 tensor (2,) instead of"),
        ("def f(frames, prompts): return frames[:, :, 0, 0, 0] > 0", "returned a bool tensor (1, 2) instead of"),
        ("def f(frames, prompts): return frames.mean((2, 3, 4)) / 0", "returned a score that is no finite number"),
        ("f = 3", "has something else than a function as 'f'"),
        ("g = 3", "has no function 'f'"),
        (
            "import no_such_module",
            "raised ModuleNotFoundError: No module named 'no_such_module' (my.py, l",
        ),
        ("def f(:", "raised SyntaxError: "),
    ],
)
def test_what_breaks_the_contract_is_told_in_one_line_before_any_work(write, body, message):
    path = write(body)
    with pytest.raises(IvideoError) as caught:
        load_reward(f"{path}:f", CPU)
    assert str(caught.value).startswith(f"reward {path}:f")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_later_failure_names_the_function_too(write):
    path = write("def f(frames, prompts):\n    return frames.mean((2, 3, 4)) * {2: 1}[frames.shape[1]]")
    reward_model = load_reward(f"{path}:f", CPU)
    with pytest.raises(IvideoError, match=r"raised KeyError: 3 \(my\.py, line 2\)$"):
        reward_model.score(FRAMES[:1], PROMPTS[:1], TIMES[:1])


def test_frames_that_are_no_numbers_are_not_the_functions_fault(write):
    reward_model = load_reward(f"{write(GOOD)}:bright", CPU)
    assert reward_model.score(FRAMES * torch.nan, PROMPTS, TIMES).isnan().all()


def test_a_file_that_is_not_there():
    with pytest.raises(IvideoError, match=r"^reward no\.py:f: no\.py does not exist$"):
        load_reward("no.py:f", CPU)


def test_it_is_known_that_loading_it_runs_code():
    assert runs_code("my.py:f")
    assert runs_code(("hpsv2", "clip=1,my.py:f=2"))
    assert not runs_code(("hpsv2", "clip=1,pickscore=2"))
