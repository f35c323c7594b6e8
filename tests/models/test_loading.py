"""Weights of every format, and one line for whatever a library says of a file that it cannot use."""

from __future__ import annotations

import errno
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler
from safetensors import SafetensorError
from safetensors.torch import save_file

from ivideo.errors import IvideoError, UsageError
from ivideo.models.loading import (
    MAX_REASON,
    NO_WEIGHTS,
    UNREADABLE,
    check_finite,
    check_schedule,
    explain_damage,
    read_weights,
)

WEIGHTS = {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2, dtype=torch.bfloat16)}
WRAPPED = {
    "bare": WEIGHTS,
    "wrapped": {"state_dict": WEIGHTS, "step": 3},
    "twice": {"model": {"module": WEIGHTS}},
    "parallel": {f"module.{name}": weight for name, weight in WEIGHTS.items()},
}


class Code:
    """What a pickle may not bring along."""

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, ("raise SystemExit('code was run')",)


@pytest.mark.parametrize("new_format", [True, False])
@pytest.mark.parametrize("content", WRAPPED.values(), ids=WRAPPED)
def test_pickles_are_read_wrapped_or_bare(tmp_path: Path, content: Any, new_format: bool) -> None:
    torch.save(content, tmp_path / "w.pt", _use_new_zipfile_serialization=new_format)
    check_same(read_weights(tmp_path / "w.pt"))


def test_safetensors_are_read(tmp_path: Path) -> None:
    save_file(WEIGHTS, tmp_path / "w.safetensors")
    check_same(read_weights(tmp_path / "w.safetensors"))


def check_same(weights: dict[str, torch.Tensor]) -> None:
    assert weights.keys() == WEIGHTS.keys()
    assert all(torch.equal(weights[name], weight) for name, weight in WEIGHTS.items())


@pytest.mark.parametrize("new_format", [True, False])
def test_no_code_is_run(tmp_path: Path, new_format: bool) -> None:
    torch.save({"state_dict": Code()}, tmp_path / "w.pt", _use_new_zipfile_serialization=new_format)
    with pytest.raises(UnpicklingError):
        read_weights(tmp_path / "w.pt")


@pytest.mark.parametrize("content", [{}, [1], {"state_dict": {}}, {"a": 1}, {"a": {"b": torch.ones(1)}}])
def test_what_holds_no_weights(tmp_path: Path, content: Any) -> None:
    torch.save(content, tmp_path / "w.pt")
    with pytest.raises(TypeError, match="no weights by name"):
        read_weights(tmp_path / "w.pt")


@pytest.mark.parametrize("name", ["w.pt", "w.safetensors"])
@pytest.mark.parametrize("content", [None, b"", b"words", b"PK\x03\x04", b"\x80\x02}", b"\xff" * 100])
def test_what_cannot_be_read_is_one_line(tmp_path: Path, name: str, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with (
        pytest.raises(IvideoError, match=r"^it is damaged: [^\n]+; mend it$"),
        explain_damage("it is damaged", "; mend it"),
    ):
        read_weights(tmp_path / name)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RuntimeError("\n first\nsecond"), "first"),
        (EOFError(), "EOFError"),
        (SafetensorError("header too large"), "header too large"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "a/config.json"), "config.json is missing"),
        (FileNotFoundError("nothing cached"), "nothing cached"),
    ],
)
def test_the_first_line_of_a_librarys_words(error: Exception, reason: str) -> None:
    with pytest.raises(IvideoError) as caught, explain_damage("a", "; b"):
        raise error
    assert str(caught.value) == f"a: {reason}; b"
    with pytest.raises(IvideoError) as caught, explain_damage("a", "; b", tell_reason=False):
        raise error
    assert str(caught.value) == "a; b"


@pytest.mark.parametrize("kind", UNREADABLE)
def test_every_unreadable_kind_is_told(kind: type[Exception]) -> None:
    reason = NO_WEIGHTS if kind is UnpicklingError else "x"
    with pytest.raises(IvideoError, match=rf"^a: {reason}$"), explain_damage("a"):
        raise kind("x")


def test_a_blocked_pickle_is_told_without_torchs_advice(tmp_path: Path) -> None:
    torch.save(Code(), tmp_path / "w.pt")

    def load() -> None:
        try:
            torch.load(tmp_path / "w.pt", weights_only=True)
        except UnpicklingError:
            raise OSError("cannot load, and seventy lines of what could be done") from None  # as diffusers does it

    with pytest.raises(IvideoError, match=rf"^a: {NO_WEIGHTS}$"), explain_damage("a"):
        load()


def test_a_librarys_long_line_is_cut() -> None:
    with pytest.raises(IvideoError) as caught, explain_damage("a"):
        raise ValueError("x" * 5000)
    assert str(caught.value) == f"a: {'x' * MAX_REASON}..."


BAD = {"nan": torch.nan, "inf": torch.inf, "-inf": -torch.inf}
TYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn)


@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_what_is_no_number_is_named(dtype: torch.dtype) -> None:
    fine = torch.linspace(-3, 3, 99).reshape(9, 11).to(dtype)
    others = {"ids": torch.arange(3), "nothing": torch.zeros(0), "unread": torch.empty(2, device="meta")}
    check_finite({"fine": fine, **others}, "a")
    for value in BAD.values():
        broken = fine.float().clone()
        broken[4, 7] = value
        if not broken.to(dtype).float().isfinite().all():  # eight bits have no infinity
            with pytest.raises(IvideoError, match=r"^a: b holds values that are no finite numbers$"):
                check_finite({"fine": fine, **others, "b": broken.to(dtype)}, "a")
    if dtype == torch.float64:
        check_finite({"huge": torch.tensor([1e300, -1e300], dtype=dtype)}, "a")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"beta_start": float("nan")}, "its scheduler is damaged: betas holds values that are no finite numbers"),
        ({"trained_betas": [0.1] * 9 + [float("inf")]}, "its scheduler is damaged: betas holds values"),
        ({"beta_end": 2.0}, "its scheduler is damaged: betas are shares of noise, within 0 and 1"),
    ],
)
def test_a_schedule_that_cannot_be(changes: dict[str, Any], message: str) -> None:
    scheduler = DDIMScheduler(num_train_timesteps=10)
    assert check_schedule("m", scheduler) is scheduler
    with pytest.raises(IvideoError, match=f"^model 'm': {message}"):
        check_schedule("m", DDIMScheduler(num_train_timesteps=10, **changes))


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("x"), MemoryError(), UsageError("x"), KeyboardInterrupt()])
def test_what_says_nothing_of_the_file_stays(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, explain_damage("a"):
        raise error
    assert caught.value is error
