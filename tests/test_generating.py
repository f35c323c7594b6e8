"""File names, seeds and the Python functions behind `ivideo generate`."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch

import ivideo
from ivideo.config.presets import PRESETS
from ivideo.config.settings import GenerationSettings
from ivideo.errors import IvideoError, UsageError
from ivideo.generating import VideoMaker, draw_initial_noise, generate_clip, open_model
from ivideo.inputs.provenance import find_provenance
from ivideo.video.names import PlannedVideo, file_stem, plan_files
from ivideo.video.reader import read_video

SMALL = {"num_frames": 4, "num_inference_steps": 2, "model": "emoji-world"}


def clips(prompts: list[str], seeds: list[int]) -> list[tuple[str, int]]:
    return list(product(prompts, seeds))


@pytest.mark.parametrize(
    ("prompt", "stem"),
    [
        ("A cat, surfing!", "a-cat-surfing"),
        ("../../etc/passwd", "etc-passwd"),
        ("кот", "кот"),
        ("🐈", "video"),
        ("x" * 80, "x" * 60),
    ],
)
def test_file_stem(prompt: str, stem: str) -> None:
    assert file_stem(prompt) == stem


def test_every_clip_gets_a_path_of_its_own() -> None:
    planned = plan_files(clips(["a cat", "a cat!"], [4, 5]), Path("out"), "mine")
    assert [(one.prompt, one.seed, one.path.name) for one in planned] == [
        ("a cat", 4, "a-cat_seed4_mine.mp4"),
        ("a cat", 5, "a-cat_seed5_mine.mp4"),
        ("a cat!", 4, "a-cat_seed4_mine_2.mp4"),
        ("a cat!", 5, "a-cat_seed5_mine_2.mp4"),
    ]


def test_a_folder_with_a_dot_that_exists_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "v1.5").mkdir()
    assert plan_files(clips(["a cat"], [0]), tmp_path / "v1.5", None)[0].path == tmp_path / "v1.5" / "a-cat_seed0.mp4"


def test_noise_depends_on_its_own_seed_only() -> None:
    both = draw_initial_noise((4, 2, 3, 3), [7, 8])
    assert torch.equal(both[1:], draw_initial_noise((4, 2, 3, 3), [8]))
    assert not torch.equal(both[0], both[1])


def test_a_file_holds_the_clip_that_the_model_makes(tmp_path: Path) -> None:
    (path,) = ivideo.generate("a cat surfing", tmp_path, seed=3, **SMALL)
    guidance_scale = PRESETS["emoji-world"]["default"]["generation_guidance_scale"]
    settings = GenerationSettings(**SMALL, reward="emoji-preference", fps=8.0, guidance_scale=guidance_scale)
    clip = generate_clip(open_model(settings), settings, "a cat surfing", 3)
    assert clip.dtype == np.uint8
    assert clip.shape == (4, 64, 64, 3)
    assert np.abs(read_video(path).frames.astype(int) - clip).mean() < 4  # H.264 at crf 12


def test_the_function_hands_each_video_on_as_it_is_written(tmp_path: Path) -> None:
    seen: list[bool] = []
    ivideo.generate(["a cat", "a dog"], tmp_path, each=lambda video: seen.append(video.path.is_file()), **SMALL)
    assert seen == [True, True]


def test_no_video_is_written_over_or_made_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = {**SMALL, "num_inference_steps": 1, "height": 32, "width": 32}
    (first,) = ivideo.generate("a cat", tmp_path, **values)
    (other,) = ivideo.generate("a cat", tmp_path, guidance_scale=2, **values)
    made = {path: path.read_bytes() for path in (first, other)}
    assert [path.name for path in made] == ["a-cat_seed0.mp4", "a-cat_seed0_2.mp4"]
    with monkeypatch.context() as no_model:
        no_model.setattr("ivideo.generating.open_model", None)  # what is there needs none
        again = ivideo.generate("a cat", tmp_path, guidance_scale=2, with_score=True, **values)
    assert again == [other]
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == made
    assert ivideo.generate("a cat", tmp_path, guidance_scale=2, overwrite=True, **values) == [first]
    assert first.read_bytes() == made[other]


def test_of_launches_at_once_each_keeps_its_videos(tmp_path: Path) -> None:
    def make(guidance_scale: float, only: Path | None = None) -> Path:
        given = GenerationSettings(reward="r", guidance_scale=guidance_scale, fps=8, **SMALL)
        maker = VideoMaker(given, None, find_provenance(given), None, frozenset({path}), only, overwrite=False)
        return maker.write(PlannedVideo("a cat", 0, path), np.full((2, 16, 16, 3), guidance_scale, np.uint8))

    path = tmp_path / "a-cat.mp4"  # planned by all of them while nothing was there
    assert [make(scale).name for scale in (1, 2, 1, 2)] == ["a-cat.mp4", "a-cat_2.mp4", "a-cat.mp4", "a-cat_2.mp4"]
    with pytest.raises(IvideoError, match="is there already"):
        make(3, only=path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a-cat.mp4", "a-cat_2.mp4"]


def test_the_function_refuses_what_the_command_refuses(tmp_path: Path) -> None:
    for wrong in ({"prompts": []}, {"prompts": "a cat", "num_videos": 0}, {"prompts": "a cat", "colour": 3}):
        with pytest.raises(UsageError):
            ivideo.generate(**{"output": tmp_path / "new", **SMALL, **wrong})
    assert not (tmp_path / "new").exists()
