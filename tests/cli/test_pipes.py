"""The commands joined in a real shell, in processes of their own."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

SMALL = "--num-frames 4 --num-inference-steps 2 --model emoji-world"
TRAINING = "--generation-num-inference-steps 2 --num-grad-steps 1"


def run_bash(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-c", f"set -euo pipefail; {script}"],
        cwd=folder,
        env={**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_generate_into_score(tmp_path: Path) -> None:
    done = run_bash(f'ivideo generate "a cat surfing" {SMALL} | ivideo score - --format tsv', tmp_path)
    assert done.returncode == 0, done.stderr
    (row,) = csv.DictReader(done.stdout.splitlines(), delimiter="\t")
    assert (row["path"], row["prompt"]) == ("videos/a-cat-surfing_seed0.mp4", "a cat surfing")
    assert -1 <= float(row["reward"]) <= 1


def test_finetune_then_compare(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("a cat surfing\na dog\n")
    (tmp_path / "h.txt").write_text("a pig\n")
    train = (
        f"ivideo finetune - {SMALL} {TRAINING} --max-steps 1 --batch-size 1 --no-eval -q -o runs/mine < p.txt > run.txt"
    )
    done = run_bash(f"{train} && ivideo compare base runs/mine --prompts h.txt --format json", tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run.txt").read_text() == "runs/mine\n"
    result = json.loads(done.stdout)
    assert [one["name"] for one in result["contestants"]] == ["base", "mine"]
    assert (result["comparisons"][0]["metric"], result["comparisons"][0]["n"]) == ("reward", 1)
    assert result["command"] == "ivideo compare base runs/mine --prompts h.txt --format json"


def test_a_closed_pipe_is_no_error(tmp_path: Path, base_videos: Path) -> None:
    done = run_bash(f"ivideo score {base_videos}/*.mp4 --format jsonl | head -c 1", tmp_path)
    assert (done.returncode, done.stdout) == (0, "{")
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr
    assert "Exception" not in done.stderr
