"""diffusers and open_clip without what only other models need.

Networks for video take .7 seconds to import instead of 5 to 7, CLIP's network .3 instead of 11 (on a busy core).
The rest is transformers, PEFT, SciPy, torch's compiler and every other network of diffusers. Leaving them out leaves
gaps in diffusers for the rest of the process (no `load_lora_weights`, say), so that only a process of our own may do
it: the `ivideo` program asks for it, the Python API never does. open_clip has no gaps: what was imported of it is
forgotten, and comes whole to whoever imports it.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

OPTIONAL = ("transformers", "peft", "scipy")  # diffusers goes without where its own flags say that they are missing


BLOCKED = ("transformers", "peft", "torch._dynamo")  # imported in spite of the flags, behind `except ImportError`


COLLECTIONS = ("transformers", "unets", "autoencoders")  # packages whose __init__ imports every network of theirs


CLIP_OPTIONAL = ("transformers", "timm")  # open_clip goes without, if their import fails


CLIP_PACKAGES = ("open_clip", "torchvision", "torchvision/ops")  # those whose __init__ CLIP's network does not need


NEEDED = ("unets.unet_3d_condition", "autoencoders.autoencoder_kl")


_is_own_process = False


def keep_imports_lean() -> None:
    """Say that this process is ours alone: from now on `import_diffusers` leaves out what is not needed."""
    global _is_own_process
    _is_own_process = True


def import_diffusers() -> Any:
    """The diffusers package, with UNet3DConditionModel, AutoencoderKL and its schedulers at least."""
    if _is_own_process and not {"diffusers", *BLOCKED} & sys.modules.keys():
        before = set(sys.modules)
        try:
            _import_needed()
        except Exception:  # another diffusers, built otherwise: what is half imported goes, and the usual way is taken
            for name in set(sys.modules) - before:
                if name.partition(".")[0] == "diffusers":
                    del sys.modules[name]
    return importlib.import_module("diffusers")


def _import_needed() -> None:
    with _blocked(BLOCKED), _compiler_unused():
        diffusers = importlib.import_module("diffusers")
    # Which schedulers there are is settled here, while SciPy counts as present.
    models, _ = (importlib.import_module(f"diffusers.{name}") for name in ("models", "schedulers"))
    flags = importlib.import_module("diffusers.utils.import_utils")
    for name in COLLECTIONS:
        package = ModuleType(f"{models.__name__}.{name}")
        package.__path__ = [str(Path(str(diffusers.__file__)).parent / "models" / name)]
        sys.modules[package.__name__] = package
    kept = {name: getattr(flags, f"_{name}_available") for name in OPTIONAL}
    try:
        for name in OPTIONAL:
            setattr(flags, f"_{name}_available", False)
        with _blocked(BLOCKED), _compiler_unused():
            for name in NEEDED:
                importlib.import_module(f"{models.__name__}.{name}")
    finally:
        for name, value in kept.items():
            setattr(flags, f"_{name}_available", value)


def import_clip_class() -> Any:
    """open_clip's CLIP, the network of which a part is trained for images and a part for texts."""
    if _is_own_process and not {*CLIP_OPTIONAL, *CLIP_PACKAGES} & sys.modules.keys():
        before = set(sys.modules)
        try:
            with _blocked(CLIP_OPTIONAL):
                _put_bare_packages()
                return importlib.import_module("open_clip.model").CLIP
        except Exception:  # another open_clip, built otherwise: the usual way is taken
            pass
        finally:
            for name in set(sys.modules) - before:
                if name.partition(".")[0] in CLIP_PACKAGES:
                    del sys.modules[name]
    return importlib.import_module("open_clip").CLIP


def _put_bare_packages() -> None:
    """Let CLIP_PACKAGES be found without running their __init__."""
    roots = {name: importlib.util.find_spec(name) for name in CLIP_PACKAGES if "/" not in name}
    for path in CLIP_PACKAGES:
        root, _, rest = path.partition("/")
        spec = roots[root]
        assert spec is not None
        package = ModuleType(path.replace("/", "."))
        package.__path__ = [str(Path(folder, rest)) for folder in spec.submodule_search_locations or ()]
        sys.modules[package.__name__] = package


@contextmanager
def _blocked(names: tuple[str, ...]) -> Iterator[None]:
    """Let the import of these modules fail."""
    sys.modules.update(dict.fromkeys(names))  # type: ignore[arg-type]  # None is how Python marks them
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]


@contextmanager
def _compiler_unused() -> Iterator[None]:
    """Let `torch.compiler.disable`, which would import the compiler to mark a function, hand the function back."""
    import torch

    def disable(function: Callable[..., Any] | None = None, *args: object, **kwargs: object) -> Any:
        return (lambda decorated: decorated) if function is None else function

    kept = torch.compiler.disable
    torch.compiler.disable = disable  # type: ignore[assignment]
    try:
        yield
    finally:
        torch.compiler.disable = kept
