"""`ivideo finetune` as a user meets it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from ivideo.cli.finetune import find_results
from ivideo.config.presets import MODEL_SOURCES
from ivideo.metrics.registry import compared
from ivideo.video.reader import read_video

FILES = [
    *(".lock", "adapter", "checkpoints", "clips", "config.toml", "curve.png", "heldout.txt", "metrics.jsonl"),
    *("prompts.txt", "summary.json"),
]
SHORT = ("--model", "emoji-world", "--max-steps", 2, "--batch-size", 2)


def read_metrics(run: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    (tmp_path / "p.txt").write_text("a cat surfing\na dog running\na cow\n")
    return tmp_path / "p.txt"


def test_a_run_folder_holds_everything(trained_run: Path) -> None:
    assert {path.name for path in trained_run.iterdir()} == {*FILES, "best", "evaluations.jsonl", "grids", "videos"}
    assert (trained_run / "prompts.txt").read_text() == "a cat surfing\na dog running\na cow\n"
    assert (trained_run / "heldout.txt").read_text() == "a pig\na fox surfing\n"  # not the cow: it is trained on
    assert sorted(path.name for path in (trained_run / "clips").iterdir()) == [f"0000{i}.safetensors" for i in range(3)]
    latents = load_file(trained_run / "clips" / "00000.safetensors")["latents"]
    assert latents.shape[1] == 4
    names = [f"{stem}_{kind}.mp4" for stem in ("00_a-pig", "01_a-fox-surfing") for kind in ("before", "after")]
    assert {path.name for path in (trained_run / "videos").iterdir()} >= set(names)
    before, after = (read_video(trained_run / "videos" / name) for name in names[:2])
    assert (before.metadata["adapter"], after.metadata["adapter"]) == (None, str(trained_run / "best"))
    assert before.frames.shape == after.frames.shape == (4, 64, 64, 3)
    assert not np.array_equal(before.frames, after.frames)
    assert read_video(trained_run / "videos" / "00_a-pig_before_after.mp4").frames.shape == (4, 284, 520, 3)
    assert Image.open(trained_run / "curve.png").size == (960, 1080)  # reward, loss, second reward, motion


def test_metrics_have_their_fields(trained_run: Path) -> None:
    metrics = read_metrics(trained_run)
    assert [line["step"] for line in metrics] == [1, 2]
    assert [line["learning_rate"] for line in metrics] == [0.01, 0.005]  # linear to zero after step 2
    for line in metrics:
        assert line.keys() == {
            *("step", "loss", "reward", "attenuated_reward", "rewards", "gradient_norm", "learning_rate"),
            *("num_skipped", "seconds"),
        }
        assert (line["num_skipped"], line["gradient_norm"] > 0) == (0, True)
        assert line["rewards"] == {"emoji-preference": line["reward"]}
        assert line["loss"] == pytest.approx(1 - line["attenuated_reward"])


def test_the_summary_says_what_changed_and_where_it_is(trained_run: Path) -> None:
    summary = json.loads((trained_run / "summary.json").read_text())
    assert (summary["schema_version"], summary["num_steps"], summary["model"]) == (2, 2, "emoji-world")
    assert list(summary["heldout"]) == compared()
    assert summary["heldout"]["reward"]["n"] == 2
    assert summary["reward_label"] == "emoji preference (simulated)"
    assert summary["heldout_rewards"].keys() == {"emoji-preference", "emoji-clip"}  # the second is not trained on
    assert summary["heldout_rewards"]["emoji-preference"] == summary["heldout"]["reward"]
    for path in (summary["run"], summary["adapter"], summary["curve"], *summary["videos"]):
        assert Path(path).exists()


def test_a_moved_run_tells_where_it_is_now(trained_run: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(trained_run, tmp_path / "moved")
    summary = find_results(moved)
    assert summary["run"] == str(moved)
    paths = [summary["adapter"], summary["curve"], *summary["videos"]]
    assert all(Path(path).is_relative_to(moved) and Path(path).exists() for path in paths)
    old = json.loads((moved / "summary.json").read_text())
    assert [Path(path).name for path in paths] == [Path(p).name for p in (old["adapter"], old["curve"], *old["videos"])]


def test_the_adapter_loads_with_peft_alone(trained_run: Path) -> None:
    from diffusers import UNet3DConditionModel
    from peft import PeftModel

    unet = UNet3DConditionModel.from_pretrained(
        MODEL_SOURCES["emoji-world"], subfolder="unet", torch_dtype=torch.float32
    )
    loaded = PeftModel.from_pretrained(unet, str(trained_run / "adapter"))
    found = {name: weight for name, weight in loaded.named_parameters() if "lora_B" in name}
    assert len(found) > 0
    assert all(weight.abs().max() > 0 for weight in found.values())


def test_stdout_is_the_run_and_stderr_the_report(ivideo, prompts: Path, small_training, tmp_path: Path) -> None:
    run = tmp_path / "run"
    result = ivideo("finetune", prompts, *SHORT, *small_training, "--num-eval-prompts", 2, "-o", run)
    assert result.stdout == f"{run}\n"
    lines = result.stderr.splitlines()
    start = lines.index("2 held-out prompts, reward: emoji preference (simulated)")
    assert [line.split()[0] for line in lines[start + 1 :]] == [
        *("before", "reward", "emoji-clip", "motion", "emoji-clip:", "chosen", "adapter", "curve", "videos", "time")
    ]
    assert lines.count("second reward model, not trained on: emoji-clip") == 1
    assert len({line.index(word) for line, word in zip(lines[start + 1 : start + 3], ("95", "none"), strict=True)}) == 1
    assert "" not in lines
    assert any(line.startswith("training 2/2") and "reward" in line for line in lines)


def test_the_same_seed_trains_the_same_and_its_config_reproduces_it(
    ivideo, prompts: Path, small_training, tmp_path
) -> None:
    flags = ("--no-eval", "--seed", 5, "--learning-rate", 0.01, "--negative-prompt", 'a "cow"')
    first = ivideo("finetune", prompts, *SHORT, *small_training, *flags, "-o", tmp_path / "a", "--quiet")
    assert (first.stdout, first.stderr) == (f"{tmp_path / 'a'}\n", "")
    ivideo("finetune", prompts, "--config", tmp_path / "a" / "config.toml", "-o", tmp_path / "b")
    ivideo("finetune", prompts, "--config", tmp_path / "a" / "config.toml", "--seed", 6, "-o", tmp_path / "c")
    same, other = tmp_path / "b", tmp_path / "c"
    for name in ("adapter/adapter_model.safetensors", "adapter/adapter_config.json", "config.toml", "prompts.txt"):
        assert (tmp_path / "a" / name).read_bytes() == (same / name).read_bytes()
    weights = "adapter/adapter_model.safetensors"
    assert (same / weights).read_bytes() != (other / weights).read_bytes()
    metrics, again = ([{**line, "seconds": 0} for line in read_metrics(run)] for run in (tmp_path / "a", same))
    assert metrics == again
    assert sorted(path.name for path in same.iterdir()) == FILES  # no videos without a before / after
    assert (same / "heldout.txt").read_text() == ""


def test_prompts_from_stdin_and_a_record(ivideo, small_training, tmp_path: Path) -> None:
    result = ivideo(
        *("finetune", "-", "--model", "emoji-world", "--max-steps", 1, "--batch-size", 1, "--no-eval", *small_training),
        *("-o", tmp_path / "run", "--format", "jsonl"),
        input="a cat\n# no\n",
    )
    assert json.loads(result.stdout)["run"] == str(tmp_path / "run")
    assert (tmp_path / "run" / "prompts.txt").read_text() == "a cat\n"


def test_a_training_that_diverges_stops_with_the_last_good_state(
    ivideo, prompts: Path, small_training, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    flags = ("--no-eval", "--learning-rate", 1e30, "--num-warmup-steps", 0, "--max-bad-steps", 2, "--max-steps", 9)
    result = ivideo("finetune", prompts, *SHORT, *small_training, *flags, "-o", run)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.splitlines()[-1] == (
        "error: 2 steps in a row, up to step 3, had no finite loss and gradient: lower --learning-rate (now 1e+30) or "
        f"set --max-grad-norm and start anew; the last good state is kept in {run / 'checkpoints' / 'step_00003'}"
    )
    assert "warning: step 2 is left out: its loss or gradient is no finite number" in result.stderr.splitlines()
    metrics = read_metrics(run)
    assert [(line["loss"] is None, line["num_skipped"]) for line in metrics] == [(False, 0), (True, 1), (True, 2)]
    assert not (run / "adapter").exists()
    result = ivideo("generate", "a pig", "--lora", run, "-o", tmp_path / "videos")
    assert (result.exit_code, (tmp_path / "videos").exists()) == (1, False)
    assert "has no adapter yet" in result.stderr
