"""Several reward models and weighted sums in the four commands."""

from __future__ import annotations

import csv
import json
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from ivideo.metrics.registry import compared

REWARDS = """
import torch

def bright(frames, prompts):
    return frames.mean((2, 3, 4))

@torch.no_grad()
def even(frames, prompts):
    return 1 - frames.std((2, 3, 4))
"""
LABELS = {
    "emoji-preference": "emoji preference (simulated)",
    "reward.py:bright": "reward.py:bright, a function of your own",
    "reward.py:even": "reward.py:even, a function of your own",
}
MIX = "emoji-preference=1,reward.py:bright=0.5"
MIX_LABEL = "1 x emoji preference (simulated) + 0.5 x reward.py:bright, a function of your own"
ASKED = ("--reward", MIX, "--reward", "reward.py:even")
NAMES = [MIX, "reward.py:even", "emoji-preference", "reward.py:bright"]


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The current folder, with the rewards."""
    path = tmp_path_factory.mktemp("rewards")
    (path / "reward.py").write_text(REWARDS)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(path)
        patch.setenv("COLUMNS", "300")
        yield path


def check_rewards(rewards: dict[str, float], reward: float) -> None:
    assert list(rewards) == NAMES
    assert rewards[MIX] == reward
    assert reward == pytest.approx(rewards["emoji-preference"] + 0.5 * rewards["reward.py:bright"], abs=1e-6)


def test_score_reports_every_reward(ivideo, base_videos: Path) -> None:
    paths = sorted(base_videos.iterdir())[:2]
    records = json.loads(ivideo("score", *paths, *ASKED, "-f", "json").stdout)
    for record in records:
        check_rewards(record["rewards"], record["reward"])
        assert (record["judge"], record["judges"]["reward.py:even"]) == (MIX_LABEL, LABELS["reward.py:even"])
        assert list(record["judges"]) == NAMES
    (alone,) = json.loads(ivideo("score", paths[0], "-f", "json").stdout)
    assert alone["reward"] == pytest.approx(records[0]["rewards"]["emoji-preference"], abs=1e-6)

    rows = list(csv.DictReader(ivideo("score", *paths, *ASKED, "-f", "tsv").stdout.splitlines(), delimiter="\t"))
    columns = list(rows[0])
    assert columns[columns.index("reward") :][:5] == ["reward", *NAMES[1:], "attenuated_reward"]
    assert [row["reward.py:even"] for row in rows] == [f"{one['rewards']['reward.py:even']:.4f}" for one in records]

    table = ivideo("score", *paths, *ASKED, "-f", "table").stdout.splitlines()
    assert table[-4:] == [f"reward: {MIX_LABEL}", *(f"{name}: {LABELS[name]}" for name in NAMES[1:])]
    assert {*NAMES[1:], "reward", "motion"} < {*table[0].split()}


def test_generate_reports_every_reward(ivideo, small, tmp_path: Path) -> None:
    flags = ("--model", "emoji-world", *small, "-o", tmp_path / "x.mp4")
    (record,) = json.loads(ivideo("generate", "a pig", *flags, *ASKED, "-f", "json").stdout)
    check_rewards(record["rewards"], record["reward"])
    assert (record["judge"], list(record["judges"])) == (MIX_LABEL, NAMES)
    header = ivideo("generate", "a pig", *flags, *ASKED, "-f", "tsv").stdout.splitlines()[0]
    assert header.split("\t") == ["path", "prompt", "seed", "reward", *NAMES[1:], "judge"]


def test_compare_reports_every_reward(ivideo, base_videos: Path, tmp_path: Path) -> None:
    other = shutil.copytree(base_videos, tmp_path / "other")
    results = json.loads(ivideo("compare", base_videos, other, *ASKED).stdout)
    metrics = [*compared(), *NAMES[1:]]
    assert (list(results["metrics"]), list(results["judges"])) == (metrics, NAMES)
    assert results["metrics"]["reward.py:even"]["higher_is_better"] is True
    for row in results["rows"]:
        scores = row["clips"][0]["scores"]
        check_rewards({MIX: scores["reward"], **{name: scores[name] for name in NAMES[1:]}}, scores["reward"])
    mean = sum(row["clips"][0]["scores"]["reward.py:even"] for row in results["rows"]) / len(results["rows"])
    assert results["means"]["reward.py:even"][0]["mean"] == pytest.approx(mean)
    assert results["contestants"][0]["settings"]["reward"] == [MIX, "reward.py:even"]
    tsv = ivideo("compare", base_videos, other, *ASKED, "-f", "tsv").stdout.splitlines()
    rows = {row["metric"]: row for row in csv.DictReader(tsv, delimiter="\t")}
    assert list(rows) == metrics
    assert (rows["reward"]["judge"], rows["reward.py:even"]["judge"]) == (MIX_LABEL, LABELS["reward.py:even"])


@pytest.fixture(scope="module")
def run(ivideo, small_training, folder: Path) -> list[str]:
    """A run on the sum, which also shows a reward that could not be trained on; what was said."""
    (folder / "p.txt").write_text("a cat\n")
    (folder / "h.txt").write_text("a pig\n")
    flags = ("--model", "emoji-world", "--max-steps", 1, "--batch-size", 1, *small_training)
    result = ivideo("finetune", "p.txt", *flags, *ASKED, "--eval-prompts", "h.txt", "-o", "run")
    assert result.exit_code == 0, result.stderr
    return result.stderr.splitlines()


def test_finetune_trains_on_the_first_and_shows_the_others(run: list[str], folder: Path) -> None:
    for line in (folder / "run" / "metrics.jsonl").read_text().splitlines():
        step = json.loads(line)
        assert list(step["rewards"]) == [MIX, "emoji-preference", "reward.py:bright"]
        parts = step["rewards"]["emoji-preference"] + 0.5 * step["rewards"]["reward.py:bright"]
        assert step["reward"] == step["rewards"][MIX] == pytest.approx(parts, abs=1e-5)
    summary = json.loads((folder / "run" / "summary.json").read_text())
    assert (summary["reward"], summary["reward_label"]) == (MIX, MIX_LABEL)
    assert list(summary["heldout_rewards"]) == list(summary["judges"]) == NAMES
    assert summary["heldout_rewards"][MIX] == summary["heldout"]["reward"]
    table = {line.split("  ")[0] for line in run}
    assert {"reward", *NAMES[1:], "motion"} <= table
    assert f"reward.py:even: {LABELS['reward.py:even']}" in run
    config = tomllib.loads((folder / "run" / "config.toml").read_text())
    assert config["reward"] == [MIX, "reward.py:even"]


def test_a_run_does_not_bring_its_code_along(run: list[str], ivideo, base_videos: Path, folder: Path) -> None:
    (folder / "one.txt").write_text("a pig\n")
    result = ivideo("compare", base_videos, "run", "--prompts", "one.txt")
    assert json.loads(result.stdout)["judge"] == LABELS["emoji-preference"]
    said = f"the run's reward {MIX}, reward.py:even is code: it is run only if --reward names it"
    assert said in result.stderr.splitlines()
    named = json.loads(
        ivideo("compare", base_videos, "run", "--prompts", "one.txt", "--reward", "reward.py:bright", "-q").stdout
    )
    assert named["judge"] == LABELS["reward.py:bright"]


def test_a_file_of_settings_names_one_or_several(ivideo, base_videos: Path, folder: Path) -> None:
    video = min(base_videos.iterdir())
    (folder / "c.toml").write_text('reward = ["emoji-clip", "emoji-preference"]\n')
    record = json.loads(ivideo("score", video, "--config", "c.toml").stdout)
    assert list(record["rewards"]) == ["emoji-clip", "emoji-preference"]
    flag = json.loads(ivideo("score", video, "--config", "c.toml", "--reward", "reward.py:bright").stdout)
    assert list(flag["rewards"]) == ["reward.py:bright"]
