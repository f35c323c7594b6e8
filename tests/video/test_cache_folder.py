"""Where the cache is."""

from __future__ import annotations

from pathlib import Path

import pytest

from ivideo.video.hashes import find_cache_folder


@pytest.mark.parametrize(
    ("own", "shared", "expected"),
    [
        ("/mine", "/shared", "/mine"),
        ("~/mine", "", "{home}/mine"),
        ("", "/shared", "/shared/ivideo"),
        (None, None, "{home}/.cache/ivideo"),
    ],
)
def test_the_cache_is_where_people_say(monkeypatch: pytest.MonkeyPatch, own, shared, expected: str) -> None:
    for name, value in (("IVIDEO_CACHE", own), ("XDG_CACHE_HOME", shared)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    assert find_cache_folder() == Path(expected.format(home=Path.home()))
