"""Clips of an earlier run: taken over where they are what this run would make, refused where not."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save, save_file

from ivideo.config.merge import read_run_settings
from ivideo.config.settings import FinetuneSettings
from ivideo.errors import IvideoError
from ivideo.files.run_folder import RunFolder
from ivideo.inputs.prompts import Prompt, identify
from ivideo.training.clips import find_clips, read_latents

PROMPTS = ["a dog running", "an owl", "a cat surfing"]


@pytest.fixture
def settings(trained_run: Path) -> FinetuneSettings:
    return read_run_settings(RunFolder(trained_run))


@pytest.fixture
def broken_run(trained_run: Path, tmp_path: Path) -> Path:
    """A copy of a run, to be broken."""
    return Path(shutil.copytree(trained_run, tmp_path / "broken"))


def test_clips_are_found_by_prompt(trained_run: Path, settings: FinetuneSettings) -> None:
    found = find_clips(trained_run, PROMPTS, settings.model_copy(update={"seed": 7, "learning_rate": 1.0}))
    assert {key: path.stem for key, path in found.items()} == {
        identify(prompt): f"{place:05d}" for place, prompt in enumerate(("a cat surfing", "a dog running", "a cow"))
    }
    with pytest.raises(IvideoError, match=r"has no clip of these prompts$"):
        find_clips(trained_run, [Prompt(prompt, "fog") for prompt in PROMPTS], settings)


def test_other_settings_are_named(trained_run: Path, settings: FinetuneSettings) -> None:
    other = settings.model_copy(update={"generation_guidance_scale": 2.0, "negative_prompt": "fog"})
    with pytest.raises(IvideoError) as caught:
        find_clips(trained_run, PROMPTS, other)
    assert str(caught.value) == (
        f"`clips` {trained_run}: its clips have negative_prompt '', not 'fog'; generation_guidance_scale 7.5, not 2.0"
    )


def test_no_run_and_no_clip_of_the_prompts(trained_run: Path, settings: FinetuneSettings, tmp_path: Path) -> None:
    with pytest.raises(IvideoError, match="neither a run folder"):
        find_clips(tmp_path, PROMPTS, settings)
    with pytest.raises(IvideoError, match=r"has no clip of these prompts$"):
        find_clips(trained_run, ["an owl"], settings)


def test_a_run_takes_over_clips_and_makes_the_others(ivideo, trained_run: Path, small_training, tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("\n".join(PROMPTS))
    run = tmp_path / "run"
    result = ivideo(
        *("finetune", tmp_path / "p.txt", "--model", "emoji-world", *small_training, "--no-eval", "--seed", 3),
        *("--max-steps", 1, "--batch-size", 3, "--gradient-accumulation", 3, "--clips", trained_run, "-o", run),
    )
    assert result.exit_code == 0, result.stderr
    assert f"2 of 3 base clips: from {trained_run}\n" in result.stderr
    for item, earlier in ((0, 1), (2, 0)):
        ours, theirs = (
            folder / "clips" / f"{i:05d}.safetensors" for folder, i in ((run, item), (trained_run, earlier))
        )
        assert ours.read_bytes() == theirs.read_bytes()
    assert load_file(run / "clips" / "00001.safetensors")["latents"].shape == (8, 4, 8, 8)


@pytest.mark.parametrize("content", [None, b"", b"{", save({"z": torch.zeros(1)})])
def test_latents_that_cannot_be_read_are_one_line(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "00000.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(IvideoError, match=f"^clip {path} is damaged: [^\n]+$"):
        read_latents(path, (1,))


@pytest.mark.parametrize(
    ("latents", "message"),
    [
        (torch.zeros(0), "has F32 latents of the shape (0,), not F32 ones of (2, 3); remove it"),
        (torch.zeros(2, 3, dtype=torch.int64), "has I64 latents of the shape (2, 3), not F32 ones"),
        (torch.tensor([[0, 1, torch.nan]] * 2), "has latents that are no finite numbers; remove it"),
        (torch.full((2, 3), -torch.inf), "has latents that are no finite numbers; remove it"),
    ],
)
def test_latents_of_no_clip_are_one_line(tmp_path: Path, latents: torch.Tensor, message: str) -> None:
    save_file({"latents": latents}, tmp_path / "00000.safetensors")
    with pytest.raises(IvideoError, match=re.escape(message)):
        read_latents(tmp_path / "00000.safetensors", (2, 3))


@pytest.mark.parametrize(
    ("break_clip", "message"),
    [
        (lambda path: path.write_bytes(b"{"), "clip {path} is damaged: "),
        (
            lambda path: save_file({"latents": torch.zeros(8, 2, 8, 8)}, path, {"prompt": "a cat surfing"}),
            "clip {path} has F32 latents of the shape (8, 2, 8, 8), not F32 ones of (8, 4, 8, 8)",
        ),
        (lambda path: save_file({"z": torch.zeros(1)}, path, {"prompt": "a cat surfing"}), "clip {path} is damaged: "),
    ],
)
def test_a_bad_clip_is_one_line(ivideo, broken_run: Path, small_training, tmp_path: Path, break_clip, message) -> None:
    path = broken_run / "clips" / "00000.safetensors"
    break_clip(path)
    result = ivideo(
        *("finetune", "-", "--model", "emoji-world", *small_training, "--no-eval", "--max-steps", 1),
        *("--clips", broken_run, "-o", tmp_path / "run"),
        input="a cat surfing\n",
    )
    assert result.exit_code == 1
    assert re.search(f"^error: {re.escape(message.format(path=path))}", result.stderr, re.MULTILINE)
    assert not (tmp_path / "run" / "adapter").exists()
