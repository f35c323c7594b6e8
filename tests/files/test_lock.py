"""One process at a time in a folder."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ivideo.errors import IvideoError
from ivideo.files.run_folder import LOCK_FILE, check_unlocked, lock_folder

HOLD = """
import sys
from pathlib import Path
from ivideo.files.run_folder import lock_folder
with lock_folder(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_the_lock_keeps_others_out_and_goes_with_the_block(tmp_path: Path) -> None:
    with lock_folder(tmp_path):
        with pytest.raises(IvideoError, match=f"is in use by process {os.getpid()} on "), lock_folder(tmp_path):
            pytest.fail("locked twice")
        with pytest.raises(IvideoError, match="is in use by"):
            check_unlocked(tmp_path)
    check_unlocked(tmp_path)
    with lock_folder(tmp_path):
        pass


def test_a_lock_that_is_somebody_elses_file_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / LOCK_FILE).write_text("precious")
    check_unlocked(tmp_path / "out")
    (tmp_path / LOCK_FILE).symlink_to(tmp_path / "out" / LOCK_FILE)
    with pytest.raises(IvideoError, match="is a symbolic link"), lock_folder(tmp_path):
        pass
    assert (tmp_path / "out" / LOCK_FILE).read_text() == "precious"


def test_a_killed_process_leaves_no_lock(tmp_path: Path) -> None:
    words = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(IvideoError, match=f"{tmp_path} is in use by process {holder.pid} on .*: wait for it"):
            check_unlocked(tmp_path)
        holder.kill()
    check_unlocked(tmp_path)


def test_a_folder_that_was_never_locked_is_free_and_stays_as_it_is(tmp_path: Path) -> None:
    check_unlocked(tmp_path)
    check_unlocked(tmp_path / "missing")
    assert os.listdir(tmp_path) == []
    with pytest.raises(IvideoError, match="cannot lock"), lock_folder(tmp_path / "missing"):
        pass


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_where_there_are_no_locks_nobody_is_kept_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("fcntl.flock", refuse)
    with lock_folder(tmp_path), lock_folder(tmp_path):
        pass
