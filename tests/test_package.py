"""What a person who installs the package gets: its version, its licence, its models, and no file left behind."""

from __future__ import annotations

import glob
import importlib.metadata
import tomllib
from pathlib import Path
from typing import Any

import pytest

import ivideo

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "ivideo"
MEGABYTE = 10**6


@pytest.fixture(scope="module")
def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def files_under(folder: Path) -> list[Path]:
    return [path for path in sorted(folder.rglob("*")) if path.is_file() and "__pycache__" not in path.parts]


def test_version_is_said_once_everywhere(pyproject: dict[str, Any]) -> None:
    assert "version" in pyproject["project"]["dynamic"]
    assert pyproject["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "ivideo.__version__"}
    assert importlib.metadata.version("ivideo") == ivideo.__version__


def test_command_is_installed() -> None:
    (command,) = importlib.metadata.entry_points(group="console_scripts", name="ivideo")
    assert callable(command.load())


def test_bundled_models_weigh_at_most_40_megabytes() -> None:
    sizes = {path: path.stat().st_size for path in files_under(PACKAGE / "models") if path.suffix != ".py"}
    assert any(path.suffix == ".safetensors" for path in sizes), "no weights are bundled"
    assert sum(sizes.values()) <= 40 * MEGABYTE


@pytest.mark.parametrize("folder", ["ivideo", "examples", "tests"])
def test_no_file_is_over_20_megabytes(folder: str) -> None:
    sizes = {str(path.relative_to(ROOT)): path.stat().st_size for path in files_under(ROOT / folder)}
    assert sizes
    assert {name: size for name, size in sizes.items() if size > 20 * MEGABYTE} == {}


def test_every_data_file_is_packaged(pyproject: dict[str, Any]) -> None:
    packaged = {
        ROOT / package.replace(".", "/") / name
        for package, patterns in pyproject["tool"]["setuptools"]["package-data"].items()
        for pattern in patterns
        for name in glob.glob(pattern, root_dir=ROOT / package.replace(".", "/"), recursive=True)
    }
    data = {path for path in files_under(PACKAGE) if path.suffix != ".py"}
    assert PACKAGE / "py.typed" in data
    assert data - packaged == set()


def test_licence_is_apache_2(pyproject: dict[str, Any]) -> None:
    text = (ROOT / "LICENSE").read_text("utf-8")
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert pyproject["project"]["license"] == "Apache-2.0"
