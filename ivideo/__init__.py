"""Teach text-to-video diffusion models with human feedback: InstructVideo, usable.

The names below are what the commands call; they load on first use, so that `import ivideo` is instant.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ivideo.api import compare, finetune, generate, merge_adapter, save_adapter, score
    from ivideo.errors import IvideoError, UsageError
    from ivideo.inputs.prompts import Prompt

__version__ = "0.2.0"  # pyproject.toml reads it here
__all__ = [
    "IvideoError",
    "Prompt",
    "UsageError",
    "__version__",
    "compare",
    "finetune",
    "generate",
    "merge_adapter",
    "save_adapter",
    "score",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'ivideo' has no attribute {name!r}")
    return getattr(import_module("ivideo.errors" if name.endswith("Error") else "ivideo.api"), name)
