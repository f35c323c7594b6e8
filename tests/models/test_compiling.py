"""A compiled network computes the same, and one that cannot be compiled goes on as it is."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from ivideo.models.devices import compile_network


@pytest.fixture(autouse=True)
def _forget_compilations() -> Iterator[None]:
    from torch._dynamo import config

    before = config.suppress_errors
    yield
    config.suppress_errors = before
    torch.compiler.reset()


class Network(nn.Module):
    """One of our own: older compilers pass over torch's."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.linear(inputs)


def compile_with(network: nn.Module, backend: object) -> str | None:
    """Compile by another backend than the one that needs a C++ compiler and a minute."""
    return compile_network(network, lambda: network(torch.ones(2, 3)).sum().backward(), backend)


def test_a_compiled_network_keeps_its_names_and_numbers() -> None:
    network, calls = Network(), []
    expected, names = network(torch.ones(2, 3)), list(network.state_dict())

    def count(graph: torch.fx.GraphModule, _: object) -> object:
        calls.append(graph)
        return graph

    assert compile_with(network, count) is None
    assert torch.equal(network(torch.ones(2, 3)), expected)
    assert list(network.state_dict()) == names
    assert len(calls) == 1


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="the compiler of torch writes C++")
def test_the_real_compiler_computes_the_same() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(nn.Conv2d(4, 8, 3), nn.GroupNorm(4, 8), nn.SiLU(), nn.Conv2d(8, 4, 3))
    images = torch.linspace(-1, 1, 2 * 4 * 8 * 8).reshape(2, 4, 8, 8)
    expected = torch.autograd.grad(network(images).sum(), network.parameters())
    assert compile_network(network, lambda: network(images).sum().backward()) is None
    found = torch.autograd.grad(network(images).sum(), network.parameters())
    for one, other in zip(expected, found, strict=True):
        torch.testing.assert_close(other, one, rtol=1e-4, atol=1e-4)


def test_where_the_compiler_fails_the_network_stays_as_it_is() -> None:
    network = Network()
    expected = network(torch.ones(2, 3))

    def fail(graph: object, inputs: object) -> object:
        raise ValueError("no such processor\nand more")

    reason = compile_with(network, fail)
    assert reason is not None
    assert "no such processor" in reason
    assert "\n" not in reason
    assert torch.equal(network(torch.ones(2, 3)), expected)


def test_compiled_code_that_fails_when_it_is_run_is_left_out_too() -> None:
    network = Network()

    def make(graph: object, inputs: object) -> object:
        def run(*_: object) -> object:
            raise RuntimeError("view size is not compatible")

        return run

    reason = compile_with(network, make)
    assert reason == "RuntimeError: view size is not compatible"
    assert network(torch.ones(2, 3)).shape == (2, 3)


def test_a_lack_of_memory_is_not_the_compiler_s(monkeypatch: pytest.MonkeyPatch) -> None:
    network = Network()

    def run_out() -> None:
        raise torch.OutOfMemoryError("no memory")

    monkeypatch.setattr(nn.Module, "compile", lambda self, backend: None)
    with pytest.raises(torch.OutOfMemoryError):
        compile_network(network, run_out)
