"""A reward model of the user's own: a function in a Python file, `FILE.py:function`.

The function is called as `function(frames, prompts)`:

- `frames`: float32 tensor (batch, num_frames, 3, height, width), RGB in [0, 1], on the device of the run; any size.
- `prompts`: a list of strings, one a clip.
- It returns a floating-point tensor (batch, num_frames) on any device, the higher the better, every value finite.

It is called once before any work, on two random frames of 64 x 64 pixels and the prompt "a cat", to see that it works
and whether gradients flow from its scores to the frames. Only a function that gives gradients can be trained on; it is
then called with gradients enabled, else without. The file is imported once, with its own folder on the import path.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ivideo.errors import IvideoError
from ivideo.rewards.contract import RewardModel

TRIAL_SHAPE = (1, 2, 3, 64, 64)
TRIAL_PROMPT = "a cat"


class OwnFunction(RewardModel):
    """Scores frames by a function of the user's own; every way to break its contract is one line that names it.

    It may look at frames together, so it gets those of one clip only.
    """

    def __init__(self, name: str, function: Callable[..., Any], path: Path, device: torch.device) -> None:
        """Try the function, which comes from the file at `path`.

        Raises:
            IvideoError: it raises, or returns something else than scores.
        """
        self.name, self.path = name, path
        self.label = f"{name}, a function of your own"
        self.function, self.device = function, device
        self.is_differentiable = self._gives_gradients()

    def score(self, frames: Tensor, prompts: Sequence[str], times: Tensor | None = None) -> Tensor:
        """What the function returns, (batch, num_frames), float32; it is not told of times.

        Raises:
            IvideoError: it raises, or returns something else than scores.
        """
        try:
            scores = self.function(frames.to(self.device, torch.float32), list(prompts))
        except Exception as error:
            raise IvideoError(f"reward {self.name} raised {describe(error, self.path)}") from error
        checked = self._check(scores, tuple(frames.shape[:2]))
        if frames.isfinite().all() and not checked.isfinite().all():
            raise IvideoError(f"reward {self.name} returned a score that is no finite number")
        return checked.to(self.device, torch.float32)

    def _check(self, scores: Any, shape: tuple[int, ...]) -> Tensor:
        wanted = f"a floating-point tensor {shape}, a score a frame"
        if not isinstance(scores, Tensor):
            raise IvideoError(f"reward {self.name} returned a {type(scores).__name__} instead of {wanted}")
        if not scores.is_floating_point() or tuple(scores.shape) != shape:
            kind = str(scores.dtype).removeprefix("torch.")
            raise IvideoError(f"reward {self.name} returned a {kind} tensor {tuple(scores.shape)} instead of {wanted}")
        return scores

    def _gives_gradients(self) -> bool:
        frames = torch.rand(TRIAL_SHAPE, generator=torch.Generator().manual_seed(0), device="cpu").to(self.device)
        with torch.enable_grad():
            scores = self.score(frames.requires_grad_(), [TRIAL_PROMPT])
            if not scores.requires_grad:
                return False
            try:
                (gradient,) = torch.autograd.grad(scores.sum(), frames, allow_unused=True)
            except RuntimeError as error:
                raise IvideoError(f"reward {self.name}: its gradient raised {describe(error, self.path)}") from error
        return gradient is not None and bool(gradient.isfinite().all() and gradient.any())


def load_own_function(name: str, source: str, device: torch.device) -> OwnFunction:
    """The function that `FILE.py:function` names.

    Raises:
        IvideoError: no such file or function, or it does not keep its contract.
    """
    file, _, function_name = source.rpartition(":")
    path = Path(file).expanduser()
    if not path.is_file():
        raise IvideoError(f"reward {name}: {path} does not exist")
    function = getattr(import_file(name, path), function_name, None)
    if not callable(function):
        what = "no function" if function is None else "something else than a function as"
        raise IvideoError(f"reward {name}: {path} has {what} {function_name!r}")
    return OwnFunction(name, function, path.resolve(), device)


def import_file(name: str, path: Path) -> Any:
    """A Python file as a module; modules that lie beside it can be imported by it.

    Raises:
        IvideoError: it raises when it is imported.
    """
    path = path.resolve()
    known = f"ivideo_own_{path.stem}_{abs(hash((path, path.stat().st_mtime_ns))):x}"  # an edited file is another one
    if known in sys.modules:
        return sys.modules[known]
    spec = importlib.util.spec_from_file_location(known, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[known] = module
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[known]
        raise IvideoError(f"reward {name}: importing {path} raised {describe(error, path)}") from error
    finally:
        sys.path.remove(str(path.parent))
    return module


def describe(error: Exception, path: Path) -> str:
    """An exception in one line, with the line of the file that it passed last."""
    trace, line = error.__traceback__, 0
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = trace.tb_lineno
        trace = trace.tb_next
    text = ": ".join(filter(None, (type(error).__name__, " ".join(str(error).split()))))
    return f"{text} ({path.name}, line {line})" if line else text
