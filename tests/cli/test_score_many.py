"""Many videos in one `ivideo score`: folders and patterns, bad ones among good ones, files that are written besides."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from ivideo.video.reader import read_video
from ivideo.video.writer import write_video

NUMBERS = ("num_frames", "fps", "reward", "attenuated_reward", "frame_rewards", "motion", "flicker", "consistency")


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory, base_videos: Path) -> Path:
    """A folder of good videos with bad ones between them; leave it as it is."""
    folder = tmp_path_factory.mktemp("mixed")
    good = sorted(base_videos.iterdir())
    for name, source in zip(("1.mp4", "3.mp4", "10.mp4"), good, strict=False):
        shutil.copy(source, folder / name)
    (folder / "2.mp4").write_text("not a video\n")
    (folder / "4.mp4").write_bytes(good[0].read_bytes()[:-800])
    frames = read_video(good[0]).frames
    write_video(folder / "5.mp4", frames[:3], 8, {"prompt": "a pig"})
    write_video(folder / "6.mp4", frames, 8, {})
    write_video(folder / "7.gif", frames[:, :48], 8, {"prompt": "a pig"})
    return folder


def test_a_bad_video_is_told_in_its_row_and_the_others_are_scored(ivideo, mixed: Path) -> None:
    result = ivideo("score", mixed, "nowhere.mp4")
    records = [json.loads(line) for line in result.stdout.splitlines()]
    names = ["1.mp4", "2.mp4", "3.mp4", "4.mp4", "5.mp4", "6.mp4", "7.gif", "10.mp4", "nowhere.mp4"]
    assert [Path(record["path"]).name for record in records] == names
    reasons = {
        "2.mp4": "is not a video",
        "4.mp4": "is truncated",
        "6.mp4": "does not say its prompt",
        "nowhere.mp4": "does not exist",
    }
    assert result.exit_code == 1
    said = result.stderr.splitlines()
    assert said[-1] == "error: 4 of 9 videos could not be scored"
    for name, record in zip(names, records, strict=True):
        assert list(record) == list(records[0])
        if name in reasons:
            assert reasons[name] in record["error"]
            assert name in record["error"]
            assert f"error: {record['error']}" in said
            assert {record[number] for number in NUMBERS} == {None}
            assert record["rewards"] == {"emoji-preference": None}
        else:
            assert record["error"] is None
            assert None not in [record[number] for number in NUMBERS]
    assert records[4]["segment_indices"] == [0, 1, 2]  # fewer frames than segments
    alone = json.loads(ivideo("score", mixed / "10.mp4").stdout)
    assert records[7]["frame_rewards"] == pytest.approx(alone["frame_rewards"], abs=1e-5)


def test_only_bad_videos_fail_in_every_format(ivideo, mixed: Path, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    for kind in ("table", "tsv", "csv", "json", "jsonl"):
        result = ivideo("score", mixed / "2.mp4", "-q", "-f", kind)
        assert result.exit_code == 1
        assert "2.mp4" in result.stdout
        assert [line[:7] for line in result.stderr.splitlines()] == ["error: "] * 2


def test_a_pattern_a_folder_and_a_list_are_the_same_videos(ivideo, base_videos: Path) -> None:
    paths = sorted(base_videos.iterdir())
    several = [
        ivideo("score", base_videos),
        ivideo("score", base_videos / "*.mp4"),
        ivideo("score", *paths),
        ivideo("score", "-", input="".join(f"{path}\n" for path in paths)),
    ]
    assert [result.exit_code for result in several] == [0] * 4
    assert len({result.stdout for result in several}) == 1


def test_records_go_into_a_file_that_a_later_call_goes_on_with(ivideo, mixed: Path, tmp_path: Path) -> None:
    paths, output = [mixed / name for name in ("1.mp4", "2.mp4", "7.gif")], tmp_path / "new" / "r.jsonl"
    first = ivideo("score", *paths, "-o", output)
    assert (first.exit_code, first.stdout) == (1, "")  # 2.mp4 is no video
    assert output.read_text() == ivideo("score", *paths).stdout
    again = ivideo("score", *paths, "-o", output, "--format", "jsonl")
    assert again.stdout == output.read_text()
    assert f"2 of 3 records are in {output} already" in again.stderr.splitlines()
    assert "scoring 0/1" in again.stderr.splitlines()
    other = ivideo("score", *paths, "-o", output, "--no-temporal")
    assert other.exit_code == 1
    assert "(line 1: temporal true): choose another --output, or --overwrite" in other.stderr


def test_batches_change_no_score(ivideo, mixed: Path) -> None:
    paths = [mixed / name for name in ("1.mp4", "3.mp4", "7.gif", "10.mp4")]
    one, other = (
        [json.loads(line) for line in ivideo("score", *paths, "--batch-size", size).stdout.splitlines()]
        for size in (1, 7)
    )
    for a, b in zip(one, other, strict=True):
        for name in (*NUMBERS, "rewards"):
            assert a[name] == pytest.approx(b[name], abs=1e-5)


def test_without_the_temporal_figures_the_reward_is_the_same(ivideo, base_videos: Path) -> None:
    path = min(base_videos.iterdir())
    whole, short = (
        json.loads(ivideo("score", path, "--num-segments", 2, *flags).stdout) for flags in ((), ("--no-temporal",))
    )
    assert (whole["frame_indices"], short["frame_indices"]) == ([0, 1, 2, 3], [0, 2])
    assert short["frame_rewards"] == pytest.approx(whole["frame_rewards"][::2], abs=1e-5)
    for name in ("reward", "rewards", "attenuated_reward", "num_frames"):
        assert short[name] == pytest.approx(whole[name], abs=1e-5)
    for name in ("motion", "flicker", "motion_smoothness_proxy", "dynamic_degree", "is_dynamic", "consistency"):
        assert whole[name] is not None
        assert short[name] is None


def test_a_curve_of_fewer_frames_keeps_reward_and_motion(ivideo, base_videos: Path) -> None:
    path = min(base_videos.iterdir())
    flags = ("--num-segments", 2)
    whole, few = (json.loads(ivideo("score", path, *flags, "--max-curve-frames", most).stdout) for most in (4, 2))
    assert few["frame_indices"] == [0, 2]
    for name in ("reward", "motion", "flicker", "dynamic_degree"):
        assert few[name] == pytest.approx(whole[name], abs=1e-5)
    assert few["consistency"] is not None


def test_vbenchs_file_and_the_plot_tell_of_those_that_were_scored(ivideo, mixed: Path, tmp_path: Path) -> None:
    flags = ("--export", "vbench", tmp_path / "new" / "v.json", "--plot", tmp_path / "new" / "p.png")
    records = [json.loads(line) for line in ivideo("score", mixed, *flags).stdout.splitlines()]
    good = [record for record in records if record["error"] is None]
    results = json.loads((tmp_path / "new" / "v.json").read_text())
    fields = {
        "temporal_flickering": "flicker",
        "motion_smoothness_proxy": "motion_smoothness_proxy",
        "dynamic_degree": "is_dynamic",
        "subject_consistency_by_judge": "consistency",
    }
    assert list(results) == list(fields)
    for dimension, name in fields.items():
        mean, rows = results[dimension]
        assert rows == [{"video_path": record["path"], "video_results": record[name]} for record in good]
        assert mean == pytest.approx(sum(record[name] for record in good) / len(good))
    with Image.open(tmp_path / "new" / "p.png") as picture:
        assert picture.format == "PNG"


def test_a_function_of_ones_own_has_no_consistency(ivideo, base_videos: Path, tmp_path: Path) -> None:
    (tmp_path / "reward.py").write_text("def bright(frames, prompts):\n    return frames.mean((2, 3, 4))\n")
    record = json.loads(ivideo("score", min(base_videos.iterdir()), "--reward", f"{tmp_path}/reward.py:bright").stdout)
    assert record["consistency"] is None
    frames = read_video(min(base_videos.iterdir())).frames
    assert record["frame_rewards"] == pytest.approx((frames / 255).mean((1, 2, 3)), abs=1e-6)
