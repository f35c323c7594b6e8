"""`ivideo score`: how much people would like a video, and whether it still moves."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from ivideo.config.settings import ScoreSettings
from ivideo.errors import IvideoError, UsageError
from ivideo.io.find_videos import find_videos
from ivideo.io.video_reader import open_video
from ivideo.metrics.pairs import OverPairs
from ivideo.metrics.registry import measures
from ivideo.metrics.rewards import ByJudge
from ivideo.models.judges import Judge, labels_of, load_judges
from ivideo.models.registry import choose_device
from ivideo.workflows.judging import Bench
from ivideo.workflows.parallel import read_ahead
from ivideo.workflows.progress import Progress, Silence
from ivideo.workflows.video_parts import VideoToScore, read_parts

SCHEMA_VERSION = 2
NUM_PARTS_AHEAD = 2
SHAPE = ("num_frames", "fps", "width", "height")
FRAMES = ("frame_indices", "frame_rewards", "segment_indices")  # what `ClipScore` knows of single frames


def list_videos(paths: Sequence[Path | tuple[Path, str | None]], prompt: str | None = None) -> list[VideoToScore]:
    """The videos that paths mean, before any is opened.

    Args:
        paths: files, folders and patterns (see `find_videos`), each by itself or with what its videos should show.
        prompt: what all videos should show; default: what is given beside the path, else what each says of itself.

    Raises:
        UsageError: no paths, or an empty prompt.
        IvideoError: a folder that can't be read.
    """
    if not paths:
        raise UsageError("no videos: give files or folders, or paths on stdin")
    if prompt is not None and not prompt.strip():
        raise UsageError("empty prompt: say what the videos should show, or leave --prompt out")
    pairs = [path if isinstance(path, tuple) else (path, None) for path in paths]
    return [VideoToScore(found, prompt or own) for path, own in pairs for found in find_videos(path)]


def find_model(videos: Sequence[VideoToScore]) -> str | None:
    """The model that the first readable video says it was made by, if it says one."""
    for video in videos:
        with suppress(IvideoError):
            model = open_video(video.path).metadata.get("model")
            return model if isinstance(model, str) else None
    return None


def score(
    videos: Sequence[VideoToScore], settings: ScoreSettings, *, progress: Progress | None = None
) -> Iterator[dict[str, Any]]:
    """Score videos, one record each in their order, as soon as it is known.

    Videos are read in a thread of their own, a little ahead of the judge, and never held whole.

    Args:
        videos: from `list_videos`.
        settings: judge, segments, attenuation, batch size, device, and what to read.
        progress: is told what happens.

    Yields:
        schema_version, path, prompt, num_frames, fps, width, height, the fields of `ClipScore`, every metric among
        them (null where not every frame is read, for those over time), error (null), judge (how the reward is to be
        read) and judges (the same by name). Of a video that can't be scored `error` says why, and every number is null.

    Raises:
        UsageError, IvideoError: a judge that cannot be loaded, or that breaks its contract.
    """
    progress = progress or Silence()
    judge = load_judges(settings.rewards, choose_device(settings.device))
    bench = Bench(judge, settings.batch_size)
    waiting: deque[VideoToScore] = deque()  # read, but not all of their frames judged
    progress.start("scoring", len(videos))
    with closing(read_ahead(read_parts(videos, settings), NUM_PARTS_AHEAD)) as parts:
        for part in parts:
            for index, frame in part.frames:
                assert part.video.clip is not None
                bench.add(part.video.clip, index, frame)
            if part.is_last:
                waiting.append(part.video)
            del part  # with its frames, before the next one comes
            while waiting and is_done(waiting[0]):
                progress.advance(waiting[0].path.name)
                yield describe(waiting.popleft(), judge, settings)
    bench.judge_waiting()
    for video in waiting:
        progress.advance(video.path.name)
        yield describe(video, judge, settings)


def is_done(video: VideoToScore) -> bool:
    """Whether all is known of a video that was read."""
    return video.error is not None or (video.clip is not None and video.clip.is_complete)


def describe(video: VideoToScore, judge: Judge, settings: ScoreSettings) -> dict[str, Any]:
    """A video's record."""
    labels = labels_of(judge)
    known: dict[str, Any] = dict.fromkeys((*SHAPE, "reward", "rewards", "attenuated_reward", *FRAMES))
    known |= dict.fromkeys((*measures(ByJudge), *measures(OverPairs)))
    known["rewards"] = dict.fromkeys(labels)
    if video.error is None and video.clip and video.reader:
        score = video.clip.score(judge.name, settings.attenuation_rate, video.figures)
        known |= {"num_frames": video.clip.num_frames} | {name: getattr(video.reader, name) for name in SHAPE[1:]}
        known |= {name: getattr(score, name) for name in ("rewards", *FRAMES)} | score.figures
    return {
        "schema_version": SCHEMA_VERSION,
        "path": str(video.path),
        "prompt": video.prompt,
        **known,
        "error": video.error,
        "judge": judge.label,
        "judges": labels,
    }
