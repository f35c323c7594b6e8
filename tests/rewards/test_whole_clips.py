"""A reward model of whole clips is a file and a row: this one is added while the program runs, and works everywhere."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import Tensor

from ivideo.rewards.contract import RewardModel
from ivideo.rewards.registry import REWARDS
from ivideo.video.reader import read_video

NAME = "dawn"
MIX = f"emoji-preference=1,{NAME}=0.5"


class Dawn(RewardModel):
    """Likes clips that grow brighter: grey levels a second, from each frame that it sees to the next one."""

    name, label, version, scope, fps = NAME, "growing brighter", "v1", "clip", 4.0

    def score(self, frames: Tensor, prompts: Sequence[str], times: Tensor) -> Tensor:
        return (frames.mean((2, 3, 4)).diff(dim=1) / times.diff(dim=1)).mean(1)


@pytest.fixture(autouse=True)
def row(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that there is of it besides its class."""
    monkeypatch.setitem(REWARDS, NAME, lambda name, source, device: Dawn())


def dawn_of(path: str | Path) -> float:
    """What it should be: of 4 frames at 8 a second the frames 0 and 2, a quarter of a second apart."""
    light = read_video(Path(path)).frames.mean((1, 2, 3)) / 255
    return float(light[2] - light[0]) / 0.25


def test_videos_are_scored_by_it(ivideo: Callable[..., Any], base_videos: Path, tmp_path: Path) -> None:
    paths = sorted(base_videos.iterdir())
    plot = ("--plot", tmp_path / "plot.png")
    records = json.loads(ivideo("score", *paths, "--reward", NAME, "--reward", MIX, "-f", "json", *plot).stdout)
    for path, record in zip(paths, records, strict=True):
        assert record["reward"] == record["attenuated_reward"] == pytest.approx(dawn_of(path), abs=1e-5)
        assert [record[name] for name in ("frame_indices", "frame_rewards", "segment_indices", "consistency")] == [
            None
        ] * 4
        assert list(record["rewards"]) == [NAME, MIX, "emoji-preference"]
        expected = record["rewards"]["emoji-preference"] + 0.5 * record["reward"]
        assert record["rewards"][MIX] == pytest.approx(expected, abs=1e-6)
        assert record["judges"] == {
            NAME: "growing brighter",
            MIX: "1 x emoji preference (simulated) + 0.5 x growing brighter",
            "emoji-preference": "emoji preference (simulated)",
        }
    quick = ivideo("score", *paths, "--reward", NAME, "-f", "csv", "--no-temporal").stdout
    assert [float(one["reward"]) for one in csv.DictReader(quick.splitlines())] == [one["reward"] for one in records]
    (mixed,) = json.loads(ivideo("score", paths[0], "--reward", MIX, "-f", "json").stdout)
    assert mixed["reward"] == mixed["rewards"][MIX] == pytest.approx(records[0]["rewards"][MIX], abs=1e-6)
    assert mixed["attenuated_reward"] < mixed["reward"]
    assert 0 < mixed["consistency"] < 1


def test_clips_are_made_and_compared_by_it(
    ivideo: Callable[..., Any], base_videos: Path, small, tmp_path: Path
) -> None:
    flags = ("--model", "emoji-world", *small, "-o", tmp_path / "a.mp4", "-f", "json")
    (made,) = json.loads(ivideo("generate", "a pig", *flags, "--reward", NAME).stdout)
    assert made["reward"] == pytest.approx(dawn_of(tmp_path / "a.mp4"), abs=0.05)  # but for what its coding loses
    same = shutil.copytree(base_videos, tmp_path / "same")
    results = json.loads(ivideo("compare", base_videos, same, "--reward", NAME, "-o", tmp_path / "out").stdout)
    for one in results["rows"]:
        clip = one["clips"][0]
        assert clip["scores"]["reward"] == pytest.approx(dawn_of(tmp_path / "out" / clip["video"]), abs=1e-5)
        assert (clip["frame_indices"], clip["frame_rewards"]) == (None, None)
    expected = np.mean([dawn_of(one) for one in same.iterdir()])
    assert results["means"]["reward"][0]["mean"] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("reward", [NAME, MIX])
def test_it_is_trained_on_evaluated_and_guarded(
    ivideo: Callable[..., Any], small_training, tmp_path: Path, reward: str
) -> None:
    (tmp_path / "prompts.txt").write_text("a cat surfing\n")
    (tmp_path / "heldout.txt").write_text("a pig\n")
    flags = (
        "--model",
        "emoji-world",
        *small_training,
        "--max-steps",
        2,
        "--batch-size",
        1,
        "--min-motion",
        0,
        "--min-judge",
        0.01,
    )
    flags = (*flags, "--eval-prompts", tmp_path / "heldout.txt", "--eval-every", 1, "--learning-rate", 0.001)
    rewards = ("--reward", reward, "--reward", "emoji-clip")
    result = ivideo("finetune", tmp_path / "prompts.txt", *flags, *rewards, "-o", tmp_path / "run")
    assert result.exit_code == 0, result.stderr
    assert "second reward model, not trained on: emoji-clip" in result.stderr.splitlines()
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        assert line["loss"] == pytest.approx(1 - line["attenuated_reward"])
        assert line["gradient_norm"] > 0
        assert line["reward"] == line["rewards"][reward]
        assert line["rewards"][NAME] != 0
    if reward == NAME:
        assert all(line["reward"] == line["attenuated_reward"] for line in lines)
    else:
        parts = [line["rewards"]["emoji-preference"] + 0.5 * line["rewards"][NAME] for line in lines]
        assert [line["reward"] for line in lines] == pytest.approx(parts, abs=1e-6)
    evaluations = [json.loads(line) for line in (tmp_path / "run" / "evaluations.jsonl").read_text().splitlines()]
    assert len(evaluations) == 3
    assert all(one["values"]["reward"] == one["values"][reward] for one in evaluations)
    assert {NAME, "emoji-clip"} <= {*evaluations[0]["values"]}
