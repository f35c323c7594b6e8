"""Files and folders that are whole or not there at all; what can't be read or written raises an IvideoError."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from safetensors import SafetensorError

from ivideo.errors import IvideoError

NO_LINKS_HERE = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
TEMPORARY = ".ivideo-"  # how the names of half-written files and folders begin


def explain_os_error(action: str, path: Path, error: OSError | ValueError | SafetensorError) -> IvideoError:
    """Turn an operating system's error into one line, e.g. "cannot write runs/a.json: No space left on device".

    Args:
        action: what was tried: "read", "write", "create".
        path: the file or folder that it was tried on.
        error: what the operating system said, or safetensors in its own words, or Python of a name with NUL.
    """
    return IvideoError(f"cannot {action} {path}: {getattr(error, 'strerror', None) or error}")


def refuse_links(paths: Iterable[Path]) -> None:
    """Prove that nothing is written or deleted through these files and folders that lies elsewhere.

    Args:
        paths: inside a folder that somebody else may have made; what is not there is no matter.

    Raises:
        IvideoError: one is a symbolic link.
    """
    for path in paths:
        if path.is_symlink():
            raise IvideoError(
                f"{path} is a symbolic link: nothing is written through links; put there what it leads to, or remove it"
            )


def check_folder(path: Path) -> Path:
    """Prove that a folder can be created and written to, without leaving anything behind.

    The nearest folder above that exists must take a temporary file.

    Args:
        path: folder that may exist already.

    Raises:
        IvideoError: a file is in the way, or nothing can be written there.
    """
    nearest = path
    try:
        while not os.path.lexists(nearest) and nearest != nearest.parent:
            nearest = nearest.parent
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except (FileExistsError, NotADirectoryError) as error:
        raise IvideoError(f"cannot use {path} as a folder: a file is in the way; choose another output") from error
    except OSError as error:
        raise explain_os_error("write to folder", path, error) from error
    return path


def prepare_folder(path: Path) -> Path:
    """Create a folder with its parents and prove that it can be written to.

    Args:
        path: folder that may exist already.

    Raises:
        IvideoError: a file is in the way, or the folder can't be created or written to.
    """
    check_folder(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise explain_os_error("create folder", path, error) from error
    return check_folder(path)


@contextmanager
def atomic_folder(path: Path, *, replace: bool = False) -> Iterator[Path]:
    """Lend a temporary folder that becomes `path` when the block ends well and vanishes when it doesn't.

    Files and folders are flushed to the disk before and after the renaming, so that not even a power cut leaves a half.

    Args:
        path: the folder to create; nothing may be there, or an empty folder.
        replace: whether a folder with content may be there; it makes way in the moment before the new one comes, and
            comes back if that fails.

    Yields:
        An existing empty folder beside it.
    """
    temporary = prepare_folder(path.parent) / f"{TEMPORARY}{secrets.token_hex(8)}"
    old = temporary.with_name(f"{temporary.name}-old")
    try:
        temporary.mkdir()
        yield temporary
        for written in (*temporary.rglob("*"), temporary):
            _flush(written)
        if replace and path.exists():
            os.rename(path, old)
        os.rename(temporary, path)
        _flush(path.parent)
    except (OSError, SafetensorError) as error:
        raise explain_os_error("write", path, error) from error
    finally:
        if old.exists() and not path.exists():
            os.rename(old, path)
        for leftover in (temporary, old):
            _remove(leftover)


@contextmanager
def temporary_folder(prefix: str) -> Iterator[Path]:
    """Lend a folder under TMPDIR that is gone after the block.

    Raises:
        IvideoError: there is no place for temporary files.
    """
    try:
        folder = tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True)
    except OSError as error:
        raise IvideoError(f"cannot make a temporary folder: {error.strerror}; TMPDIR can name a place") from error
    with folder as path:
        yield Path(path)


def remove_folder(path: Path) -> None:
    """Remove a folder, so that it is whole or not there at every moment."""
    temporary = path.with_name(f"{TEMPORARY}{secrets.token_hex(8)}")
    try:
        os.rename(path, temporary)
    except OSError as error:
        raise explain_os_error("remove", path, error) from error
    _remove(temporary)


def sweep_temporaries(folder: Path) -> None:
    """Remove what a killed process left half-written anywhere below a folder; nobody else may be writing there."""
    for leftover in list(folder.rglob(f"{TEMPORARY}*")):
        _remove(leftover)


def _remove(path: Path) -> None:
    """Remove a file, a folder, or a link without what it leads to; what cannot be removed stays."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def _flush(path: Path) -> None:
    """Have a file or a folder's list of names reach the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class AlreadyThereError(IvideoError):
    """A file that must not be replaced came first."""

    def __init__(self, path: Path) -> None:
        """Name it."""
        super().__init__(f"{path} is there already")


@contextmanager
def atomic_path(path: Path, *, replace: bool = True) -> Iterator[Path]:
    """Lend a temporary path that becomes `path` when the block ends well and vanishes when it doesn't.

    The temporary file lies in the same folder (created where missing) under the same suffix, is flushed to the disk
    and then renamed, so that a reader sees the old file or the new one and never a half. The block should do
    nothing but write: its `OSError`s and `SafetensorError`s are reported as failures to write `path`.

    Args:
        path: the file to create or replace.
        replace: whether a file may be there; where not, of several processes that write it at once one succeeds.

    Yields:
        The path to write to; the block must create a file there.

    Raises:
        IvideoError: `path` is a folder, or the file can't be written.
        AlreadyThereError: a file is there that may not be replaced.
    """
    temporary = prepare_folder(path.parent) / f"{TEMPORARY}{secrets.token_hex(8)}{path.suffix}"
    try:
        if path.is_dir():
            raise IvideoError(f"cannot write {path}: it is a folder; name a file")
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        if not replace:
            _claim(temporary, path)
        os.replace(temporary, path)
    except (OSError, SafetensorError) as error:
        raise explain_os_error("write", path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def _claim(temporary: Path, path: Path) -> None:
    """Take a name that nobody has, for a file that is whole; where a file system has no hard links, empty at first.

    Raises:
        AlreadyThereError: somebody has it.
    """
    try:
        try:
            os.link(temporary, path)
        except OSError as error:
            if error.errno not in NO_LINKS_HERE:
                raise
            path.open("x").close()
    except FileExistsError:
        raise AlreadyThereError(path) from None


def write_text(path: Path, text: str) -> Path:
    """Write a UTF-8 text file atomically.

    Args:
        path: the file to create or replace.
        text: its whole content.
    """
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
    return path


def copy_file(source: Path, path: Path) -> Path:
    """Copy a file's content atomically.

    Args:
        source: the file to read.
        path: the file to create or replace.
    """
    with atomic_path(path) as temporary:
        shutil.copyfile(source, temporary)
    return path
