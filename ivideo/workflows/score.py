"""`ivideo score`: how much people would like a video, and whether it still moves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ivideo.config.settings import Settings
from ivideo.errors import IvideoError
from ivideo.io.video import Video, read_video
from ivideo.models.judges import load_judge
from ivideo.models.registry import choose_device
from ivideo.workflows.progress import Progress, Silence
from ivideo.workflows.scoring import score_clip

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class ReadyVideo:
    """A video file that was read, and the prompt that it is judged by."""

    path: Path
    prompt: str
    video: Video


def read_scored_video(path: Path, prompt: str | None) -> ReadyVideo:
    """Read a video; its prompt is the given one, else the one in its metadata or sidecar.

    Raises:
        IvideoError: it cannot be read, or nothing says what it should show.
    """
    video = read_video(path)
    prompt = prompt or video.metadata.get("prompt")
    if not isinstance(prompt, str) or not prompt.strip():
        raise IvideoError(f"{path} does not say its prompt: give it by --prompt")
    return ReadyVideo(path, prompt, video)


def hint_model(path: Path) -> str | None:
    """The model that a video says it was made by; None when it does not say or cannot be read."""
    try:
        model = read_video(path).metadata.get("model")
    except IvideoError:
        return None
    return model if isinstance(model, str) else None


def score(
    paths: Sequence[Path], settings: Settings, *, prompt: str | None = None, progress: Progress | None = None
) -> Iterator[dict[str, Any]]:
    """Score video files, one record each as soon as it is known.

    Every file is looked at before the first is scored, so that a bad one stops the command before any work.

    Args:
        paths: .mp4 or .gif files.
        settings: judge, segments, attenuation, device.
        prompt: what all of them should show; default: what each says of itself.
        progress: is told what happens.

    Yields:
        schema_version, path, prompt, reward, rewards, attenuated_reward, frame_indices, frame_rewards, motion, flicker,
        judge (how the reward is to be read).

    Raises:
        IvideoError: a file that cannot be read, or without a prompt.
    """
    progress = progress or Silence()
    for path in paths:
        read_scored_video(path, prompt)
    judge = load_judge(settings.reward, choose_device(settings.device))
    progress.start("scoring", len(paths))
    for path in paths:
        ready = read_scored_video(path, prompt)
        result = score_clip(
            judge,
            ready.video.frames,
            ready.prompt,
            num_segments=settings.num_segments,
            attenuation_rate=settings.attenuation_rate,
        )
        progress.advance(path.name)
        yield {
            "schema_version": SCHEMA_VERSION,
            "path": str(path),
            "prompt": ready.prompt,
            **asdict(result),
            "judge": judge.label,
        }
