"""`ivideo score`: videos read once, a little ahead of the reward model, a record each."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from ivideo.config.parts import check_prompt_length
from ivideo.config.settings import ScoreSettings
from ivideo.errors import IvideoError, UsageError
from ivideo.launch import ALONE, Launch, check_device
from ivideo.metrics.by_reward import ByReward
from ivideo.metrics.over_time import OverPairs
from ivideo.metrics.registry import TemporalMeter, measures
from ivideo.models.devices import Item, choose_device
from ivideo.progress import Progress, Silence
from ivideo.rewards.mixture import Rewards
from ivideo.rewards.registry import load_rewards
from ivideo.scoring.clips import MAX_BATCH_BYTES, Frame, FrameBatcher, PendingClip, plan_clip
from ivideo.scoring.kept import Listed, check_output, find_kept, go_on, lock_records
from ivideo.video.captions import Captions, find_prompt, note_foreign
from ivideo.video.folders import describe_left_out, find_folders, find_videos
from ivideo.video.reader import VideoReader, open_video


def read_ahead(items: Generator[Item, None, None], num_ahead: int) -> Generator[Item, None, None]:
    """Run a generator in a thread of its own, while its earlier items are worked on here.

    Args:
        items: what to run; it is closed at the end, also where that comes early.
        num_ahead: items that may wait, at least 1.

    Yields:
        The same items in the same order; what the generator raises is raised here, after them.
    """
    end = object()
    pool = ThreadPoolExecutor(1)
    try:
        waiting = deque(pool.submit(next, items, end) for _ in range(num_ahead))
        while (item := waiting.popleft().result()) is not end:
            waiting.append(pool.submit(next, items, end))
            yield item  # type: ignore[misc]
    finally:
        pool.shutdown(cancel_futures=True)
        items.close()


@contextmanager
def leave_a_core() -> Iterator[None]:
    """Have torch leave a core to the thread that reads: threads that want one core wait for each other for long."""
    num_threads = torch.get_num_threads()
    num_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    torch.set_num_threads(max(1, min(num_threads, num_cores - 1)))
    try:
        yield
    finally:
        torch.set_num_threads(num_threads)


MAX_PART_BYTES = MAX_BATCH_BYTES // 2


@dataclass
class VideoToScore:
    """A video and what is known of it so far.

    Attributes:
        path: its file or folder.
        prompt: what it should show; None until it is known.
        reader: once it was opened.
        clip: its scores so far, once the number of its frames is known.
        figures: what it does over time, once it was read.
        error: why it can't be scored, in one line.
    """

    path: Path
    prompt: str | None = None
    reader: VideoReader | None = None
    clip: PendingClip | None = None
    figures: dict[str, float] | None = None
    error: str | None = None

    @property
    def notes(self) -> list[str]:
        """What was done to show it, and what is odd about it, a line each."""
        return self.reader.notes if self.reader else []


@dataclass(frozen=True)
class Part:
    """Some frames of a video that reward models look at, by their index; the last part of a video may have none."""

    video: VideoToScore
    frames: list[tuple[int, Frame]] = field(default_factory=list)
    is_last: bool = False


def read_parts(
    videos: Iterable[VideoToScore], rewards: Rewards, settings: ScoreSettings
) -> Generator[Part, None, None]:
    """Read videos in their order; one that can't be scored gets an `error`, and the next one follows.

    Args:
        videos: what to read; they are filled in as more becomes known of them.
        rewards: what looks at them.
        settings: segments, how many frames get a score, and whether to read all.

    Yields:
        The frames that reward models look at, ascending, in parts of at most `batch_size` and of bounded size.
    """
    for video in videos:
        try:
            yield from _read_video(video, rewards, settings)
        except IvideoError as error:
            video.error = " ".join(str(error).split())
        yield Part(video, is_last=True)


def _read_video(video: VideoToScore, rewards: Rewards, settings: ScoreSettings) -> Generator[Part, None, None]:
    video.reader = reader = open_video(video.path, background=settings.background)
    if video.prompt is None:
        video.prompt = find_prompt(reader)
    else:
        note_foreign(reader)
    if video.prompt is None:
        raise IvideoError(f"{video.path} does not say its prompt: give it by `prompt` or `captions`")
    check_prompt_length(video.prompt)
    num_frames, kept = count_frames(reader)
    if not num_frames:
        raise IvideoError(f"{video.path} has no frames")
    max_frames = settings.max_curve_frames if settings.temporal else 0
    video.clip = plan_clip(
        *(rewards, video.prompt, num_frames, reader.fps), num_segments=settings.num_segments, max_frames=max_frames
    )
    meter = TemporalMeter(reader.fps) if settings.temporal else None
    wanted = {*video.clip.seen_indices}
    part: list[tuple[int, Frame]] = []
    num_read = 0
    for index, frame in enumerate(kept or (reader if meter else reader.select(wanted))):
        num_read += 1
        if frame is None:
            continue
        if meter:
            meter.add(frame)
        if index in wanted:
            part.append((index, frame))
        if len(part) == settings.batch_size or len(part) * frame.nbytes >= MAX_PART_BYTES:
            yield Part(video, part)
            part = []
    if num_read <= max(wanted):
        raise IvideoError(f"{video.path} is truncated or damaged: {num_read} of its {num_frames} frames can be read")
    if part:  # an empty one would take the place of a next video's
        yield Part(video, part)
    video.figures = meter.figures() if meter else None


def count_frames(reader: VideoReader) -> tuple[int, list[Frame]]:
    """A video's number of frames, and all of them where they had to be read for that and are few, else none.

    A short video that does not announce its length is read into memory; a long one is read twice.

    Raises:
        IvideoError: damaged.
    """
    if reader.num_frames is not None:
        return reader.num_frames, []
    frames = iter(reader)
    most = max(1, MAX_PART_BYTES // (reader.height * reader.width * 3))
    kept = list(islice(frames, most))
    if len(kept) < most:
        return len(kept), kept
    num_frames = len(kept)
    del kept
    return num_frames + sum(1 for _ in frames), []


SCHEMA_VERSION = 2
NUM_PARTS_AHEAD = 2
SHAPE = ("num_frames", "fps", "width", "height")
FRAMES = ("frame_indices", "frame_rewards", "segment_indices")  # what `ClipScore` knows of single frames


def list_videos(
    paths: Iterable[Path | tuple[Path, str | None]],
    prompt: str | None = None,
    captions: Path | None = None,
    progress: Progress | None = None,
) -> list[Listed]:
    """The videos that paths mean, before any is opened.

    Args:
        paths: files, folders and patterns (see `find_videos`), each by itself or with what its videos should show.
        prompt: what all videos should show; default: what is given beside the path, else what `captions` has for its
            name, else what each says of itself.
        captions: file of prompts by names.
        progress: is told what folders hold beside videos, and which captions are of none.

    Raises:
        UsageError: no paths, an empty prompt, or captions of other videos.
        IvideoError: a folder or the captions can't be read.
    """
    if prompt is not None and not prompt.strip():
        raise UsageError("empty prompt: say what the videos should show, or leave `prompt` out")
    if prompt is not None:
        check_prompt_length(prompt)
    progress = progress or Silence()
    by_name = Captions(captions) if captions else None
    videos: list[Listed] = []
    for path, own in (path if isinstance(path, tuple) else (path, None) for path in paths):
        found = find_videos(path)
        videos += [(str(one), prompt or own or (by_name.find(one) if by_name else None)) for one in found]
        for left_out in filter(None, (describe_left_out(folder, found) for folder in find_folders(path))):
            progress.say(left_out)
    if not videos:
        raise UsageError("no videos: give files or folders, or paths on stdin")
    if by_name and (unused := by_name.check(Path(path) for path, _ in videos)):
        progress.warn(unused)
    return videos


def find_model(videos: Sequence[Listed]) -> str | None:
    """The model that the first readable video says it was made by, if it says one."""
    for path, _ in videos:
        with suppress(IvideoError):
            model = open_video(Path(path)).metadata.get("model")
            return model if isinstance(model, str) else None
    return None


NUM_AT_ONCE = 16  # videos that each of several processes scores between two meetings


def score(
    videos: Sequence[Listed],
    settings: ScoreSettings,
    *,
    output: Path | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
    launch: Launch = ALONE,
) -> Iterator[dict[str, Any]]:
    """Score videos, one record each in their order, as soon as it is known.

    Videos are read in a thread of their own, a little ahead of the reward models, and never held whole. Several
    processes of a launch share them, and the first one gets the records that an output has already.

    Args:
        videos: from `list_videos`.
        settings: rewards, segments, attenuation, batch size, device, and what to read.
        output: .jsonl that gets the records; videos that have theirs there are not scored again.
        overwrite: whether an output makes way instead.
        progress: is told what happens.
        launch: the processes that share the work.

    Yields:
        schema_version, path, prompt, num_frames, fps, width, height, the fields of `ClipScore`, every metric among
        them (null where not every frame is read, for those over time), notes (what was done to show it, and what is
        odd about it, a line each), error (null), judge (how the reward is to be read), judges (the same by name) and
        settings. Of a video that can't be scored `error` says why, and every number is null.

    Raises:
        UsageError, IvideoError: a reward model that cannot be loaded, or that breaks its contract, or an output that
            is of another call.
    """
    progress = progress or Silence()
    check_device(settings.device, launch)
    left = videos
    with ExitStack() as held:
        if output is not None:
            check_output(output)
            if launch.is_first:
                held.enter_context(lock_records(output))
            told = tell_settings(settings)
            kept = launch.from_first(lambda: find_kept(output, videos, told, overwrite=overwrite))
            left = [video for video, place in zip(videos, kept.places, strict=True) if place < 0]
            if len(left) < len(videos):
                progress.say(f"{len(videos) - len(left)} of {len(videos)} records are in {output} already")
        records = _score_all(left, settings, progress, launch) if left else iter(())
        yield from go_on(output, kept, records) if output is not None and launch.is_first else records


def _score_all(
    videos: Sequence[Listed], settings: ScoreSettings, progress: Progress, launch: Launch
) -> Iterator[dict[str, Any]]:
    rewards = load_rewards(settings.rewards, choose_device(settings.device))
    progress.start("scoring", len(videos))
    for record in launch.share(videos, lambda own: score_own(own, rewards, settings), NUM_AT_ONCE):
        progress.advance(Path(record["path"]).name)
        yield record


def score_own(videos: Sequence[Listed], rewards: Rewards, settings: ScoreSettings) -> Iterator[dict[str, Any]]:
    """The records of `score`, of this process's videos."""
    batcher = FrameBatcher(rewards, settings.batch_size)
    waiting: deque[VideoToScore] = deque()  # read, but not all of their frames scored
    to_score = (VideoToScore(Path(path), prompt) for path, prompt in videos)
    with leave_a_core(), closing(read_ahead(read_parts(to_score, rewards, settings), NUM_PARTS_AHEAD)) as parts:
        for part in parts:
            for index, frame in part.frames:
                assert part.video.clip is not None
                batcher.add(part.video.clip, index, frame)
            if part.is_last:
                waiting.append(part.video)
            del part  # with its frames, before the next one comes
            while waiting and is_done(waiting[0]):
                yield describe(waiting.popleft(), rewards, settings)
    batcher.flush()
    for video in waiting:
        yield describe(video, rewards, settings)


def tell_settings(settings: ScoreSettings) -> dict[str, Any]:
    """The settings that a record's numbers depend on."""
    names = ("num_segments", "attenuation_rate", "temporal", "max_curve_frames", "background")
    return {"reward": list(settings.rewards), **{name: getattr(settings, name) for name in names}}


def is_done(video: VideoToScore) -> bool:
    """Whether all is known of a video that was read."""
    return video.error is not None or (video.clip is not None and video.clip.is_complete)


def describe(video: VideoToScore, rewards: Rewards, settings: ScoreSettings) -> dict[str, Any]:
    """A video's record."""
    known: dict[str, Any] = dict.fromkeys((*SHAPE, "reward", "rewards", "attenuated_reward", *FRAMES))
    known |= dict.fromkeys((*measures(ByReward), *measures(OverPairs)))
    known["rewards"] = dict.fromkeys(rewards.labels)
    if video.error is None and video.clip and video.reader:
        score = video.clip.score(settings.attenuation_rate, video.figures)
        known |= {"num_frames": video.clip.num_frames} | {name: getattr(video.reader, name) for name in SHAPE[1:]}
        known |= {name: getattr(score, name) for name in ("rewards", *FRAMES)} | score.figures
    return {
        "schema_version": SCHEMA_VERSION,
        "path": str(video.path),
        "prompt": video.prompt,
        **known,
        "notes": video.notes,
        "error": video.error,
        "judge": rewards.label,
        "judges": rewards.labels,
        "settings": tell_settings(settings),
    }
