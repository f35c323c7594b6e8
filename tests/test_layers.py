"""The house's rule: cli -> what is done -> (config | models | ...) -> core, and a command that starts fast."""

from __future__ import annotations

import ast
import graphlib
import importlib
import resource
import statistics
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in sorted((ROOT / "ivideo").rglob("*.py"))
}
GROUND = {"core", "files", "launch", "progress"}
MIDDLE = {"config", "metrics", "models", "processes", "rewards", "video"}
WORK = {"comparing", "generating", "inputs", "report", "scoring", "training"}
MAY_IMPORT = {
    "cli": {"cli", "api", *WORK, *MIDDLE, *GROUND},
    "api": {*WORK, *MIDDLE, *GROUND},
    # Who works together: what people bring, then clips and their scores, then what is made of many of them.
    "training": {"training", "generating", "scoring", "inputs", "report", *MIDDLE, *GROUND},
    "comparing": {"comparing", "generating", "scoring", "inputs", "report", *MIDDLE, *GROUND},
    "generating": {"scoring", "inputs", *MIDDLE, *GROUND},
    "scoring": {"scoring", *MIDDLE, *GROUND},
    "inputs": {"inputs", *MIDDLE, *GROUND},
    "report": {"report", "video", *GROUND},
    # One floor: only what is plainly built on another one imports it.
    "rewards": {"rewards", "models", *GROUND},
    "models": {"models", "config", *GROUND},
    "metrics": {"metrics", *GROUND},
    "video": {"video", *GROUND},
    "config": {"config", *GROUND},
    "processes": {"config", *GROUND},
    "files": {"files"},
    "launch": set(),
    "progress": set(),
    "core": {"core"},
    "errors": set(),
}
FACADES = {"ivideo", "ivideo.__main__"}  # they stand above all layers, and no layer imports from them
EVERYWHERE = {"ivideo.errors", "ivideo.__version__"}
CORE_NEEDS = {"__future__", "collections", "dataclasses", "functools", "hashlib", "ivideo", "math", "torch", "typing"}
NOT_IN_CORE = {"open", "print", "torch.load", "torch.save"}
HEAVY = {"torch", "torchvision", "diffusers", "transformers", "moviepy", "matplotlib", "cv2"}


def imports(nodes: Iterable[ast.AST], importer: str, modules: Iterable[str] = FILES) -> set[str]:
    """Absolute names of the imports among `nodes`; `from a import b` is a.b where that is one of `modules`."""
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{importer} has a relative import: write the full name"
            named = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in {*modules, *EVERYWHERE} else str(node.module) for name in named}
    return found


def at_import_time(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes that run when the module is imported: no function's body, nothing that only type checkers see."""
    for child in ast.iter_child_nodes(tree):
        is_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        if not is_function and not (isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)):
            yield child
            yield from at_import_time(child)


def breaches(graph: dict[str, set[str]]) -> list[str]:
    """The imports of `graph` (module -> what it imports) that go against the direction."""
    found = []
    for module, targets in graph.items():
        allowed = MAY_IMPORT.get(module.split(".")[1], set()) if module not in FACADES else {*MAY_IMPORT}
        for target in sorted(targets - EVERYWHERE):
            package, layer, *_ = [*target.split("."), ""]
            if package == "ivideo" and layer not in allowed:
                found.append(f"{module} -> {target}")
    return found


def sort_modules(graph: dict[str, set[str]]) -> list[str]:
    """The modules, each after those that it imports; graphlib.CycleError names a circle."""
    return list(graphlib.TopologicalSorter({name: graph[name] & {*graph} for name in graph}).static_order())


@pytest.fixture(scope="module")
def trees() -> dict[str, ast.Module]:
    return {module: ast.parse(path.read_text("utf-8")) for module, path in FILES.items()}


@pytest.fixture(scope="module")
def graph(trees: dict[str, ast.Module]) -> dict[str, set[str]]:
    return {module: imports(ast.walk(tree), module) for module, tree in trees.items()}


def test_every_layer_is_there_and_no_other() -> None:
    layers = {module.split(".")[1] for module in FILES.keys() - FACADES}
    assert layers == {*MAY_IMPORT}


def test_every_folder_of_modules_is_a_package() -> None:
    folders = {path.parent for path in FILES.values()}
    assert [str(folder) for folder in sorted(folders) if not (folder / "__init__.py").exists()] == []


def test_imports_go_one_way(graph: dict[str, set[str]]) -> None:
    assert breaches(graph) == []


def test_modules_have_no_circle(graph: dict[str, set[str]]) -> None:
    assert {*sort_modules(graph)} == {*FILES}


@pytest.mark.parametrize(
    ("module", "statement"),
    [
        ("ivideo.core.sampler", "from ivideo.models.unet3d.schedule import DDIMStepper"),
        ("ivideo.core.sampler", "from ivideo import files"),
        ("ivideo.video.reader", "import ivideo.metrics.registry"),
        ("ivideo.config.settings", "def load():\n    from ivideo.models import registry"),
        ("ivideo.scoring.videos", "from ivideo.cli.output import write_rows"),
        ("ivideo.rewards", "from ivideo import generate"),
        ("ivideo.errors", "import ivideo.core.sampler"),
        ("ivideo.helpers", "import ivideo.core.sampler"),
    ],
)
def test_a_breach_is_found(module: str, statement: str) -> None:
    found = breaches({module: imports(ast.walk(ast.parse(statement)), module)})
    assert len(found) == 1
    assert found[0].startswith(f"{module} -> ivideo")


@pytest.mark.parametrize(
    ("module", "statement"),
    [
        ("ivideo.cli.app", "from ivideo import __version__\nfrom ivideo.scoring import videos"),
        ("ivideo.core.draws", "from ivideo.core.segments import sample_frame_indices\nfrom ivideo import errors"),
        ("ivideo.video.reader", "import torch\nfrom ivideo.errors import IvideoError\nfrom ivideo.files import atomic"),
    ],
)
def test_a_right_import_is_no_breach(module: str, statement: str) -> None:
    assert breaches({module: imports(ast.walk(ast.parse(statement)), module)}) == []


def test_a_circle_is_found() -> None:
    circle = {"ivideo.io.a": {"ivideo.io.b"}, "ivideo.io.b": {"ivideo.io.a", "json"}}
    with pytest.raises(graphlib.CycleError):
        sort_modules(circle)


def test_core_knows_tensors_and_nothing_else(trees: dict[str, ast.Module], graph: dict[str, set[str]]) -> None:
    core = [module for module in FILES if module.startswith("ivideo.core")]
    strangers = {(module, name) for module in core for name in graph[module] if name.split(".")[0] not in CORE_NEEDS}
    calls = {
        (module, ast.unparse(node.func))
        for module in core
        for node in ast.walk(trees[module])
        if isinstance(node, ast.Call)
    }
    assert strangers == set()
    assert [(module, call) for module, call in sorted(calls) if call in NOT_IN_CORE] == []


@pytest.mark.parametrize("module", [name for name in FILES if name.split(".")[1:2] in ([], ["cli"], ["config"])])
def test_heavy_imports_stay_inside_functions(trees: dict[str, ast.Module], module: str) -> None:
    assert {name.split(".")[0] for name in imports(at_import_time(trees[module]), module)} & HEAVY == set()


@pytest.mark.parametrize("module", sorted(FILES.keys() - {"ivideo.__main__"}))
def test_module_imports(module: str) -> None:
    assert importlib.import_module(module).__doc__, f"{module} doesn't say what it is"


def run_python(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("module", ["ivideo", "ivideo.cli.app", "ivideo.config.settings"])
def test_import_loads_nothing_heavy(module: str) -> None:
    done = run_python("-c", f"import sys, {module}; print(*sys.modules, sep='\\n')")
    assert done.returncode == 0, done.stderr
    assert module in done.stdout.split()
    assert {*done.stdout.split()} & HEAVY == set()


def test_help_takes_less_than_half_a_second() -> None:
    seconds = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = run_python("-c", "from ivideo.cli.app import main; main()", "--help")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert done.returncode == 0, done.stderr
        assert "finetune" in done.stdout
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert statistics.median(seconds) < 0.5
