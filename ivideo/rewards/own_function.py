"""A reward model of the user's own: a function in a Python file, `FILE.py:function`.

It is called with what it has parameters for:

- `frames`, whatever it is called, the first: float32 tensor (batch, num_frames, 3, height, width), RGB in [0, 1], on
  the device of the run; any size.
- `prompts`: a list of strings, one a clip. A second parameter of another name gets them, too.
- `times`: float32 tensor (batch, num_frames), of each frame, in seconds from its clip's beginning.
- `fps`: a number, frames a second of the frames that it sees, by their times; nan where that is but one.

It returns a floating-point tensor on any device, the higher the better, every value finite: (batch, num_frames), or
(batch,) for a score a clip. Then it sees every frame of a clip, of long ones 64 evenly in time.

It is called once before any work, on two random frames of 64 x 64 pixels and the prompt "a cat", to see that it works,
which of both it returns, and whether gradients flow from its scores to the frames. Only a function that gives gradients
can be trained on; it is then called with gradients enabled, else without. The file is imported once, with its own
folder on the import path. The commands keep what it prints away from their data.
"""

from __future__ import annotations

import importlib.util
import inspect
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ivideo.errors import IvideoError
from ivideo.models.memory import is_out_of_memory
from ivideo.rewards.contract import RewardModel

BY_NAME = ("prompts", "times", "fps")
TRIAL_SHAPE = (1, 2, 3, 64, 64)
TRIAL_FPS = 8.0
TRIAL_PROMPT = "a cat"


class OwnFunction(RewardModel):
    """Scores frames or clips by a function of the user's own; every way to break its contract is one line.

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
        self.takes_second, self.taken = find_parameters(function)
        self.is_differentiable = self._try()

    def score(self, frames: Tensor, prompts: Sequence[str], times: Tensor) -> Tensor:
        """What the function returns, float32: (batch, num_frames), or (batch,) for the scope "clip".

        Raises:
            IvideoError: it raises, or returns something else than scores.
        """
        scores = self._call(frames, prompts, times)
        shape = tuple(frames.shape[: 1 if self.scope == "clip" else 2])
        checked = self._check(scores, [(shape, f"a score a {self.scope}")])
        if frames.isfinite().all() and not checked.isfinite().all():
            raise IvideoError(f"reward {self.name} returned a score that is no finite number")
        return checked.to(self.device, torch.float32)

    def _call(self, frames: Tensor, prompts: Sequence[str], times: Tensor) -> Any:
        given: dict[str, Callable[[], Any]] = {
            "prompts": lambda: list(prompts),
            "times": lambda: times.to(self.device, torch.float32),
            "fps": lambda: rate_of(times),
        }
        second = [list(prompts)] if self.takes_second else []
        named = {name: given[name]() for name in self.taken}
        try:
            return self.function(frames.to(self.device, torch.float32), *second, **named)
        except (Exception, SystemExit) as error:
            if is_out_of_memory(error):
                raise
            raise IvideoError(f"reward {self.name} raised {describe(error, self.path)}") from error

    def _check(self, scores: Any, shapes: Sequence[tuple[tuple[int, ...], str]]) -> Tensor:
        """The scores, where they are of one of the shapes, each with what it means."""
        wanted = " or ".join(f"{shape}, {meaning}" for shape, meaning in shapes)
        wanted = f"a floating-point tensor {wanted}"
        if not isinstance(scores, Tensor):
            raise IvideoError(f"reward {self.name} returned a {type(scores).__name__} instead of {wanted}")
        if not scores.is_floating_point() or tuple(scores.shape) not in [shape for shape, _ in shapes]:
            kind = str(scores.dtype).removeprefix("torch.")
            raise IvideoError(f"reward {self.name} returned a {kind} tensor {tuple(scores.shape)} instead of {wanted}")
        return scores

    def _try(self) -> bool:
        """Find the scope; whether gradients flow."""
        frames = torch.rand(TRIAL_SHAPE, generator=torch.Generator().manual_seed(0), device="cpu").to(self.device)
        times = torch.arange(TRIAL_SHAPE[1], device="cpu")[None] / TRIAL_FPS
        shapes = [(TRIAL_SHAPE[:2], "a score a frame"), (TRIAL_SHAPE[:1], "a score a clip")]
        with torch.enable_grad():
            found = self._check(self._call(frames.requires_grad_(), [TRIAL_PROMPT], times), shapes)
            self.scope = "clip" if found.ndim == 1 else "frame"
            if not found.isfinite().all():
                raise IvideoError(f"reward {self.name} returned a score that is no finite number")
            if not found.requires_grad:
                return False
            try:
                (gradient,) = torch.autograd.grad(found.sum(), frames, allow_unused=True)
            except RuntimeError as error:
                raise IvideoError(f"reward {self.name}: its gradient raised {describe(error, self.path)}") from error
        return gradient is not None and bool(gradient.isfinite().all() and gradient.any())


def find_parameters(function: Callable[..., Any]) -> tuple[bool, tuple[str, ...]]:
    """Whether a function takes the prompts as its second thing, and which of `BY_NAME` it takes by name.

    What takes any names gets all of them; what does not say what it takes gets frames and prompts.
    """
    try:
        first, *others = inspect.signature(getattr(function, "forward", function)).parameters.values()
    except (TypeError, ValueError):
        return True, ()
    if first.kind is first.VAR_POSITIONAL:
        return True, ()
    if any(one.kind is one.VAR_KEYWORD for one in others):
        return False, BY_NAME
    named = tuple(one.name for one in others if one.name in BY_NAME and one.kind is not one.POSITIONAL_ONLY)
    second = next(iter(others), None)
    if second is None or second.name in named or second.default is not second.empty:
        return False, named
    return second.kind is not second.KEYWORD_ONLY, named


def rate_of(times: Tensor) -> float:
    """Frames a second of the first clip, by the times (batch, num_frames) of its frames: 0, 0.125, 0.25 give 8."""
    seconds = (times[0, -1] - times[0, 0]).item()
    return (times.shape[1] - 1) / seconds if seconds else math.nan


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
    except (Exception, SystemExit) as error:
        del sys.modules[known]
        raise IvideoError(f"reward {name}: importing {path} raised {describe(error, path)}") from error
    finally:
        sys.path.remove(str(path.parent))
    return module


def describe(error: BaseException, path: Path) -> str:
    """An exception in one line, with the line of the file that it passed last."""
    trace, line = error.__traceback__, 0
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = trace.tb_lineno
        trace = trace.tb_next
    text = ": ".join(filter(None, (type(error).__name__, " ".join(str(error).split()))))
    return f"{text} ({path.name}, line {line})" if line else text
