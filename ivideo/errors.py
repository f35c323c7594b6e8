"""The errors that a person can cause and mend; the command line prints them as one line, anything else is a bug."""

from __future__ import annotations


class IvideoError(Exception):
    """A known error: what is wrong, where, and what to do, in one line. The command exits with `exit_code`."""

    exit_code = 1


class Interrupted(IvideoError):
    """A signal ended the work in good order; its line says how to go on."""

    def __init__(self, message: str, signal_number: int) -> None:
        """End with the exit code that a shell gives to the signal: 130 for SIGINT, 143 for SIGTERM, 138 for SIGUSR1."""
        super().__init__(message)
        self.exit_code = 128 + signal_number


class UsageError(IvideoError):
    """The command was asked for something that it can't mean: a value out of range, options that exclude each other."""

    exit_code = 2
