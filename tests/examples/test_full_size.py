"""The files that the full-size run is made of, in small: the ordinary loaders read them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import open_clip
import pytest
import torch

from examples import published_sizes
from examples.full_size import TINY, run_measured, write_reward_model, write_text_to_video
from ivideo.models.families import load_model

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("full_size") / "modelscope"
    write_text_to_video(folder, TINY)
    return folder


def test_the_folder_is_a_model_that_predicts(folder: Path) -> None:
    model = load_model(str(folder), CPU, torch.bfloat16)
    latents = torch.randn(1, *model.latents_shape(4, 64, 64), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        noise_pred = model.denoiser(3.0)(latents, torch.tensor(551), model.encode_prompts(["a cat"]))
    assert 0.1 < noise_pred.std() < 10
    assert model.decode_clip(latents[0]).float().std() > 1
    assert int(model.stepper(20).timesteps[-12]) == 551


def test_the_vocabulary_is_clip_s(folder: Path) -> None:
    tokenizer = load_model(str(folder), CPU, torch.bfloat16).tokenizer
    texts = ["a cat surfing, in 4K", "Two owls' hats", "na\u00efve \U0001f600 caf\u00e9", ""]
    ours = tokenizer(texts, padding="max_length", max_length=77, return_tensors="pt").input_ids
    theirs = open_clip.get_tokenizer("ViT-H-14")(texts)
    assert torch.equal(ours, theirs)


def test_the_reward_model_is_a_checkpoint_of_open_clip(tmp_path: Path) -> None:
    vision = {**published_sizes.REWARD["vision_cfg"], "layers": 1, "width": 160}
    text = {**published_sizes.REWARD["text_cfg"], "layers": 1, "width": 32, "heads": 2}
    config = {"embed_dim": 16, "vision_cfg": vision, "text_cfg": text}
    write_reward_model(tmp_path / "hps" / "reward.pt", config)
    state = torch.load(tmp_path / "hps" / "reward.pt", weights_only=True, mmap=True)["state_dict"]
    assert {weight.dtype for weight in state.values()} == {torch.float16}
    network = open_clip.CLIP(**config)
    network.load_state_dict(state)
    images = torch.rand(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    features = network.encode_image(images)
    assert 0.01 < (features[0] - features[1]).abs().max() < 100
    assert network.encode_text(torch.ones(1, 77, dtype=torch.int64)).abs().max() > 0.01


def test_a_command_is_measured() -> None:
    (phase,) = run_measured(["--version"], os.environ)
    assert phase.seconds > 0.05
    assert phase.resident > phase.private > 2**20
    with pytest.raises(SystemExit, match=r"^ivideo --nonsense failed$"):
        run_measured(["--nonsense"], os.environ)


@pytest.mark.slow
def test_the_whole_script_in_small(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "examples.full_size", str(tmp_path / "tiny"), "--tiny"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "1 of 1 base clips: from" in done.stderr
    assert "finetune, one step" in done.stdout
    assert "score, one video" in done.stdout
    assert (tmp_path / "tiny" / "run" / "adapter" / "adapter_model.safetensors").is_file()
