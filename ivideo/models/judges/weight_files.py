"""Weight files of judges: where they lie, and how they are read without running what they hold."""

from __future__ import annotations

import zipfile
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

WEIGHT_SUFFIXES = (".pt", ".pth", ".bin", ".ckpt", ".safetensors")
UNREADABLE = (OSError, EOFError, RuntimeError, UnpicklingError, LookupError, TypeError, ValueError, SafetensorError)
"""What reading a damaged or foreign weights file raises."""


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Weights by name, of a safetensors file or a torch pickle; they stay on disk until they are used.

    Args:
        path: a pickle holds the weights themselves, or holds them under `state_dict`.

    Raises:
        OSError, EOFError, RuntimeError, UnpicklingError, SafetensorError: no such file.
        TypeError: something else than weights.
    """
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return load_file(path)
    # Only torch's own zip format can be mapped; what was saved before torch 1.6 is read whole.
    content: Any = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    state = content["state_dict"] if isinstance(content, dict) and "state_dict" in content else content
    if not isinstance(state, dict) or not state or not all(isinstance(value, Tensor) for value in state.values()):
        raise TypeError("no weights by name")
    return {name.removeprefix("module."): weight for name, weight in state.items()}


def find_on_hub(repository: str, file_name: str) -> Path | None:
    """A file of a Hugging Face repository: in the cache, else from the hub; None if it is in neither."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled

    for cached_only in (True, False):
        try:
            return Path(hf_hub_download(repository, file_name, local_files_only=cached_only))
        except HFValidationError:
            return None
        except (LocalEntryNotFoundError, HfHubHTTPError, OfflineModeIsEnabled, OSError):
            continue
    return None
