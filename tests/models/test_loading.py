"""Weights of every format, and one line for whatever a library says of a file that it cannot use."""

from __future__ import annotations

import errno
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from ivideo.errors import IvideoError, UsageError
from ivideo.models.loading import UNREADABLE, explain_damage, read_weights

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
    with pytest.raises(IvideoError, match=r"^a: x$"), explain_damage("a"):
        raise kind("x")


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("x"), MemoryError(), UsageError("x"), KeyboardInterrupt()])
def test_what_says_nothing_of_the_file_stays(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, explain_damage("a"):
        raise error
    assert caught.value is error
