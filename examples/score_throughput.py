"""How fast `ivideo score` is, against the bare loop that does the same work, and how much memory it takes.

    python -m examples.score_throughput build/throughput --num-clips 1000

Makes clips of the bundled model (a few by the network, the others are these mirrored and moved on), then

- bare: for each clip, decode all frames by the same reader, one forward of the judge over all of them, and the figures
  over time; nothing else, one thing after the other, in this process, without loading anything;
- score: `ivideo score FOLDER`, another process, with everything that it does, from start to exit;
- memory: the peak of that process for a tenth of the clips and for all.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

import ivideo
from ivideo.metrics.temporal import measure_temporal
from ivideo.rewards.registry import load_reward
from ivideo.scoring.clips import frames_to_tensor
from ivideo.video.reader import open_video, read_video
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
JUDGE = "emoji-preference"


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
    """What a way of scoring took: seconds from start to end, seconds of processors (ffmpeg's too), memory in MiB."""

    seconds: float
    processor_seconds: float
    first_record: float = 0.0
    peak_memory: float = 0.0


def run_bare_loop(paths: list[Path]) -> Run:
    """Read, judge and measure each clip, and nothing else."""
    judge = load_reward(JUDGE, torch.device("cpu"))
    judge.score(torch.rand(1, 16, 3, 64, 64), PROMPTS[:1])  # the first forward is slower
    start, processor_start = time.perf_counter(), processor_seconds()
    with torch.no_grad():
        for path in paths:
            reader = open_video(path)
            frames = np.stack(list(reader))
            judge.score(frames_to_tensor(frames)[None], [reader.metadata["prompt"]]).mean().item()
            measure_temporal(frames, reader.fps)
    return Run(time.perf_counter() - start, processor_seconds() - processor_start)


def run_command(paths: list[Path]) -> Run:
    """Score the clips by the command, from its start to its end."""
    start, processor_start = time.perf_counter(), processor_seconds()
    command = [sys.executable, "-m", "ivideo", "score", "-", "--quiet", "--format", "jsonl", "--reward", JUDGE]
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
    arguments = parser.parse_args()
    paths = make_clips(arguments.folder, arguments.num_clips)
    few = paths[: max(len(paths) // 10, 1)]
    runs = {"bare loop": run_bare_loop(paths), "ivideo score": run_command(paths)}
    for name, run in runs.items():
        rate, cost = len(paths) / run.seconds, 1000 * run.processor_seconds / len(paths)
        print(f"{name:14}{rate:7.2f} clips a second, {cost:6.1f} ms of processor a clip ({run.seconds:.1f} s)")
    bare, command = runs.values()
    print(f"throughput    {bare.seconds / command.seconds:7.0%} of the bare loop, start-up included", end=", ")
    print(f"{bare.seconds / (command.seconds - command.first_record):.0%} after the first record")
    print(f"first record  {command.first_record:7.2f} s after the start")
    memory = run_command(few).peak_memory
    print(f"peak memory   {memory:7.0f} MiB for {len(few)} clips, {command.peak_memory:.0f} MiB for {len(paths)}")


if __name__ == "__main__":
    main()
