"""`ivideo compare` as a user meets it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from ivideo.io.video import read_video, write_video
from ivideo.workflows import generation

METRICS = ["reward", "attenuated_reward", "motion", "flicker", "motion_smoothness_proxy", "dynamic_degree"]
NUMBERS = {"mean_a", "mean_b", "difference", "ci_low", "ci_high", "win_share", "n"}


@pytest.fixture(scope="module")
def compared(ivideo, trained_run: Path, tmp_path_factory: pytest.TempPathFactory):
    """Base against the run on its own held-out prompts, with pictures."""
    output = tmp_path_factory.mktemp("compared") / "pictures"
    result = ivideo("compare", "base", trained_run, "--format", "json", "--output", output)
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout), output, result.stderr


def copy_videos(folder: Path, target: Path, *forgotten: str, prefix: str = "") -> Path:
    """Copy the videos of a folder without some of what they say of themselves."""
    for path in sorted(folder.iterdir()):
        video = read_video(path)
        metadata = {name: value for name, value in video.metadata.items() if name not in forgotten}
        write_video(target / f"{prefix}{path.name}", video.frames, video.fps, metadata)
    return target


def test_the_result_has_every_field_and_holds_together(compared, trained_run: Path) -> None:
    result, _, _ = compared
    assert (result["schema_version"], result["a"], result["b"]) == (1, "base", str(trained_run))
    assert list(result["metrics"]) == METRICS
    assert [(row["prompt"], row["seed"]) for row in result["rows"]] == [("a pig", 0), ("a fox surfing", 1)]
    for name, numbers in result["metrics"].items():
        assert numbers.keys() == NUMBERS
        a, b = (np.mean([row[side][name] for row in result["rows"]]) for side in "ab")
        assert numbers["mean_a"] == pytest.approx(a)
        assert numbers["difference"] == pytest.approx(b - a)
        assert numbers["ci_low"] <= numbers["difference"] <= numbers["ci_high"]
        assert numbers["n"] == 2
    assert result["metrics"]["reward"]["difference"] != 0


def test_it_agrees_with_the_run_s_own_before_and_after(compared, trained_run: Path) -> None:
    summary = json.loads((trained_run / "summary.json").read_text())
    for name in METRICS:
        assert compared[0]["metrics"][name]["mean_a"] == pytest.approx(summary["heldout"][name]["mean_a"], abs=1e-6)
        assert compared[0]["metrics"][name]["mean_b"] == pytest.approx(summary["heldout"][name]["mean_b"], abs=1e-6)


def test_the_base_is_the_same_model_with_its_adapter_off(
    ivideo, trained_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []
    load = generation.load_text_to_video
    monkeypatch.setattr(generation, "load_text_to_video", lambda name, *rest: loaded.append(name) or load(name, *rest))
    (tmp_path / "p.txt").write_text("a pig\n")
    flags = ("--prompts", tmp_path / "p.txt", "--format", "json")
    row = json.loads(ivideo("compare", "base", trained_run, *flags).stdout)["rows"][0]
    assert loaded == ["emoji-world"]
    assert row["a"] != row["b"]


def test_pictures_and_results_lie_in_the_output(compared, trained_run: Path) -> None:
    result, output, said = compared
    names = ["000_a-pig.mp4", "001_a-fox-surfing.mp4", "contact_sheet.png", "results.json"]
    assert sorted(path.name for path in output.iterdir()) == names
    assert json.loads((output / "results.json").read_text()) == result
    video = read_video(output / names[0])
    assert video.frames.shape == (4, 28 + 256, 256 + 8 + 256, 3)
    assert video.metadata == {"prompt": "a pig", "seed": 0, "a": "base", "b": str(trained_run)}
    sheet = np.asarray(Image.open(output / "contact_sheet.png"))
    assert sheet.shape == (28 + 2 * 172 + 16, 2 * 524 + 3 * 16, 3)
    assert said.splitlines()[-1] == f"videos, contact sheet and results: {output}"


def test_formats(ivideo, trained_run: Path, compared, tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("a pig\na fox surfing\n")
    flags = ("base", trained_run, "--prompts", tmp_path / "p.txt", "--quiet", "--format")
    header, *rows = (line.split("\t") for line in ivideo("compare", *flags, "tsv").stdout.splitlines())
    assert header == ["metric", *"mean_a mean_b difference ci_low ci_high win_share n judge".split()]
    assert [row[0] for row in rows] == METRICS
    assert [row[3] for row in rows] == [f"{compared[0]['metrics'][name]['difference']:.4f}" for name in METRICS]
    table = ivideo("compare", *flags, "table")
    assert table.stderr == ""
    assert table.stdout.splitlines()[-1] == "reward: emoji preference (simulated)"
    assert len(ivideo("compare", *flags, "jsonl").stdout.splitlines()) == 1


def test_folders_pair_by_prompt_and_seed(ivideo, base_videos: Path, tmp_path: Path) -> None:
    other = copy_videos(base_videos, tmp_path / "other", prefix="other_")
    next(other.glob("*seed1.mp4")).unlink()
    result = json.loads(ivideo("compare", base_videos, other).stdout)
    assert result["metrics"]["reward"]["n"] == 2
    assert len(result["rows"]) == 3
    assert all(row["a"]["flicker"] == pytest.approx(row["b"]["flicker"], abs=0.01) for row in result["rows"])


def test_folders_pair_by_name_where_one_says_nothing(ivideo, base_videos: Path, tmp_path: Path) -> None:
    other = copy_videos(base_videos, tmp_path / "other", "prompt", "seed")
    result = json.loads(ivideo("compare", other, base_videos).stdout)
    assert [row["prompt"] for row in result["rows"]] == ["a fox surfing"] * 2 + ["a pig"] * 2
    assert [row["seed"] for row in result["rows"]] == [None] * 4


def test_folders_without_any_prompt_cannot_be_scored(ivideo, base_videos: Path, tmp_path: Path) -> None:
    other = copy_videos(base_videos, tmp_path / "other", "prompt")
    result = ivideo("compare", other, other)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "says its prompt on neither side" in result.stderr


def test_a_model_makes_the_prompts_and_seeds_of_the_folder(ivideo, base_videos: Path, small) -> None:
    result = json.loads(ivideo("compare", base_videos, "base", *small).stdout)
    asked = [(row["prompt"], row["seed"]) for row in result["rows"]]
    assert asked == [("a fox surfing", 0), ("a fox surfing", 1), ("a pig", 0), ("a pig", 1)]
    for row in result["rows"]:  # the same clips, but for what H.264 loses
        assert row["a"]["flicker"] == pytest.approx(row["b"]["flicker"], abs=0.02)


def test_prompts_choose_among_a_folder_s_videos(ivideo, base_videos: Path, tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("a pig\n")
    result = json.loads(ivideo("compare", base_videos, base_videos, "--prompts", tmp_path / "p.txt").stdout)
    assert [row["prompt"] for row in result["rows"]] == ["a pig"] * 2


def test_two_runs(ivideo, trained_run: Path, tmp_path: Path) -> None:
    shutil.copytree(trained_run, tmp_path / "other")
    weights = tmp_path / "other" / "adapter" / "adapter_model.safetensors"
    save_file({name: -2 * w if "lora_B" in name else w for name, w in load_file(weights).items()}, weights)
    result = json.loads(ivideo("compare", trained_run, tmp_path / "other").stdout)
    assert result["settings"]["a"] == result["settings"]["b"]
    assert all(row["a"]["reward"] != row["b"]["reward"] for row in result["rows"])
    none = json.loads(ivideo("compare", trained_run, tmp_path / "other", "--lora-scale", 0).stdout)
    assert all(row["a"] == row["b"] for row in none["rows"])
