"""`ivideo finetune` on real videos, as a user meets it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import ivideo as package
from ivideo.inputs.clip_lists import read_source
from ivideo.training.step import Trainer
from ivideo.video.reader import open_video
from ivideo.video.sampling import read_clip
from ivideo.video.writer import write_video

SHORT = ("--model", "emoji-world", "--max-steps", 1, "--batch-size", 2, "--gradient-accumulation", 1, "--no-eval")
CAPTIONS = ["a cat surfing", "a cow", "a cow", "a dog running"]


@pytest.fixture
def videos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of four videos with captions beside them; the cache is empty."""
    monkeypatch.setenv("IVIDEO_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "videos"
    folder.mkdir()
    for number, caption in enumerate(CAPTIONS):
        frames = np.full((16, 40, 60, 3), 50 * number, np.uint8)
        frames[:, 10:30, 10:30] = (200, 90, 40)
        write_video(folder / f"{number}.mp4", frames, 30.0, {})
        (folder / f"{number}.txt").write_text(f"{caption}\n")
    return folder


@pytest.fixture
def lists(videos: Path) -> dict[str, tuple[object, ...]]:
    """The same clips in each form, as arguments of the command."""
    root = videos.parent
    names = [f"{number}.mp4" for number in range(len(CAPTIONS))]
    pairs = list(zip(names, CAPTIONS, strict=True))
    (root / "list.txt").write_text("".join(f"{name}|||{caption}\n" for name, caption in pairs))
    (root / "list.csv").write_text("video,prompt\n" + "".join(f"videos/{name},{caption}\n" for name, caption in pairs))
    records = [{"video": name, "prompt": caption, "id": 1} for name, caption in pairs]
    (videos / "list.jsonl").write_text("".join(f"{json.dumps(record)}\n" for record in records))
    return {
        "lines": (root / "list.txt", "--videos", videos),
        "csv": (root / "list.csv",),
        "jsonl": (videos / "list.jsonl",),
        "folder": (videos,),
    }


def test_all_forms_list_the_same_clips(lists, videos: Path) -> None:
    expected = [(videos / f"{number}.mp4", caption) for number, caption in enumerate(CAPTIONS)]
    for source, *rest in lists.values():
        assert [clip[:2] for clip in read_source(source, *rest[1:])] == expected


def test_a_second_run_of_another_form_encodes_nothing_and_learns_the_same(
    ivideo, lists, small_training, tmp_path: Path
) -> None:
    outcomes = []
    for form, notes in (("lines", "0 from the cache, 4 encoded"), ("folder", "4 from the cache, 0 encoded")):
        run = tmp_path / form
        result = ivideo("finetune", *lists[form], *SHORT, *small_training, "-o", run)
        assert (result.exit_code, result.stdout) == (0, f"{run}\n"), result.stderr
        assert f"\n4 real clips: {notes}\n" in result.stderr
        outcomes.append([(run / name).read_bytes() for name in ("clips.jsonl", "adapter/adapter_model.safetensors")])
    assert outcomes[0] == outcomes[1]
    assert (run / "prompts.txt").read_text() == "a cat surfing\na cow\na dog running\n"
    records = [json.loads(line) for line in (run / "clips.jsonl").read_text().splitlines()]
    assert [record["prompt"] for record in records] == CAPTIONS
    assert not (run / "clips").exists()


def test_training_sees_the_videos_and_not_what_the_model_makes(
    lists, small_training, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Python function takes pairs as well; the clips of a caption that is held out are left alone."""
    seen: list[Trainer] = []
    whole = Trainer.__init__

    def keep(self: Trainer, *arguments: object) -> None:
        whole(self, *arguments)
        seen.append(self)

    monkeypatch.setattr(Trainer, "__init__", keep)
    monkeypatch.setattr("ivideo.training.heldout.heldout_prompts_path", lambda name: None)  # a tenth of the captions
    pairs = [(f"{number}.mp4", caption) for number, caption in enumerate(CAPTIONS)]
    settings = {"num_frames": 4, "num_inference_steps": 2, "generation_num_inference_steps": 2, "num_grad_steps": 1}
    run = package.finetune(
        pairs, tmp_path / "run", videos=tmp_path / "videos", model="emoji-world", max_steps=1, batch_size=1, **settings
    )
    assert (run / "heldout.txt").read_text() == "a cat surfing\n"
    assert (run / "prompts.txt").read_text() == "a cow\na dog running\n"
    (trainer,) = seen
    assert trainer.prompts == ["a cow", "a cow", "a dog running"]
    for item, number in enumerate((1, 2, 3)):
        clip = read_clip(open_video(tmp_path / "videos" / f"{number}.mp4"), 4, 8.0, 64, 64)
        frames = torch.from_numpy(clip).permute(0, 3, 1, 2)[None] / 255
        assert torch.equal(trainer.clip_of(item), trainer.model.encode_frames(frames)[0])


def test_a_run_goes_on_with_its_clips_and_only_with_them(ivideo, lists, videos: Path, small_training, tmp_path) -> None:
    flags = (*SHORT, *small_training, "--lr-schedule", "constant", "--num-warmup-steps", 0)
    run, whole = tmp_path / "run", tmp_path / "whole"
    with lists["csv"][0].open("a") as file:  # two captions of a video
        file.writelines(f"videos/{number}.mp4,another {number}\n" for number in range(len(CAPTIONS)))
    ivideo("finetune", *lists["csv"], *flags, "-o", run)
    ivideo("finetune", *lists["csv"], *flags, "--max-steps", 2, "-o", whole)
    result = ivideo("finetune", "--resume", run, "--max-steps", 2)
    assert result.exit_code == 0, result.stderr
    for name in ("adapter/adapter_model.safetensors", "clips.jsonl", "prompts.txt"):
        assert (run / name).read_bytes() == (whole / name).read_bytes()

    write_video(videos / "2.mp4", np.full((16, 64, 64, 3), 9, np.uint8), 30.0, {})
    result = ivideo("finetune", "--resume", run, "--max-steps", 3)
    changed = f"error: {videos / '2.mp4'} has changed since the run {run} started: put the old one back, or start anew"
    assert (result.exit_code, result.stderr.splitlines()[-1]) == (1, changed)
    (videos / "2.mp4").unlink()
    result = ivideo("finetune", "--resume", run, "--max-steps", 3)
    missing = f"error: {videos / '2.mp4'} does not exist"
    assert (result.exit_code, result.stderr.splitlines()[-1]) == (1, missing)
    assert json.loads((run / "summary.json").read_text())["num_steps"] == 2


@pytest.mark.parametrize(
    ("spoil", "arguments", "message"),
    [
        (lambda videos: (videos / "1.mp4").write_text("no"), (), "more than a tenth of the 4 clips cannot be used: "),
        (lambda videos: (videos / "1.txt").write_text(" \n"), (), "more than a tenth of the 4 clips cannot be used: "),
        (
            lambda videos: (videos / "1.mp4").unlink(),
            ("--clips", "earlier"),
            "--clips takes over generated clips, and ",
        ),
        (lambda videos: None, ("--num-frames", 6), "more than a tenth of the 4 clips cannot be used: "),
    ],
)
def test_bad_clips_are_one_line_and_leave_no_run(
    ivideo, videos: Path, small_training, tmp_path: Path, spoil, arguments, message: str
) -> None:
    spoil(videos)
    result = ivideo("finetune", videos, *SHORT, *small_training, *arguments, "-o", tmp_path / "run")
    assert (result.exit_code in (1, 2), result.stdout) == (True, "")
    assert result.stderr.splitlines()[-1].startswith(f"error: {message}")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "text", "code", "message"),
    [
        (("-",), "a cat\nx.mp4|||a dog\n", 1, "standard input, line 2 is video|||prompt, where the lines before are "),
        (("-", "--videos", "there"), "a cat\n", 2, "--videos goes with a list of videos; standard input is a list of "),
        (("-",), "video,caption,prompt\nx.mp4,a\n", 1, "standard input, line 2: 2 cells, not 3; "),
        (("-",), "x.mp4|||a cat\n", 1, "more than a tenth of the 1 clips cannot be used: video x.mp4 does not exist ("),
    ],
)
def test_wrong_lists_are_one_line(ivideo, tmp_path: Path, arguments, text: str, code: int, message: str) -> None:
    result = ivideo("finetune", *arguments, *SHORT, "-o", tmp_path / "run", input=text)
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr.startswith(f"error: {message}")
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "run").exists()
