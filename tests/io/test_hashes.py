"""Files told apart by their content."""

from __future__ import annotations

from pathlib import Path

import pytest

from ivideo.errors import IvideoError
from ivideo.io.hashes import hash_file


def test_a_hash_follows_the_content(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    assert hash_file(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    path.write_bytes(b"abcd")
    assert hash_file(path)[:8] == "88d4266f"
    with pytest.raises(IvideoError, match=r"cannot read .*missing: No such file"):
        hash_file(tmp_path / "missing")
