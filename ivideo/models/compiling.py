"""torch.compile for the U-Net, or the U-Net as it is where the compiler fails."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import nn


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
