"""A lock that one process holds on a folder, and that vanishes with the process, however it ends."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

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
    with ExitStack() as held:
        try:
            folder.stat()  # filelock would create a missing one
            held.enter_context(FileLock(path, blocking=False, preserve_lock_file=True))
            path.write_text(f"process {os.getpid()} on {socket.gethostname()}\n", encoding="utf-8")
        except Timeout:
            holder = path.read_text(encoding="utf-8", errors="replace").strip() or "another process"
            raise IvideoError(f"{folder} is in use by {holder}: wait for it, or choose another folder") from None
        except OSError as error:
            if error.errno not in NO_LOCKS_HERE:
                raise explain_os_error("lock", folder, error) from error
        yield


def check_unlocked(folder: Path) -> None:
    """Prove that no process holds a folder, which need not exist.

    Raises:
        IvideoError: one does, with its number.
    """
    if (folder / LOCK_FILE).exists():
        with lock_folder(folder):
            pass
