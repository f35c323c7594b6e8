"""`--unet FILE` as a user meets it: the authors' U-Net and LoRA in generate, compare and finetune."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ivideo.models.unet3d.authors_weights import read_authors_lora, read_unet_file
from ivideo.models.unet3d.load import load_network
from ivideo.video.reader import read_video

REWARD = ("--reward", "emoji-preference", "--dtype", "float32", "--quiet")


@pytest.fixture
def flags(authors_folder: Path, small: list[str]) -> tuple[str, ...]:
    return ("--model", str(authors_folder), *small, *REWARD)


@pytest.fixture(scope="module")
def continued(ivideo, authors_folder: Path, authors_file: Path, small_training, tmp_path_factory) -> Path:
    """The folder of a run of one step that started from the authors' file; leave it as it is."""
    root = tmp_path_factory.mktemp("continued")
    (root / "p.txt").write_text("a cat\na dog\n")
    sizes = (
        "--max-steps",
        1,
        "--batch-size",
        1,
        "--gradient-accumulation",
        1,
        "--learning-rate",
        1e-3,
        "--num-warmup-steps",
        0,
    )
    base = ("--model", authors_folder, "--unet", authors_file)
    result = ivideo("finetune", root / "p.txt", *base, *sizes, *small_training, *REWARD, "-o", root / "run")
    assert result.exit_code == 0, result.stderr
    return root / "run"


def test_generate_uses_the_lora_that_the_file_brings(
    ivideo, flags, tmp_path: Path, authors_file: Path, authors_base_file: Path
) -> None:
    frames = {}
    for name, more in {
        "own": (),
        "base": ("--unet", authors_base_file),
        "off": ("--unet", authors_file, "--lora-scale", 0),
        "on": ("--unet", authors_file),
        "lora": ("--lora", authors_file),
        "pair": ("--lora", authors_file, "--unet", authors_base_file),
    }.items():
        result = ivideo("generate", "a cat", *flags, *more, "-o", tmp_path / f"{name}.mp4")
        assert result.exit_code == 0, result.stderr
        frames[name] = read_video(tmp_path / f"{name}.mp4").frames
    assert np.array_equal(frames["off"], frames["base"])
    assert np.array_equal(frames["lora"], frames["on"])
    assert np.array_equal(frames["pair"], frames["on"])
    assert not np.array_equal(frames["on"], frames["base"])
    assert not np.array_equal(frames["base"], frames["own"])
    metadata = read_video(tmp_path / "on.mp4").metadata
    assert (metadata["unet"], metadata["adapter"], metadata["lora_scale"]) == (str(authors_file), str(authors_file), 1)


def test_compare_shows_it_off_and_on(ivideo, flags, tmp_path: Path, authors_file: Path, authors_folder: Path) -> None:
    (tmp_path / "p.txt").write_text("a cat\n")
    ivideo("generate", "a cat", *flags, "--unet", authors_file, "-o", tmp_path / "on" / "x.mp4")
    result = ivideo("compare", "base", authors_file, "--prompts", tmp_path / "p.txt", *flags, "--format", "json")
    assert result.exit_code == 0, result.stderr
    compared = json.loads(result.stdout)
    assert [one["settings"]["unet"] for one in compared["contestants"]] == [str(authors_file)] * 2
    assert compared["comparisons"][0]["difference"] != 0
    # A model that is named keeps its own U-Net; a file takes the model from the other side.
    named = ivideo("compare", authors_folder, tmp_path / "on", *flags[2:], "--format", "json")
    assert named.exit_code == 0, named.stderr
    other = json.loads(named.stdout)
    assert other["contestants"][0]["settings"]["unet"] is None
    assert other["rows"][0]["clips"][1]["scores"] == compared["rows"][0]["clips"][1]["scores"]


def test_training_goes_on_from_the_lora_and_remembers_the_file(
    ivideo, continued: Path, authors_file: Path, authors_folder: Path, tmp_path: Path, small
) -> None:
    assert f'unet = "{authors_file}"\n' in (continued / "config.toml").read_text()
    assert json.loads((continued / "summary.json").read_text())["unet"] == str(authors_file)
    assert read_unet_file(continued / "adapter") == str(authors_file)
    unet = load_network(str(authors_folder), str(authors_folder), None)
    _, start = read_authors_lora(unet, authors_file)
    trained = {
        name.removeprefix("base_model.model."): weight
        for name, weight in load_file(continued / "adapter" / "adapter_model.safetensors").items()
    }
    assert trained.keys() == start.keys()
    moved = max((trained[name] - start[name]).abs().max().item() for name in start)
    assert moved == pytest.approx(1e-3, rel=0.01)  # a first step of AdamW moves by the learning rate
    videos = continued / "videos"
    before, after = (read_video(videos / f"00_a-cat_{moment}.mp4").metadata for moment in ("before", "after"))
    assert (before["adapter"], after["adapter"]) == (str(authors_file), str(continued / "best"))
    for lora in (continued, continued / "adapter"):
        result = ivideo("generate", "a cat", "--lora", lora, *small, *REWARD, "-o", tmp_path)
        assert result.exit_code == 0, result.stderr
        assert read_video(Path(result.stdout.strip())).metadata["unet"] == str(authors_file)


def test_the_clips_are_the_base_s(
    ivideo, continued: Path, authors_base_file: Path, tmp_path: Path, small_training
) -> None:
    sizes = ("--max-steps", 1, "--batch-size", 1, "--no-eval")
    base = ("--config", continued / "config.toml", "--unet", authors_base_file)
    result = ivideo("finetune", continued / "prompts.txt", *base, *sizes, "--quiet", "-o", tmp_path / "run")
    assert result.exit_code == 0, result.stderr
    mine, theirs = (load_file(next((run / "clips").iterdir()))["latents"] for run in (tmp_path / "run", continued))
    assert torch.equal(mine, theirs)


CASES = [
    ("generate 'a cat' --unet missing.pth", 2, "missing.pth: no such file"),
    ("generate 'a cat' --unet .", 2, "is a folder; give a file"),
    ("generate 'a cat' --unet words.pth", 1, "words.pth is no checkpoint of torch"),
    ("generate 'a cat' --unet cut.pth", 1, "cut.pth is truncated or no checkpoint of torch"),
    ("generate 'a cat' --unet $FILE --model emoji-world", 1, "does not fit the model's U-Net"),
    ("generate 'a cat' --unet $BASE --lora-scale 0.5", 2, "--lora-scale without --lora"),
    ("generate 'a cat' --lora $BASE", 1, "base.pth brings no LoRA"),
    ("finetune p.txt --unet missing.pth", 2, "missing.pth: no such file"),
    ("finetune p.txt --unet words.pth", 1, "words.pth is no checkpoint of torch"),
    ("finetune p.txt --unet $FILE --lora-rank 8", 2, "lora_rank 8, lora_alpha 4: training goes on from the LoRA in"),
    ("compare base $BASE --prompts p.txt", 1, "base.pth brings no LoRA"),
    ("compare base missing.pth --prompts p.txt", 2, "unknown model 'missing.pth'"),
]


@pytest.mark.parametrize(("command", "code", "message"), CASES, ids=[case[0] for case in CASES])
def test_wrong_files_are_told_in_one_line(
    ivideo, flags, tmp_path: Path, monkeypatch, authors_file: Path, authors_base_file: Path, command, code, message
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("words.pth").write_text("no weights\n")
    Path("cut.pth").write_bytes(authors_file.read_bytes()[:-1000])
    Path("p.txt").write_text("a cat\na dog\n")
    before = sorted(Path().iterdir())
    words = [word.strip("'") for word in command.replace("'a cat'", "a_cat").split()]
    words = [{"$FILE": str(authors_file), "$BASE": str(authors_base_file)}.get(word, word) for word in words]
    result = ivideo(words[0], *([] if "--model" in words else flags[:2]), *words[1:], *flags[2:])
    assert (result.exit_code, result.stdout) == (code, "")
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert sorted(Path().iterdir()) == before
