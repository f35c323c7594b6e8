"""The benchmark of `ivideo score` measures what it says."""

from __future__ import annotations

import os

import pytest

from examples import score_throughput
from examples.score_throughput import PROMPTS, main, make_clips, read_peak_memory
from ivideo.video.reader import read_video


@pytest.mark.slow
def test_it_reports_both_rates_and_the_memory(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["score_throughput", str(tmp_path / "clips"), "--num-clips", "10"])
    main()
    lines = capsys.readouterr().out.splitlines()
    names = ["bare loop", "ivideo score", "throughput", "first record", "peak memory"]
    assert [line[:14].strip() for line in lines] == names
    few, many = (float(word) for word in lines[-1].replace("MiB", "").split() if word.isdigit() and len(word) > 2)
    assert few == pytest.approx(many, rel=0.2)


def test_every_clip_is_another_one_and_is_made_once(tmp_path, base_videos, monkeypatch):
    monkeypatch.setattr(score_throughput.ivideo, "generate", lambda *_, **__: sorted(base_videos.iterdir()))
    paths = make_clips(tmp_path / "clips", 6)
    clips = [read_video(path) for path in paths]
    assert len({clip.frames.tobytes() for clip in clips}) == 6
    assert {clip.metadata["prompt"] for clip in clips} == {"a pig", "a fox surfing"}
    before = [path.stat().st_mtime_ns for path in paths]
    assert make_clips(tmp_path / "clips", 6) == paths
    assert [path.stat().st_mtime_ns for path in paths] == before
    assert len(PROMPTS) == len({*PROMPTS})


def test_memory_of_a_process_is_its_own_peak():
    assert 20 < read_peak_memory(os.getpid()) < 100_000
    assert read_peak_memory(2**30) == 0
