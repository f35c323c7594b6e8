"""The ffmpeg that the package uses, to make what it should read."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

import imageio_ffmpeg
import pytest


@pytest.fixture(scope="session")
def run_ffmpeg() -> Callable[..., str]:
    """`run_ffmpeg(*arguments, input=b"")` gives back what ffmpeg says on stderr."""

    def run(*arguments: object, input: bytes = b"") -> str:
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-y", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, check=False, input=input).stderr.decode()

    return run
