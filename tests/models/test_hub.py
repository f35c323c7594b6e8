"""Trouble with the hub: which it is, and what to do, whichever library it comes through."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

import pytest
from huggingface_hub import errors

from ivideo.errors import IvideoError
from ivideo.models.hub import find_hub_trouble
from ivideo.models.loading import explain_damage, read_index

httpx = import_module("httpx2" if find_spec("httpx2") else "httpx")  # huggingface_hub 2 has the one, 1 the other
ANSWER = {"response": httpx.Response(503, request=httpx.Request("GET", "https://huggingface.co/a/b"))}
LOG_IN = "log in by hf auth login or HF_TOKEN"
ADVICE = "; or on a machine that is online: hf download a/b --local-dir FOLDER, and name that folder here"
TROUBLES: list[tuple[BaseException, str]] = [
    (
        errors.GatedRepoError("x", **ANSWER),
        f"the repository is gated: accept its terms on https://huggingface.co/a/b, then {LOG_IN}",
    ),
    (
        errors.RepositoryNotFoundError("x", **ANSWER),
        f"the hub has no such repository: the name is mistyped, or it is private (then {LOG_IN})",
    ),
    (
        errors.OfflineModeIsEnabled("x"),
        f"it is not in the cache, and HF_HUB_OFFLINE is set: unset it{ADVICE}",
    ),
    (errors.HfHubHTTPError("x", **ANSWER), f"the hub answers 503: try again later{ADVICE}"),
    (
        httpx.ConnectError("refused"),
        f"it is not in the cache, and the hub cannot be reached: mend the connection{ADVICE}",
    ),
]


@pytest.mark.parametrize(("error", "words"), TROUBLES, ids=lambda one: type(one).__name__)
def test_which_trouble_it_is(monkeypatch: pytest.MonkeyPatch, error: Exception, words: str) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    assert find_hub_trouble(error, "a/b") == words
    with pytest.raises(IvideoError) as caught:
        load(error)
    assert str(caught.value) == f"m: {words}"


def load(error: Exception) -> None:
    """Fail as diffusers does, with an error of its own."""
    with explain_damage("m", tell_reason=False, repository="a/b"):
        try:
            raise error
        except Exception:
            raise OSError("a/b is not a local folder") from None


def test_a_missing_file_is_no_trouble_with_the_hub() -> None:
    assert find_hub_trouble(errors.RemoteEntryNotFoundError("x", **ANSWER)) is None
    assert find_hub_trouble(FileNotFoundError("x")) is None


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (errors.RemoteEntryNotFoundError("x", **ANSWER), "is no diffusers pipeline: its repository has no model_index"),
        (errors.GatedRepoError("x", **ANSWER), "cannot be loaded: the repository is gated"),
    ],
)
def test_a_model_of_the_hub(monkeypatch: pytest.MonkeyPatch, error: Exception, message: str) -> None:
    def fail(*_: Any) -> None:
        raise error

    monkeypatch.setattr("huggingface_hub.hf_hub_download", fail)
    with pytest.raises(IvideoError, match=rf"^model 'modelscope' \(damo/x\) {message}"):
        read_index("modelscope", "damo/x")
