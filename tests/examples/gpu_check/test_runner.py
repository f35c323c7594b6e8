"""A part that crashes, hangs or runs out of time or memory costs itself only, and keeps what it had found."""

from __future__ import annotations

import json
import time
from multiprocessing.context import BaseContext
from pathlib import Path

import pytest
import torch

from examples.gpu_check.check import Check
from examples.gpu_check.parts import BY_NAME, PARTS
from examples.gpu_check.results import Results, describe_machine, format_cell
from examples.gpu_check.runner import run_part, start_processes

PART = PARTS[0]
FIND = "from examples.gpu_check.results import Results; import os, subprocess, time\n"
FIND += "Results(folder).add('numerics', 'found', {'a': 1})\n"


@pytest.fixture
def results(tmp_path: Path) -> Results:
    results = Results(tmp_path)
    results.begin(describe_machine(torch.device("cpu"), "small", "1234567"), [part.name for part in PARTS])
    return results


def run(context: BaseContext, results: Results, code: str, seconds: float = 60.0) -> dict:
    folder = results.path.parent
    run_part(context, PART, seconds, folder, exec, FIND + code, {"folder": folder})
    return results.read()["parts"][PART.name]


def make_check(results: Results, seconds: float = 60.0) -> Check:
    return Check(PART.name, torch.device("cpu"), True, time.monotonic() + seconds, results)


@pytest.mark.parametrize(
    ("code", "state", "why", "is_forked"),
    [
        ("", "done", None, True),
        ("raise ValueError('no such kernel')", "failed", "ValueError: no such kernel", True),
        ("os.abort()", "failed", "killed by SIGABRT", True),
        ("os.abort()", "failed", "killed by SIGABRT", False),
    ],
)
def test_a_part_says_how_it_ended_and_keeps_its_rows(
    results: Results, code: str, state: str, why: str | None, is_forked: bool
) -> None:
    part = run(start_processes(is_forked), results, code)
    assert (part["state"], part.get("why")) == (state, why)
    assert part["tables"] == {"found": [{"a": 1}]}
    assert results.read()["parts"][PARTS[1].name]["state"] == "not run"


def test_a_part_that_hangs_is_ended_with_what_it_started(results: Results) -> None:
    started = time.monotonic()
    code = "child = subprocess.Popen(['sleep', '100']); print(child.pid, flush=True); time.sleep(100)"
    part = run(start_processes(is_forked=True), results, code, seconds=4.0)
    assert part["state"] == "out of time"
    assert part["tables"] == {"found": [{"a": 1}]}
    assert time.monotonic() - started < 40
    child = int((results.path.parent / f"{PART.name}.log").read_text().split()[0])
    assert not Path(f"/proc/{child}/cmdline").exists() or not Path(f"/proc/{child}/cmdline").read_bytes()


def test_a_measurement_that_does_not_fit_or_fails_is_a_note(results: Results) -> None:
    check = make_check(results)

    def run_out() -> dict:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB.\nMore")

    def fail() -> dict:
        raise RuntimeError("not implemented for Half")

    check.measure("sizes", {"batch": 8}, run_out)
    check.measure("sizes", {"batch": 2}, fail)
    check.measure("sizes", {"batch": 1}, lambda: {"seconds": 1.5})
    assert results.read()["parts"][PART.name]["tables"]["sizes"] == [
        {"batch": 8, "note": "does not fit: CUDA out of memory. Tried to allocate 20 GiB."},
        {"batch": 2, "note": "failed: RuntimeError: not implemented for Half"},
        {"batch": 1, "seconds": 1.5},
    ]
    assert check.num_failed == 1  # memory that runs out is a result


def test_a_measurement_without_time_is_left_out(results: Results) -> None:
    check = make_check(results, seconds=0.2)
    check.measure("slow", {"case": 1}, lambda: time.sleep(0.15) or {"seconds": 0.15})
    check.measure("slow", {"case": 2}, lambda: pytest.fail("there is no time for it"))
    assert results.read()["parts"][PART.name]["tables"]["slow"][1] == {"case": 2, "note": "no time left"}


def test_the_file_says_where_and_when(results: Results) -> None:
    machine = results.read()["machine"]
    assert machine["commit"] == "1234567"
    assert machine["torch"] == torch.__version__
    assert machine["card"].endswith("no GPU")
    assert {"date", "processor", "diffusers", "python"} <= machine.keys()
    assert json.loads(results.path.read_text())["schema_version"] == 1


def test_every_part_is_a_module() -> None:
    assert [callable(part.load()) for part in PARTS] == [True] * len(PARTS) == [True] * len(BY_NAME)


@pytest.mark.parametrize(
    ("value", "shown"), [(None, ""), (True, "yes"), (0.123456, "0.123"), (12345.6, "12346"), (7, "7"), ("x", "x")]
)
def test_cells_have_the_digits_that_count(value: object, shown: str) -> None:
    assert format_cell(value) == shown
