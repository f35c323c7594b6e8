"""Videos on their way to the judge: opened one by one, read once, and handed on a few frames at a time."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from ivideo.config.settings import ScoreSettings
from ivideo.errors import IvideoError
from ivideo.io.video_reader import VideoReader, open_video
from ivideo.metrics.temporal import TemporalMeter
from ivideo.workflows.judging import MAX_BATCH_BYTES, Frame, JudgedClip, plan_clip

MAX_PART_BYTES = MAX_BATCH_BYTES // 2


@dataclass
class VideoToScore:
    """A video and what is known of it so far.

    Attributes:
        path: its file or folder.
        prompt: what it should show; None until it is known.
        reader: once it was opened.
        clip: its frames before the judge, once their number is known.
        figures: what it does over time, once it was read.
        error: why it can't be scored, in one line.
    """

    path: Path
    prompt: str | None = None
    reader: VideoReader | None = None
    clip: JudgedClip | None = None
    figures: dict[str, float] | None = None
    error: str | None = None


@dataclass(frozen=True)
class Part:
    """Some frames of a video that the judge is to see, by their index; the last part of a video may have none."""

    video: VideoToScore
    frames: list[tuple[int, Frame]] = field(default_factory=list)
    is_last: bool = False


def read_parts(videos: Sequence[VideoToScore], settings: ScoreSettings) -> Generator[Part, None, None]:
    """Read videos in their order; one that can't be scored gets an `error`, and the next one follows.

    Args:
        videos: what to read; they are filled in as more becomes known of them.
        settings: segments, how many frames the judge sees, and whether to read all.

    Yields:
        The frames that the judge is to see, ascending, in parts of at most `batch_size` and of bounded size.
    """
    for video in videos:
        try:
            yield from _read_video(video, settings)
        except IvideoError as error:
            video.error = " ".join(str(error).split())
        yield Part(video, is_last=True)


def _read_video(video: VideoToScore, settings: ScoreSettings) -> Generator[Part, None, None]:
    video.reader = reader = open_video(video.path)
    if video.prompt is None:
        video.prompt = find_prompt(reader)
    num_frames, frames = count_frames(reader)
    if not num_frames:
        raise IvideoError(f"{video.path} has no frames")
    max_frames = settings.max_curve_frames if settings.temporal else 0
    video.clip = plan_clip(video.prompt, num_frames, settings.num_segments, max_frames)
    meter = TemporalMeter(reader.fps) if settings.temporal else None
    wanted, last = {*video.clip.frame_indices}, video.clip.frame_indices[-1]
    part: list[tuple[int, Frame]] = []
    num_read = 0
    for index, frame in enumerate(frames):
        num_read += 1
        if meter:
            meter.add(frame)
        if index in wanted:
            part.append((index, frame))
        if len(part) == settings.batch_size or len(part) * frame.nbytes >= MAX_PART_BYTES:
            yield Part(video, part)
            part = []
        if index == last and meter is None:
            break
    if num_read <= last:
        raise IvideoError(f"{video.path} is truncated or damaged: {num_read} of its {num_frames} frames can be read")
    yield Part(video, part)
    video.figures = meter.figures() if meter else None


def find_prompt(reader: VideoReader) -> str:
    """What a video says that it should show.

    Raises:
        IvideoError: it says nothing.
    """
    prompt = reader.metadata.get("prompt")
    if not isinstance(prompt, str) or not prompt.strip():
        raise IvideoError(f"{reader.path} does not say its prompt: give it by --prompt")
    return prompt


def count_frames(reader: VideoReader) -> tuple[int, Iterable[Frame]]:
    """A video's number of frames, and its frames, to be read once.

    A short video that does not announce its length is read into memory; a long one is read twice.

    Raises:
        IvideoError: damaged.
    """
    if reader.num_frames is not None:
        return reader.num_frames, reader
    frames = iter(reader)
    most = max(1, MAX_PART_BYTES // (reader.height * reader.width * 3))
    kept = list(islice(frames, most))
    if len(kept) < most:
        return len(kept), kept
    num_frames = len(kept)
    del kept
    return num_frames + sum(1 for _ in frames), reader
