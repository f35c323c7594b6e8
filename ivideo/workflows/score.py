"""`ivideo score`: how much people would like a video, and whether it still moves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ivideo.config.settings import Settings
from ivideo.errors import IvideoError, UsageError
from ivideo.io.video import Video, read_video
from ivideo.models.judges import labels_of, load_judges
from ivideo.models.registry import choose_device
from ivideo.workflows.progress import Progress, Silence
from ivideo.workflows.scoring import check_num_frames, score_clip

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class FoundVideo:
    """A video file that can be read and scored.

    Attributes:
        path: the file.
        prompt: what it is judged by.
        num_frames: its length.
        model: the model that it says it was made by, if it does.
    """

    path: Path
    prompt: str
    num_frames: int
    model: str | None


def find_videos(paths: Sequence[Path], prompt: str | None = None) -> list[FoundVideo]:
    """Look at every file before anything is done with one, so that a bad one stops the command before any work.

    Args:
        paths: .mp4 or .gif files.
        prompt: what all of them should show; default: what each says in its metadata or sidecar.

    Raises:
        UsageError: no files, or an empty prompt.
        IvideoError: a file that cannot be read, or without a prompt.
    """
    if not paths:
        raise UsageError("no videos: give files, or paths on stdin")
    if prompt is not None and not prompt.strip():
        raise UsageError("empty prompt: say what the videos should show, or leave --prompt out")
    return [find_video(path, read_video(path), prompt) for path in paths]


def find_video(path: Path, video: Video, prompt: str | None) -> FoundVideo:
    """What is known of one file.

    Raises:
        IvideoError: nothing says what it should show.
    """
    own, model = video.metadata.get("prompt"), video.metadata.get("model")
    text = prompt or (own if isinstance(own, str) else "")
    if not text.strip():
        raise IvideoError(f"{path} does not say its prompt: give it by --prompt")
    return FoundVideo(path, text, len(video.frames), model if isinstance(model, str) else None)


def score(
    videos: Sequence[FoundVideo], settings: Settings, *, progress: Progress | None = None
) -> Iterator[dict[str, Any]]:
    """Score video files, one record each as soon as it is known.

    Args:
        videos: from `find_videos`.
        settings: judge, segments, attenuation, device.
        progress: is told what happens.

    Yields:
        schema_version, path, prompt, reward, rewards (by judge, the first one is the reward), attenuated_reward,
        frame_indices, frame_rewards, motion, flicker, judge (how the reward is to be read), judges (the same by name).

    Raises:
        IvideoError: a video with fewer frames than segments, or a judge that cannot be loaded.
    """
    progress = progress or Silence()
    for video in videos:
        check_num_frames(video.path, video.num_frames, settings)
    judge = load_judges(settings.rewards, choose_device(settings.device))
    progress.start("scoring", len(videos))
    for video in videos:
        result = score_clip(judge, read_video(video.path).frames, video.prompt, settings)
        progress.advance(video.path.name)
        yield {
            "schema_version": SCHEMA_VERSION,
            "path": str(video.path),
            "prompt": video.prompt,
            **asdict(result),
            "judge": judge.label,
            "judges": labels_of(judge),
        }
