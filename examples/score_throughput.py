"""How fast `ivideo score` is, against a bare PyAV loop that does the same work, and how much memory it takes.

    python -m examples.score_throughput build/throughput --num-clips 1000 [--no-temporal]

Makes clips of the bundled model (a few by the network, the others are these mirrored and moved on), then by turns

- bare: decode each clip by PyAV with thread_type AUTO, make RGB of the frames that count, have the reward model look at
  16 frames a forward; nothing else, one thing after the other, in this process, without loading anything;
- score: `ivideo score -`, another process, with everything that it does, from start to exit.

Both take all 16 frames of a clip and measure the figures over time; with --no-temporal both take the first frames of
8 segments and measure nothing else. Numbers are medians over the pairs of runs. Memory is the peak of the process for a
tenth of the clips and for all.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import av
import numpy as np
import torch

import ivideo
from ivideo.core.segments import first_frame_indices
from ivideo.metrics.registry import measure_temporal
from ivideo.rewards.registry import load_reward
from ivideo.scoring.clips import BATCH_SIZE, frames_to_tensor
from ivideo.video.reader import read_video
from ivideo.video.writer import write_video

PROMPTS = [
    "a cat surfing",
    "a dog running",
    "an owl flying",
    "a pig",
    "a fox surfing on a wave",
    "a cow",
    "a bear jumping",
]
REWARD = "emoji-preference"
NUM_SEGMENTS = 8


def make_clips(folder: Path, num_clips: int) -> list[Path]:
    """The clips of the folder; those that are missing are made."""
    paths = [folder / f"{index:05d}.mp4" for index in range(num_clips)]
    missing = [path for path in paths if not path.exists()]
    if missing:
        originals = ivideo.generate(PROMPTS, folder.with_name(f"{folder.name}_originals"), model="emoji-world")
        videos = [read_video(path) for path in originals]
    for path in missing:
        number = int(path.stem)
        video = videos[number % len(videos)]
        frames = np.roll(video.frames, number // len(videos), axis=2)[:, :, :: -1 if number % 2 else 1]
        write_video(path, np.ascontiguousarray(frames), video.fps, {**video.metadata, "seed": number})
    return paths


@dataclass(frozen=True)
class Run:
    """What a way of scoring took: seconds from start to end, seconds of processors, memory in MiB."""

    seconds: float
    processor_seconds: float
    first_record: float = 0.0
    peak_memory: float = 0.0


def run_bare_loop(paths: list[Path], is_temporal: bool) -> Run:
    """Decode, score and measure each clip, and nothing else."""
    reward_model = load_reward(REWARD, torch.device("cpu"))
    reward_model.score(torch.rand(16, 1, 3, 64, 64), PROMPTS[:1] * 16, torch.zeros(16, 1))  # the first is slower
    start, processor_start = time.perf_counter(), processor_seconds()
    waiting: list[np.ndarray] = []
    prompts: list[str] = []
    for path in paths:
        frames, fps, prompt = decode_clip(path, is_temporal)
        waiting += frames
        prompts += [prompt] * len(frames)
        if is_temporal:
            measure_temporal(frames, fps)
        while len(waiting) >= BATCH_SIZE or (path is paths[-1] and waiting):
            batch = frames_to_tensor(np.stack(waiting[:BATCH_SIZE]))[:, None]
            with torch.no_grad():
                reward_model.score_with_features(batch, prompts[:BATCH_SIZE], torch.zeros(len(batch), 1))[0].tolist()
            del waiting[:BATCH_SIZE], prompts[:BATCH_SIZE]
    return Run(time.perf_counter() - start, processor_seconds() - processor_start)


def decode_clip(path: Path, is_temporal: bool) -> tuple[list[np.ndarray], float, str]:
    """The frames of a clip that count, its rate and its prompt, by plain PyAV.

    A thread for the colours, not one a core, makes this loop three times as fast: frames are small.
    """
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        fps, prompt = float(stream.average_rate), json.loads(container.metadata["comment"])["prompt"]
        wanted = range(stream.frames) if is_temporal else first_frame_indices(stream.frames, NUM_SEGMENTS).tolist()
        frames = []
        for index, frame in enumerate(container.decode(stream)):
            if index in wanted:
                frames.append(frame.to_ndarray(format="rgb24", threads=1))
            if index == wanted[-1]:
                break
    return frames, fps, prompt


def run_command(paths: list[Path], is_temporal: bool) -> Run:
    """Score the clips by the command, from its start to its end."""
    start, processor_start = time.perf_counter(), processor_seconds()
    command = [sys.executable, "-m", "ivideo", "score", "-", "--quiet", "--format", "jsonl", "--reward", REWARD]
    command += [] if is_temporal else ["--no-temporal", "--num-segments", str(NUM_SEGMENTS)]
    first = peak = 0.0
    num_records = 0
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("".join(f"{path}\n" for path in paths))
        process.stdin.close()
        for _ in process.stdout:
            num_records += 1
            first = first or time.perf_counter() - start
            peak = max(peak, read_peak_memory(process.pid))
    if process.returncode or num_records != len(paths):
        raise SystemExit(f"ivideo score ended with {process.returncode} after {num_records} records")
    return Run(time.perf_counter() - start, processor_seconds() - processor_start, first, peak)


def processor_seconds() -> float:
    """Of this process and those that it has waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def read_peak_memory(pid: int) -> float:
    """Of a running process, in MiB, without its children; 0 once it has ended (Linux only)."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) / 1024 if found else 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="for the clips; those that are there are used again")
    parser.add_argument("--num-clips", type=int, default=200)
    parser.add_argument("--num-pairs", type=int, default=3, help="runs of either kind, by turns")
    parser.add_argument("--no-temporal", action="store_true", help="rewards alone, in both")
    arguments = parser.parse_args()
    paths, is_temporal = make_clips(arguments.folder, arguments.num_clips), not arguments.no_temporal
    pairs = [(run_bare_loop(paths, is_temporal), run_command(paths, is_temporal)) for _ in range(arguments.num_pairs)]
    for name, runs in zip(("bare loop", "ivideo score"), zip(*pairs, strict=True), strict=True):
        seconds = median(run.seconds for run in runs)
        cost = 1000 * median(run.processor_seconds for run in runs) / len(paths)
        print(
            f"{name:14}{len(paths) / seconds:7.2f} clips a second, {cost:6.1f} ms of processor a clip ({seconds:.1f} s)"
        )
    whole = median(bare.seconds / command.seconds for bare, command in pairs)
    steady = median(bare.seconds / (command.seconds - command.first_record) for bare, command in pairs)
    print(f"throughput    {whole:7.0%} of the bare loop, start-up included, {steady:.0%} after the first record")
    print(f"first record  {median(command.first_record for _, command in pairs):7.2f} s after the start")
    few = paths[: max(len(paths) // 10, 1)]
    peaks = run_command(few, is_temporal).peak_memory, max(command.peak_memory for _, command in pairs)
    print(f"peak memory   {peaks[0]:7.0f} MiB for {len(few)} clips, {peaks[1]:.0f} MiB for {len(paths)}")


if __name__ == "__main__":
    main()
