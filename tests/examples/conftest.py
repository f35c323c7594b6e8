"""Tests that draw emoji are marked `needs_font`; without the font they cannot run, and say which package brings it."""

from __future__ import annotations

import pytest

from examples.emoji_world.renderer import FONT_PATH

REASON = f"{FONT_PATH} is missing (Debian: fonts-noto-color-emoji, or set EMOJI_FONT)"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if FONT_PATH.exists():
        return
    for item in items:
        if item.get_closest_marker("needs_font"):
            item.add_marker(pytest.mark.skip(reason=REASON))
