"""The numbers of `ivideo score` against the frames that a file was made from, and against answers known by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from ivideo.config.settings import Settings
from ivideo.metrics.registry import METRICS
from ivideo.rewards.registry import load_rewards
from ivideo.scoring.clips import ClipScore, frames_to_tensor, score_clip
from ivideo.video.reader import read_video
from ivideo.video.writer import write_video

PROMPT = "a cat surfing"
LOSSLESS = {
    "mkv": "-c:v ffv1 -pix_fmt bgr0",
    "avi": "-c:v ffv1 -pix_fmt bgr0",
    "mov": "-c:v png -pix_fmt rgb24",
    "mp4": "-c:v libx264rgb -qp 0 -pix_fmt rgb24",
    "webm": "-c:v libvpx-vp9 -lossless 1 -pix_fmt gbrp",
    "frames": "",
}
FRAMES = ("rewards", "frame_indices", "frame_rewards")


@pytest.fixture(scope="module")
def rewards():
    return load_rewards("emoji-preference", torch.device("cpu"))


@pytest.fixture(scope="module")
def score(ivideo) -> Callable[..., dict[str, Any]]:
    """`score(path, *flags)`: the record of a video."""

    def run(path: Path, *flags: object) -> dict[str, Any]:
        flags = ("--prompt", PROMPT, "--model", "emoji-world", "--attenuation-rate", 1, "--num-segments", 4, *flags)
        result = ivideo("score", path, *flags)
        assert result.exit_code == 0, result.stderr
        return json.loads(result.stdout)

    return run


def make_moving_texture(pixels: int, num_frames: int = 9, side: int = 64) -> np.ndarray:
    """Blurred noise in colour that moves to the right by `pixels` a frame."""
    noise = np.random.default_rng(0).uniform(0, 255, (side, 3 * side, 3))
    texture = cv2.normalize(cv2.GaussianBlur(noise, (0, 0), 2), None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    return np.stack([texture[:, side - pixels * i : 2 * side - pixels * i] for i in range(num_frames)])


def write_lossless(folder: Path, frames: np.ndarray, run_ffmpeg, kind: str = "mkv", fps: float = 8) -> Path:
    height, width = frames.shape[1:3]
    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", fps, "-i", "-"]
    path = folder / ("frames" if kind == "frames" else f"a.{kind}")
    if kind == "frames":
        path.mkdir()
    run_ffmpeg(*source, *LOSSLESS[kind].split(), path / "%d.png" if kind == "frames" else path, input=frames.tobytes())
    return path


def score_in_memory(rewards, frames: np.ndarray, fps: float = 8) -> ClipScore:
    settings = Settings(model="emoji-world", reward="emoji-preference")
    return score_clip(rewards, frames, PROMPT, settings, fps=fps, max_curve_frames=64)


@pytest.mark.parametrize("kind", LOSSLESS)
def test_a_file_without_loss_scores_exactly_as_its_frames(score, rewards, tmp_path, run_ffmpeg, kind: str) -> None:
    frames = make_moving_texture(2)
    record = score(write_lossless(tmp_path, frames, run_ffmpeg, kind))
    expected = score_in_memory(rewards, frames)
    assert {name: record[name] for name in METRICS} == expected.figures
    assert [record[name] for name in FRAMES] == [getattr(expected, name) for name in FRAMES]


def test_another_rate_changes_dynamic_degree_alone(score, tmp_path, run_ffmpeg) -> None:
    """1 pixel a frame is below 1.5 pixels in 1/8 second at 8 frames per second, and above at 16."""
    slow, fast = (
        score(write_lossless(tmp_path, make_moving_texture(1), run_ffmpeg, kind, fps))
        for kind, fps in (("mkv", 8), ("mov", 16))
    )
    assert {name for name in (*METRICS, *FRAMES) if slow[name] != fast[name]} == {"dynamic_degree", "is_dynamic"}
    assert (slow["fps"], slow["dynamic_degree"], slow["is_dynamic"]) == (8, 0, False)
    assert (fast["fps"], fast["dynamic_degree"], fast["is_dynamic"]) == (16, 1, True)


def test_an_mp4_scores_as_its_frames_but_for_what_its_coding_loses(score, rewards, base_videos, tmp_path) -> None:
    """CRF 12 loses 1 to 2 grey levels of 255; no number may change by more than that error explains."""
    frames = read_video(min(base_videos.iterdir())).frames
    record = score(write_video(tmp_path / "a.mp4", frames, 8, {}))
    expected = score_in_memory(rewards, frames)
    coded = read_video(tmp_path / "a.mp4").frames
    error = np.abs(coded.astype(float) - frames).mean()
    assert 0 < error < 4

    pixels = frames_to_tensor(frames[expected.segment_indices])[None].requires_grad_()
    (gradient,) = torch.autograd.grad(rewards.models[rewards.name].score(pixels, [PROMPT]).mean(), pixels)
    change = (frames_to_tensor(coded[expected.segment_indices])[None] - pixels).abs()
    explained = (gradient.abs() * change).sum().item()  # to first order, were every pixel's error the worst one
    assert abs(record["reward"] - expected.reward) <= min(explained, 0.05)
    assert record["frame_rewards"] == pytest.approx(expected.frame_rewards, abs=0.08)
    for name in ("flicker", "motion_smoothness_proxy"):  # a difference of two frames has both frames' errors
        assert abs(record[name] - expected[name]) <= 2 * error / 255
    assert record["motion"] == pytest.approx(expected["motion"], abs=0.1)
    assert record["consistency"] == pytest.approx(expected["consistency"], abs=0.02)


def test_a_frozen_clip_looks_perfect_but_for_its_motion(score, tmp_path, run_ffmpeg) -> None:
    record = score(write_lossless(tmp_path, make_moving_texture(0), run_ffmpeg))
    assert [record[name] for name in ("flicker", "motion_smoothness_proxy", "dynamic_degree")] == [1, 1, 0]
    assert record["consistency"] == pytest.approx(1, abs=1e-6)
    assert record["is_dynamic"] is False
    assert record["motion"] == pytest.approx(0, abs=0.01)
    assert record["reward"] == pytest.approx(record["frame_rewards"][0], abs=1e-5)


def test_a_flickering_clip_by_hand(score, tmp_path, run_ffmpeg) -> None:
    """0 and 255 by turns differ by 255 in each pair, and each is 255 from the mean of its neighbours."""
    frames = np.zeros((9, 64, 64, 3), np.uint8)
    frames[1::2] = 255
    record = score(write_lossless(tmp_path, frames, run_ffmpeg))
    assert (record["flicker"], record["motion_smoothness_proxy"]) == (0, 0)
    assert record["frame_rewards"][0] == pytest.approx(record["frame_rewards"][2], abs=1e-6)
    assert record["frame_rewards"][0] != pytest.approx(record["frame_rewards"][1], abs=1e-3)


def test_an_even_fade_by_hand(score, tmp_path, run_ffmpeg) -> None:
    """10 levels a frame: 1 - 10 / 255 in flickering; each frame is the mean of its neighbours."""
    frames = np.broadcast_to(10 * np.arange(9, dtype=np.uint8)[:, None, None, None], (9, 64, 64, 3)).copy()
    record = score(write_lossless(tmp_path, frames, run_ffmpeg))
    assert record["flicker"] == pytest.approx(1 - 10 / 255, abs=1e-12)
    assert record["motion_smoothness_proxy"] == 1


@pytest.mark.parametrize("pixels", [1, 2, 3])
def test_a_constant_shift_is_its_motion(score, tmp_path, run_ffmpeg, pixels: int) -> None:
    record = score(write_lossless(tmp_path, make_moving_texture(pixels), run_ffmpeg))
    assert record["motion"] == pytest.approx(pixels, rel=0.15)
    assert record["dynamic_degree"] == (0 if pixels == 1 else 1)


def test_clips_of_any_size_and_length(score, tmp_path, run_ffmpeg) -> None:
    for number, shape in enumerate(((1, 2, 2), (2, 50, 34), (70, 8, 200))):
        (tmp_path / str(number)).mkdir()
        frames = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
        record = score(write_lossless(tmp_path / str(number), frames, run_ffmpeg))
        assert (record["num_frames"], record["height"], record["width"]) == shape
        assert len(record["frame_rewards"]) == min(shape[0], 64)
