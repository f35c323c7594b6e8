"""`ivideo generate` as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import ivideo as ivideo_package
from ivideo.models.devices import choose_device, choose_dtype
from ivideo.video.reader import read_video

MODEL = ("--model", "emoji-world")


def test_prints_paths_and_nothing_else(ivideo, small, tmp_path: Path) -> None:
    result = ivideo("generate", "a cat surfing", "a dog", "--num-videos", 2, *MODEL, *small, "-o", tmp_path)
    names = ["a-cat-surfing_seed0", "a-cat-surfing_seed1", "a-dog_seed0", "a-dog_seed1"]
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [str(tmp_path / f"{name}.mp4") for name in names]
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{name}.mp4" for name in names]
    assert [line.split()[:2] for line in result.stderr.splitlines()] == [["videos", "0/4"], ["videos", "4/4"]]


def test_same_seed_same_bytes_whatever_stands_beside_it(ivideo, small, tmp_path: Path) -> None:
    ivideo("generate", "a cat", "--num-videos", 2, *MODEL, *small, "-o", tmp_path / "a")
    ivideo("generate", "a dog", "a cat", *MODEL, *small, "-o", tmp_path / "b")
    ivideo("generate", "a cat", "--seed", 1, *MODEL, *small, "-o", tmp_path / "b")
    first, second = ((tmp_path / "a" / f"a-cat_seed{seed}.mp4").read_bytes() for seed in (0, 1))
    assert first == (tmp_path / "b" / "a-cat_seed0.mp4").read_bytes()
    assert second == (tmp_path / "b" / "a-cat_seed1.mp4").read_bytes()
    assert first != second


def test_metadata_says_how_to_make_it_again(ivideo, small, tmp_path: Path, trained_run: Path) -> None:
    output = tmp_path / "x.mp4"
    flags = ("--seed", 7, "--guidance-scale", 2, "--negative-prompt", "a cow", "--height", 32, "--fps", 4)
    ivideo("generate", "a cat surfing", "--lora", trained_run, "--lora-scale", 0.5, *small, *flags, "-o", output)
    video = read_video(output)
    assert video.frames.shape == (4, 32, 64, 3)
    assert video.fps == 4
    hashes = [video.metadata.pop(name) for name in ("adapter_hash", "recipe")]
    assert [len(digest) for digest in hashes] == [64, 64]
    device = choose_device("auto")
    assert video.metadata == {
        "prompt": "a cat surfing",
        "seed": 7,
        "model": "emoji-world",
        "unet": None,
        "adapter": str(trained_run / "best"),
        "lora_scale": 0.5,
        "negative_prompt": "a cow",
        "num_frames": 4,
        "height": 32,
        "width": 64,
        "fps": 4.0,
        "num_inference_steps": 2,
        "guidance_scale": 2.0,
        "dtype": str(choose_dtype("auto", device)).removeprefix("torch."),
        "device": device.type,
        "ivideo_version": ivideo_package.__version__,
    }


def test_gif_has_a_sidecar(ivideo, small, tmp_path: Path) -> None:
    result = ivideo("generate", "a cat", *MODEL, *small, "-o", tmp_path / "new" / "x.gif", "--format", "json")
    assert json.loads(result.stdout) == [{"path": str(tmp_path / "new" / "x.gif"), "prompt": "a cat", "seed": 0}]
    assert json.loads((tmp_path / "new" / "x.json").read_text())["prompt"] == "a cat"
    assert len(read_video(tmp_path / "new" / "x.gif").frames) == 4


def test_prompts_come_from_arguments_file_and_stdin(ivideo, small, tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text('# pets\n{"prompt": "a dog", "negative_prompt": "fog", "seed": 4}\n{"prompt": "a dog"}\n')
    result = ivideo("generate", "a cat", "-", "--prompts", path, *MODEL, *small, "-o", tmp_path, input="a cow\n")
    paths = [Path(line) for line in result.stdout.split()]
    assert [path.stem for path in paths] == ["a-cat_seed0", "a-cow_seed0", "a-dog_seed4", "a-dog_seed0"]
    assert [read_video(path).metadata["negative_prompt"] for path in paths] == ["", "", "fog", ""]
    assert result.stderr.startswith(f"{path}: 1 comment line left out\n")


def test_a_prompt_that_is_a_file_s_name_is_refused(ivideo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("eight.txt").write_text("a cat\n")
    result = ivideo("generate", "eight.txt", *MODEL)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("error: prompt 'eight.txt' is the name of a file: give it by --prompts; ")
    result = ivideo("score", "a.mp4", "--prompt", "eight.txt", *MODEL)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("error: prompt 'eight.txt' is the name of a file: say the words")


def test_prompts_with_one_slug_get_files_of_their_own(ivideo, small, tmp_path: Path) -> None:
    result = ivideo("generate", "a cat", "A cat!", *MODEL, *small, "-o", tmp_path)
    paths = [Path(line) for line in result.stdout.split()]
    assert [path.name for path in paths] == ["a-cat_seed0.mp4", "a-cat_seed0_2.mp4"]
    assert [read_video(path).metadata["prompt"] for path in paths] == ["a cat", "A cat!"]


def test_unread_words_and_ends_are_named(ivideo, small, tmp_path: Path) -> None:
    long = "a cat " * 60
    result = ivideo("generate", "a cat in Kathmandu", long, *MODEL, *small, "-o", tmp_path)
    warnings = [line for line in result.stderr.splitlines() if line.startswith("warning: ")]
    assert result.exit_code == 0
    assert len(warnings) == 2
    assert warnings[0].endswith("emoji-world does not know: Kathmandu")
    assert "cut to " in warnings[1]
    assert "warning" not in result.stdout


def test_lora_scale(ivideo, small, tmp_path: Path, trained_run: Path) -> None:
    for name, flags in {"base": (), "none": ("--lora-scale", 0), "full": ("--lora-scale", 1)}.items():
        lora = ("--lora", trained_run) if flags else ()
        ivideo("generate", "a pig", *lora, *flags, *MODEL, *small, "-o", tmp_path / f"{name}.mp4")
    base, none, full = (read_video(tmp_path / f"{name}.mp4").frames for name in ("base", "none", "full"))
    assert np.array_equal(base, none)
    assert not np.array_equal(base, full)


def test_a_run_brings_model_and_settings(ivideo, tmp_path: Path, trained_run: Path) -> None:
    result = ivideo("generate", "a pig", "--lora", trained_run, "-o", tmp_path)
    assert result.stdout == f"{tmp_path / 'a-pig_seed0_mine.mp4'}\n"
    metadata = read_video(tmp_path / "a-pig_seed0_mine.mp4").metadata
    assert (metadata["num_frames"], metadata["num_inference_steps"], metadata["guidance_scale"]) == (4, 2, 7.5)


def test_flags_win_over_the_file(ivideo, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text('model = "emoji-world"\nnum-frames = 5\nnum_inference_steps = 2\nseed = 3\n')
    ivideo("generate", "a pig", "--config", tmp_path / "c.toml", "--num-frames", 4, "-o", tmp_path)
    metadata = read_video(tmp_path / "a-pig_seed3.mp4").metadata
    assert (metadata["num_frames"], metadata["num_inference_steps"]) == (4, 2)


@pytest.mark.parametrize(
    ("format", "lines"),
    [
        ("tsv", ["path\tprompt\tseed", "{path}\ta pig\t0"]),
        ("jsonl", ['{{"path": "{path}", "prompt": "a pig", "seed": 0}}']),
    ],
)
def test_formats(ivideo, small, tmp_path: Path, format: str, lines: list[str]) -> None:
    result = ivideo("generate", "a pig", *MODEL, *small, "-o", tmp_path / "x.mp4", "--format", format)
    assert result.stdout.splitlines() == [line.format(path=tmp_path / "x.mp4") for line in lines]


def test_auto_is_said_unless_quiet(ivideo, small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert "model: emoji-world\n" in ivideo("generate", "a pig", *small, "-o", tmp_path).stderr
    assert ivideo("generate", "a pig in Kathmandu", *small, "-o", tmp_path, "--quiet").stderr == ""
    monkeypatch.setenv("IVIDEO_MODEL", "emoji-world")
    assert "model:" not in ivideo("generate", "a pig", *small, "-o", tmp_path).stderr


def test_reward_scores_each_video(ivideo, small, tmp_path):
    output = tmp_path / "x.mp4"
    flags = ["--reward", "emoji-preference", "--format", "json"]
    [record] = json.loads(ivideo("generate", "a pig", *MODEL, *small, "-o", output, *flags).stdout)
    assert set(record) == {"path", "prompt", "seed", "reward", "rewards", "judge", "judges"}
    assert (record["rewards"], record["judge"]) == (
        {"emoji-preference": record["reward"]},
        "emoji preference (simulated)",
    )
    scored = json.loads(ivideo("score", output, "--format", "json").stdout)[0]
    assert record["reward"] == pytest.approx(scored["reward"], abs=0.05)  # H.264 lies between the two
