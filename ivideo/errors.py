"""The errors that a person can cause and mend; the command line prints them as one line, anything else is a bug."""

from __future__ import annotations


class IvideoError(Exception):
    """A known error: what is wrong, where, and what to do, in one line. The command exits with `exit_code`."""

    exit_code = 1


class UsageError(IvideoError):
    """The command was asked for something that it can't mean: a value out of range, options that exclude each other."""

    exit_code = 2
