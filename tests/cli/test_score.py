"""`ivideo score` as a user meets it."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import pytest
import torch
from PIL import Image

from ivideo.config.presets import PRESETS
from ivideo.config.settings import Settings, generation_defaults
from ivideo.metrics.registry import METRICS
from ivideo.rewards.registry import load_rewards
from ivideo.scoring.clips import score_clip
from ivideo.video.reader import read_video
from ivideo.video.writer import write_video

FIELDS = [
    *("schema_version", "path", "prompt", "num_frames", "fps", "width", "height"),
    *("reward", "rewards", "attenuated_reward", "frame_indices", "frame_rewards", "segment_indices", "consistency"),
    *("motion", "flicker", "motion_smoothness_proxy", "dynamic_degree", "is_dynamic"),
    *("notes", "error", "judge", "judges", "settings"),
]


@pytest.fixture
def video(base_videos: Path) -> Path:
    return base_videos / "a-pig_seed0.mp4"


def score_in_memory(path: Path, prompt: str):
    known = generation_defaults(PRESETS["emoji-world"]["default"])
    settings = Settings(model="emoji-world", **{k: v for k, v in known.items() if k in Settings.model_fields})
    rewards = load_rewards("emoji-preference", torch.device("cpu"))
    return score_clip(rewards, read_video(path).frames, prompt, settings, max_curve_frames=64)


def test_a_record_has_every_field_and_holds_together(ivideo, video: Path) -> None:
    result = ivideo("score", video, "--attenuation-rate", 1)
    record = json.loads(result.stdout)
    assert list(record) == FIELDS
    assert (record["schema_version"], record["path"], record["prompt"]) == (2, str(video), "a pig")
    assert [record[name] for name in ("num_frames", "fps", "width", "height", "error")] == [4, 8, 64, 64, None]
    assert record["frame_indices"] == record["segment_indices"] == [0, 1, 2, 3]
    assert record["reward"] == pytest.approx(sum(record["frame_rewards"]) / 4, abs=1e-6)
    assert record["rewards"] == {"emoji-preference": record["reward"]}
    weights = [math.exp(-abs(frame - 2)) for frame in range(4)]
    attenuated = sum(w * r for w, r in zip(weights, record["frame_rewards"], strict=True)) / 4
    assert record["attenuated_reward"] == pytest.approx(attenuated, abs=1e-6)
    assert record["judge"] == "emoji preference (simulated)"
    assert record["judges"] == {"emoji-preference": record["judge"]}
    assert result.stderr.splitlines()[0] == "scoring 0/1"


def test_the_file_scores_as_its_frames_do(ivideo, video: Path) -> None:
    record = json.loads(ivideo("score", video, "--quiet").stdout)
    expected = score_in_memory(video, "a pig")
    assert record["frame_rewards"] == pytest.approx(expected.frame_rewards, abs=1e-5)
    assert {name: record[name] for name in METRICS} == pytest.approx(expected.figures, abs=1e-5)


def test_the_prompt_option_wins_over_the_metadata(ivideo, video: Path) -> None:
    record = json.loads(ivideo("score", video, "--prompt", "a fox surfing").stdout)
    assert record["prompt"] == "a fox surfing"
    assert record["reward"] == pytest.approx(score_in_memory(video, "a fox surfing").reward, abs=1e-5)
    assert record["reward"] != pytest.approx(score_in_memory(video, "a pig").reward, abs=1e-5)


def test_a_sidecar_says_the_prompt(ivideo, video: Path, tmp_path: Path) -> None:
    gif = write_video(tmp_path / "x.gif", read_video(video).frames, 8, {"prompt": "a dog"})
    assert json.loads(ivideo("score", gif, "--model", "emoji-world").stdout)["prompt"] == "a dog"
    (tmp_path / "x.json").unlink()
    result = ivideo("score", gif)
    assert (result.exit_code, json.loads(result.stdout)["prompt"]) == (1, None)
    assert result.stderr.splitlines()[-2].endswith("x.gif does not say its prompt: give it by --prompt or --captions")


def test_what_was_done_is_in_the_record_and_counted_on_stderr(ivideo, tmp_path: Path) -> None:
    for name in ("a cat-0", "a dog-0"):
        (tmp_path / name).mkdir()
        for index in (1, 2, 4):
            Image.new("RGBA", (16, 16), (255, 0, 0, 0)).save(tmp_path / name / f"{index}.png")
    (tmp_path / "list.csv").touch()
    result = ivideo("score", tmp_path, "--model", "emoji-world", "--background", "white", "--no-temporal")
    notes = [
        "frames are missing by their numbers (1, from 2.png to 4.png); the others are joined",
        "transparent pixels are shown on white",
        "its prompt is from its name",
    ]
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(record["prompt"], record["notes"]) for record in records] == [("a cat", notes), ("a dog", notes)]
    told = result.stderr.splitlines()
    assert told[0] == f"{tmp_path}: not read: 1 .csv"
    assert told[-3:] == [f"2 videos: {note}" for note in notes]
    assert ivideo("score", tmp_path, "--background", "clear").exit_code == 2


def test_stdin_takes_paths_and_json_lines(ivideo, base_videos: Path) -> None:
    first, second = sorted(base_videos.iterdir())[:2]
    objects = [{"path": str(second)}, {"path": str(second), "prompt": "a cow", "seed": 1}]
    lines = f"{first}\n\n" + "\n".join(map(json.dumps, objects))
    records = [json.loads(line) for line in ivideo("score", "-", input=lines).stdout.splitlines()]
    assert [record["path"] for record in records] == [str(first), str(second), str(second)]
    assert [record["prompt"] for record in records] == ["a fox surfing", "a fox surfing", "a cow"]
    records = [json.loads(line) for line in ivideo("score", "-", "--prompt", "a dog", input=lines).stdout.splitlines()]
    assert {record["prompt"] for record in records} == {"a dog"}


@pytest.mark.parametrize("line", ['{"prompt": "a cow"}', '{"path": "x.mp4", "prompt": 3}', "{"])
def test_a_line_of_stdin_that_names_nothing_is_refused(ivideo, line: str) -> None:
    result = ivideo("score", "-", input=line)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("error: stdin: a JSON line w")


def test_formats(ivideo, base_videos: Path) -> None:
    paths = sorted(base_videos.iterdir())[:2]
    records = json.loads(ivideo("score", *paths, "--format", "json").stdout)
    lines = [json.loads(line) for line in ivideo("score", *paths, "--format", "jsonl").stdout.splitlines()]
    assert records == lines
    header, *rows = (line.split("\t") for line in ivideo("score", *paths, "--format", "tsv").stdout.splitlines())
    names = "num_frames fps width height reward attenuated_reward motion flicker motion_smoothness_proxy dynamic_degree"
    assert header == ["path", "prompt", *names.split(), "is_dynamic", "consistency", "notes", "error", "judge"]
    column = header.index("reward")
    assert [row[column] for row in rows] == [f"{record['reward']:.4f}" for record in records]
    cells = list(csv.DictReader(ivideo("score", *paths, "--format", "csv").stdout.splitlines()))
    assert list(cells[0]) == header
    assert [float(row["reward"]) for row in cells] == [record["reward"] for record in records]
    assert {row["error"] for row in cells} == {""}
    table = ivideo("score", *paths, "--format", "table").stdout
    assert f"{records[0]['reward']:.4f}" in table
    assert table.splitlines()[-1] == "reward: emoji preference (simulated)"


def test_attenuation_can_be_switched_off(ivideo, video: Path) -> None:
    record = json.loads(ivideo("score", video, "--attenuation-rate", "none", "--num-segments", 2).stdout)
    assert record["segment_indices"] == [0, 2]
    assert record["attenuated_reward"] == pytest.approx(record["reward"], abs=1e-6)


def test_the_model_that_made_a_video_chooses_the_reward(ivideo, base_videos: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("IVIDEO_MODEL", "modelscope")
    video = sorted(base_videos.iterdir())[0]
    assert ivideo("score", video).exit_code == 0
    write_video(tmp_path / "x.mp4", read_video(video).frames, 8, {"prompt": "a pig"})
    monkeypatch.setenv("HPS_ROOT", str(tmp_path))
    result = ivideo("score", tmp_path / "missing.mp4", tmp_path / "x.mp4")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("error: reward hpsv2: ")
