"""What a network is computed on, in which type, compiled or not, and how many clips at a time."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import torch
from torch import nn

from ivideo.errors import UsageError


def choose_device(name: str) -> torch.device:
    """The device that a name (`auto`, `cpu`, `cuda`, `cuda:1`, `mps`) means.

    Raises:
        UsageError: no such device here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.ones(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError):
        raise UsageError(f"`device` {name}: not available on this machine; try cpu") from None
    return device


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """The network's type.

    Args:
        name: float32, bfloat16, float16, or `auto`: bfloat16 where the processor computes in it, else float32 on CPU
            and float16 on CUDA.
        device: where the network is computed.
    """
    if name != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[name]
    if device.type == "cpu" and has_native_bfloat16():
        return torch.bfloat16
    if device.type != "cuda":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16


def has_native_bfloat16() -> bool:
    """Whether this CPU multiplies in bfloat16; a forward of the emoji world's U-Net then takes a quarter less time."""
    ask = getattr(torch.cpu, "get_capabilities", None)
    capabilities: dict[str, object] = ask() if ask else {}  # older torch cannot tell
    return any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16", "amx_tile", "sve_bf16"))


def compile_network(
    network: nn.Module, try_it: Callable[[], object], backend: str | Callable[..., Any] = "inductor"
) -> str | None:
    """Compile a network in place; its names, weights and adapters stay what they are.

    Args:
        network: compiled when it is first called; again where shapes, gradients or adapters change.
        try_it: calls it as it will be called, backward pass included.
        backend: of torch.compile.

    Returns:
        None, or why the compiler failed, in a line: then the network is as it was before.
    """
    from torch._dynamo import config
    from torch._dynamo.exc import TorchDynamoException

    config.suppress_errors = False  # a failure is to be heard of here, once
    network.compile(backend=backend)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Dynamo detected a call to a `functools.lru_cache`")  # diffusers' checks
            try_it()
    except torch.OutOfMemoryError:
        raise
    except (TorchDynamoException, RuntimeError) as error:  # compiled code may fail where it is run, too
        network._compiled_call_impl = None
        torch.compiler.reset()
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return f"{type(error).__name__}: {' '.join(lines[:2])}"  # the first only names the part that failed
    config.suppress_errors = True  # what fails later, for another shape, runs uncompiled
    return None


Item = TypeVar("Item")
Result = TypeVar("Result")


def map_on_cores(function: Callable[[Item], Result], items: Sequence[Item], num_workers: int) -> Iterator[Result]:
    """Apply a function to each item and give the results in order, as soon as each one is there.

    One small clip a core is a quarter faster than all cores on one. With several workers, each computes with one thread
    of its own; the results do not depend on their number as long as it is above one.

    Args:
        function: must not change anything that its other calls use.
        items: what to apply it to.
        num_workers: items that are worked on at once; with 1 torch keeps all its threads for the one.
    """
    if num_workers == 1:
        yield from map(function, items)
        return
    num_threads = torch.get_num_threads()

    def apply_alone(item: Item) -> Result:
        torch.set_num_threads(1)
        return function(item)

    pool = ThreadPoolExecutor(num_workers)
    try:
        yield from pool.map(apply_alone, items)
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(num_threads)
