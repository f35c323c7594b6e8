"""A lock that one process holds on a folder, and that vanishes with the process, however it ends."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ivideo.errors import IvideoError
from ivideo.io.files import explain_os_error

LOCK_FILE = ".lock"  # stays when the lock is gone; names the process that held it last
NO_LOCKS_HERE = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)  # some network file systems


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Keep other processes (and other calls in this one) out of an existing folder inside the block.

    On file systems that know no locks nobody is kept out.

    Raises:
        IvideoError: another process is in it, with its number; or the folder can't be written to.
    """
    path = folder / LOCK_FILE
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise explain_os_error("lock", folder, error) from error
    try:
        _claim(descriptor, folder)
        yield
    finally:
        os.close(descriptor)


def check_unlocked(folder: Path) -> None:
    """Prove that no process holds a folder, which need not exist.

    Raises:
        IvideoError: one does, with its number.
    """
    if (folder / LOCK_FILE).exists():
        with lock_folder(folder):
            pass


def _claim(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, 200).decode(errors="replace").strip() or "another process"
        raise IvideoError(f"{folder} is in use by {holder}: wait for it, or choose another folder") from None
    except OSError as error:
        if error.errno not in NO_LOCKS_HERE:
            raise explain_os_error("lock", folder, error) from error
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
    except OSError as error:
        raise explain_os_error("write", folder / LOCK_FILE, error) from error
