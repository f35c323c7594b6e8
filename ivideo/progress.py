"""How a workflow tells what it is doing, without knowing where that is shown."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Receives a workflow's news; the command line draws it on stderr."""

    def say(self, message: str) -> None:
        """Tell one line."""

    def warn(self, message: str) -> None:
        """Tell one line that a person should act on."""

    def start(self, title: str, total: int, done: int = 0) -> None:
        """Begin a phase of `total` equal parts, of which some are done; it ends when all are.

        A phase that begins inside another one is shown until it ends, then the other goes on.
        """

    def advance(self, note: str = "") -> None:
        """One more part of the phase is done; `note` says how it stands."""

    def finish(self) -> None:
        """The phase ends before all of its parts are done; nothing if it has ended."""


class Silence:
    """Shows nothing; the default of the Python API."""

    def say(self, message: str) -> None:
        """Tell nobody."""

    def warn(self, message: str) -> None:
        """Tell nobody."""

    def start(self, title: str, total: int, done: int = 0) -> None:
        """Begin unseen."""

    def advance(self, note: str = "") -> None:
        """Go on unseen."""

    def finish(self) -> None:
        """End unseen."""
