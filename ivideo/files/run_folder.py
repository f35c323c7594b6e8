"""Where a fine-tuning run keeps what, and who is at work there."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from ivideo.errors import IvideoError
from ivideo.files.atomic import check_folder, explain_os_error, refuse_links, remove_folder

LOCK_FILE = ".lock"  # stays when the lock is gone; names the process that held it last
NO_LOCKS_HERE = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)  # some network file systems


@contextmanager
def lock_folder(folder: Path, *, name_holder: bool = True) -> Iterator[None]:
    """Keep other processes (and other calls in this one) out of an existing folder inside the block.

    On file systems that know no locks nobody is kept out.

    Args:
        folder: what is locked.
        name_holder: whether the lock's file gets to say who holds it.

    Raises:
        IvideoError: another process is in it, with its number; it can't be written to; or its lock is a link.
    """
    path = folder / LOCK_FILE
    refuse_links([path])
    with ExitStack() as held:
        try:
            folder.stat()  # filelock would create a missing one
            held.enter_context(FileLock(path, blocking=False, preserve_lock_file=True))
            if name_holder:
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
        with lock_folder(folder, name_holder=False):  # it may be a file of somebody else's
            pass


def remove_unused(folder: Path) -> None:
    """Remove a folder that was made for nothing: one that holds its lock alone."""
    if folder.is_dir() and {path.name for path in folder.iterdir()} <= {LOCK_FILE}:
        remove_folder(folder)


class _Inside:
    """A file or folder of a run, by its name in the run's folder."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, run: RunFolder, owner: object = None) -> Path:
        return run.root / self.name


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run: `root`, and what is kept in it."""

    root: Path
    config = _Inside("config.toml")  # resolved settings, TOML; the keyword `config` takes it
    prompts = _Inside(
        "prompts.txt"
    )  # prompts that were trained on, a line each, JSON where they bring more than a text
    heldout = _Inside("heldout.txt")  # prompts of the before / after, likewise
    clips = _Inside("clips")  # latents of the base model's clips, a file a prompt
    clip_records = _Inside("clips.jsonl")  # real clips, a JSON line each; without it the base model made the clips
    metrics = _Inside("metrics.jsonl")  # one JSON line a training step
    evaluations = _Inside("evaluations.jsonl")  # one JSON line an evaluation; the first is the base's, at step 0
    checkpoints = _Inside("checkpoints")  # what training goes on from, a folder a saved step
    best = _Inside("best")  # the adapter of the best evaluation, in PEFT's format
    adapter = _Inside("adapter")  # the last step's adapter, in PEFT's format
    grids = _Inside("grids")  # held-out clips of the base beside those of an evaluation, a picture and a video each
    tracker = _Inside("tracker")  # what the tracker keeps on this machine
    curve = _Inside("curve.png")  # the reward over the training steps
    videos = _Inside("videos")  # before / after videos of held-out prompts
    summary = _Inside("summary.json")  # what came out

    @property
    def chosen(self) -> Path:
        """The adapter to use: the best one if there is one, else the last step's."""
        return self.best if self.best.is_dir() else self.adapter

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep others out inside the block, and have all that is written or deleted here lie here.

        Raises:
            IvideoError: another process is in it, or a part of it is a symbolic link, as in a folder that others send.
        """
        with lock_folder(self.root):
            self._refuse_links()
            yield

    def _refuse_links(self) -> None:
        parts = [self.root / part.name for part in vars(RunFolder).values() if isinstance(part, _Inside)]
        refuse_links([*parts, *self.tracker.rglob("*")])  # trackers open files by names of their own


def check_new_run(path: Path) -> Path:
    """Prove that a new run can be kept in a folder, without creating it.

    Raises:
        IvideoError: it exists and is not empty, is in use, is a mount point, or cannot be written to.
    """
    if path.is_dir() and any(path.iterdir()):
        check_unlocked(path)
        advice = f"; to go on with that run: `resume` {path}" if RunFolder(path).config.is_file() else ""
        raise IvideoError(f"output {path} is not empty; choose another `output`, or remove it first{advice}")
    if path.is_mount():
        raise IvideoError(f"output {path} is a mount point, and a run comes whole by renaming: name a folder in it")
    return check_folder(path)


def open_run_folder(path: Path) -> RunFolder:
    """The folder of an earlier run.

    Raises:
        IvideoError: nothing there, or no run.
    """
    if not path.is_dir():
        raise IvideoError(f"run folder {path} {'is a file' if path.exists() else 'does not exist'}")
    run = RunFolder(path)
    if not run.config.is_file():
        raise IvideoError(f"{path} is neither a run folder ({run.config.name}) nor an adapter (adapter_config.json)")
    return run
