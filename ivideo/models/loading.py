"""How weights are read without running what a file holds, and how damage is told in one line."""

from __future__ import annotations

import json
import math
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from logging import CRITICAL
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ivideo.errors import IvideoError
from ivideo.files.reading import Unreadable
from ivideo.models.hub import find_hub_trouble, is_connection_error
from ivideo.models.memory import is_out_of_memory

PICKLE_SUFFIXES = (".pt", ".pth", ".bin", ".ckpt")
WEIGHT_SUFFIXES = (*PICKLE_SUFFIXES, ".safetensors")
WRAPPERS = ("state_dict", "model", "module")  # tables in which training code puts the weights
NUM_BYTE_TOKENS = 256  # the least that a vocabulary has that can spell any text
PARALLEL_PREFIX = "module."  # what DistributedDataParallel puts before every name
UNREADABLE = (
    Unreadable,
    OSError,
    EOFError,
    ImportError,
    UnpicklingError,
    SafetensorError,
    RuntimeError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    re.error,
)
"""What diffusers, transformers, PEFT, open_clip, torch, safetensors and hubs raise on files that they cannot use."""
SCHEDULE = ("betas", "alphas_cumprod", "sigmas", "timesteps")  # a scheduler's tensors that clips depend on
MAX_REASON = 240  # characters of a library's words that are passed on
NO_WEIGHTS = "it holds other things than weights, or is none of torch's files; for safety it is not loaded"


@contextmanager
def explain_damage(trouble: str, cure: str = "", *, tell_reason: bool = True, repository: str = "") -> Iterator[None]:
    """Turn what libraries raise on missing, damaged or foreign files into one line; memory that ran out is not theirs.

    Args:
        trouble: what is wrong with which part or file; the line begins with it.
        cure: what can be done about it; the line ends with it.
        tell_reason: whether a colon and the first line of the library's words stand between them; those of the hub do.
        repository: of the hub, that the files may come from.

    Raises:
        IvideoError: one of UNREADABLE came out of the block, or trouble with the hub.
    """
    try:
        yield
    except Exception as error:
        is_theirs = isinstance(error, UNREADABLE) or is_connection_error(error)
        if is_out_of_memory(error) or not is_theirs:
            raise
        on_hub = find_hub_trouble(error, repository)
        reason = f": {on_hub or _first_line(error)}" if tell_reason or on_hub else ""
        raise IvideoError(f"{trouble}{reason}{cure}") from error


def _first_line(error: BaseException) -> str:
    if isinstance(error, FileNotFoundError) and error.filename:
        return f"{Path(error.filename).name} is missing"
    if _is_blocked(error):
        return NO_WEIGHTS
    line = next(iter(str(error).strip().splitlines()), type(error).__name__)
    return line if len(line) <= MAX_REASON else f"{line[:MAX_REASON]}..."


def _is_blocked(error: BaseException | None) -> bool:
    """Whether a pickle is behind an error, whose words are torch's advice to load it nevertheless."""
    return error is not None and (isinstance(error, UnpicklingError) or _is_blocked(error.__context__))


def check_finite(tensors: Mapping[str, Tensor], what: str) -> None:
    """Refuse NaN and infinity; a pass over each tensor, and one answer for all.

    Args:
        tensors: by name, all on one device; numbers without a point and tensors without content are left alone.
        what: they belong to; the line begins with it.

    Raises:
        IvideoError: names the first of them.
    """
    floats = {name: one for name, one in tensors.items() if one.is_floating_point() and one.numel() and not one.is_meta}
    are_fine = {name: is_finite(one) for name, one in floats.items()}
    if are_fine and not torch.stack([*are_fine.values()]).all():
        first = next(name for name, is_fine in are_fine.items() if not is_fine)
        raise IvideoError(f"{what}: {first} holds values that are no finite numbers")


def is_finite(tensor: Tensor) -> Tensor:
    """Whether all is finite (0-d, on its device), by the least and the greatest number: a fast pass over it."""
    own = tensor.detach() if tensor.element_size() > 1 else tensor.detach().to(torch.bfloat16)
    return torch.stack(torch.aminmax(own)).isfinite().all()


def read_weights(path: Path) -> dict[str, Tensor]:
    """Weights by name, of a safetensors file or a torch pickle; they stay on disk until they are used.

    Args:
        path: a pickle holds the weights themselves, or holds them in a table of WRAPPERS.

    Raises:
        UnpicklingError: a pickle of other things than tensors, or none.
        TypeError: no weights by name.
        OSError, EOFError, RuntimeError, ValueError, SafetensorError: damaged, or no such file.
    """
    if path.suffix == ".safetensors":
        return load_file(path)
    # Only torch's own zip format can be mapped; what was saved before torch 1.6 is read whole.
    content: Any = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    while isinstance(content, dict) and (tables := [name for name in WRAPPERS if isinstance(content.get(name), dict)]):
        content = content[tables[0]]
    if not (isinstance(content, dict) and content and all(isinstance(value, Tensor) for value in content.values())):
        raise TypeError("no weights by name")
    return {str(name).removeprefix(PARALLEL_PREFIX): weight for name, weight in content.items()}


def import_quietly(package: str) -> Any:
    """Diffusers or transformers, told to keep to themselves what they do not raise, and progress bars."""
    module = import_module(package)
    logging = module.logging if package == "diffusers" else module.utils.logging
    logging.set_verbosity(CRITICAL)
    logging.disable_progress_bar()
    # Diffusers hands it to huggingface_hub, which warns that it does nothing.
    warnings.filterwarnings("ignore", message=".*local_dir_use_symlinks", category=UserWarning)
    return module


def load_tokenizer(kind: Any, location: str, subfolder: str = "") -> Any:
    """A tokenizer of transformers.

    Args:
        kind: its class.
        location: a local folder, or a hub id.
        subfolder: where in it.

    Raises:
        OSError, ValueError: what reading damaged files raises, or no vocabulary: transformers makes an empty one where
            there are no files.
    """
    tokenizer = kind.from_pretrained(location, subfolder=subfolder)
    if len(tokenizer) < NUM_BYTE_TOKENS:
        raise ValueError("it has no vocabulary")
    return tokenizer


def read_index(name: str, location: str) -> dict[str, Any]:
    """What a pipeline's model_index.json says.

    Returns:
        The class of the pipeline as `_class_name`, and (library, class) by part.

    Raises:
        IvideoError: there is none, or it is damaged.
    """
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import RemoteEntryNotFoundError

    folder, file = Path(location), "model_index.json"
    if folder.is_dir() and not (folder / file).is_file():
        raise IvideoError(f"model {name!r} is no diffusers folder: {folder / file} is missing")
    called = repr(name) if name == location or folder.is_dir() else f"{name!r} ({location})"
    with explain_damage(f"model {called} cannot be loaded", repository="" if folder.is_dir() else location):
        try:
            path = folder / file if folder.is_dir() else Path(hf_hub_download(location, file))
        except RemoteEntryNotFoundError:
            raise IvideoError(f"model {called} is no diffusers pipeline: its repository has no {file}") from None
        try:
            index: Any = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            raise ValueError(f"{path} is not a valid JSON file") from None
        if not isinstance(index, dict):
            raise ValueError("its model_index.json is no table of parts")
    return index


def load_part(
    kind: Any,
    name: str,
    location: str,
    part: str,
    subfolder: str | None = None,
    variant: str | None = None,
    **dtype: torch.dtype,
) -> Any:
    """A network of diffusers or transformers from its folder.

    Args:
        kind: its class.
        name: how the user called the model, for errors.
        location: a local folder, or a hub id.
        part: what it is called.
        subfolder: where it lies in the location; None: in a folder of its name.
        variant: of the weights; None for plain ones.
        dtype: of the weights, by the name that the library has for it.

    Raises:
        IvideoError: it is damaged, or lacks weights.
    """
    with explain_part(name, part):
        place = {"subfolder": part if subfolder is None else subfolder, "variant": variant}
        network, report = kind.from_pretrained(location, **place, output_loading_info=True, **dtype)
    if lacking := sorted(report["missing_keys"]):
        raise IvideoError(
            f"model {name!r}: its {part} is incomplete: {lacking[0]} is one of {len(lacking)} missing weights"
        )
    check_finite(network.state_dict(), f"model {name!r}: its {part} is damaged")
    factor = getattr(network.config, "scaling_factor", 1)
    if isinstance(factor, bool) or not isinstance(factor, int | float) or not (factor and math.isfinite(factor)):
        raise IvideoError(f"model {name!r}: its {part} is damaged: its scaling_factor {factor!r} is no factor")
    return network


def check_schedule(name: str, scheduler: Any) -> Any:
    """Hold a scheduler's numbers against what noise levels can be; gives the scheduler.

    Raises:
        IvideoError: one is no finite number, or a share of noise not within 0 and 1.
    """
    found = {one: value for one, value in vars(scheduler).items() if isinstance(value, Tensor)}
    check_finite({one: found[one] for one in SCHEDULE if one in found}, f"model {name!r}: its scheduler is damaged")
    betas = found.get("betas")
    if betas is not None and not 0 <= betas.min() <= betas.max() <= 1:
        raise IvideoError(f"model {name!r}: its scheduler is damaged: betas are shares of noise, within 0 and 1")
    return scheduler


def explain_part(name: str, part: str) -> AbstractContextManager[None]:
    """Name the part of a model that a library cannot read; see `explain_damage`."""
    return explain_damage(f"model {name!r}: its {part} is damaged or incomplete")
