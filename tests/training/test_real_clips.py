"""Real clips: encoded once, found again by content, and named where they cannot be used."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence
from safetensors.torch import load_file, save_file

from ivideo.config.merge import merge_settings
from ivideo.config.presets import preset_for
from ivideo.config.settings import FinetuneSettings, generation_settings
from ivideo.errors import IvideoError
from ivideo.files.cache import hash_content
from ivideo.files.run_folder import RunFolder
from ivideo.generating import open_model
from ivideo.inputs.clip_lists import ListedClip
from ivideo.inputs.prompts import Prompt, own_of
from ivideo.models.unet3d.model import UNet3DModel
from ivideo.progress import Silence
from ivideo.training.real_clips import RealClips, recall_clips, split_source, write_records
from ivideo.video.folders import list_content
from ivideo.video.writer import write_video

SETTINGS = merge_settings(
    FinetuneSettings,
    preset_for("emoji-world"),
    {},
    {"model": "emoji-world", "num_frames": 4, "num_inference_steps": 2, "num_grad_steps": 1, "dtype": "float32"},
)


class Notes(Silence):
    """Keeps what is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, message: str) -> None:
        self.lines.append(message)

    def warn(self, message: str) -> None:
        self.lines.append(f"warning: {message}")


@pytest.fixture(scope="module")
def model() -> UNet3DModel:
    return open_model(generation_settings(SETTINGS))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("IVIDEO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of ten clips, each lighter than the one before."""
    folder = tmp_path_factory.mktemp("videos")
    for number in range(10):
        write_clip(folder / f"{number}.gif", 10 + 15 * number)
    return folder


def write_clip(path: Path, shade: int, num_frames: int = 4) -> Path:
    frames = np.full((num_frames, 40, 60, 3), shade, np.uint8)
    frames[:, :20] += np.arange(num_frames, dtype=np.uint8)[:, None, None, None] * 10
    return write_video(path, frames, 8.0, {})


@pytest.fixture
def listed(videos: Path, tmp_path: Path) -> list[ListedClip]:
    """The ten clips, to be broken; the first two share a caption."""
    shutil.copytree(videos, tmp_path, dirs_exist_ok=True)
    captions = ["a cat", "a cat", *(f"{number} dogs" for number in range(2, 10))]
    return [
        ListedClip(tmp_path / f"{number}.gif", caption, f"list, line {number + 1}")
        for number, caption in enumerate(captions)
    ]


@pytest.fixture
def prepare(model: UNet3DModel) -> Callable[..., tuple[RealClips, list[str]]]:
    """`prepare(listed, **settings)` gives the clips and what was told."""

    def prepare(listed: list[ListedClip], **changes: Any) -> tuple[RealClips, list[str]]:
        notes = Notes()
        training = {clip.prompt for clip in listed}
        clips = RealClips(model, listed, training, SETTINGS.model_copy(update=changes))
        clips.prepare(notes)
        return clips, notes.lines

    return prepare


def test_clips_are_encoded_once_and_are_the_videos(prepare, model, listed: list[ListedClip]) -> None:
    clips, notes = prepare(listed)
    assert notes == ["10 real clips: 0 from the cache, 10 encoded"]
    assert clips.prompts == [clip.prompt for clip in listed]
    for item in (0, 9):
        pictures = [picture.convert("RGB") for picture in ImageSequence.Iterator(Image.open(listed[item].video))]
        frames = np.stack([picture.crop((10, 0, 50, 40)).resize((64, 64), Image.BICUBIC) for picture in pictures])
        expected = model.encode_frames(torch.from_numpy(frames).permute(0, 3, 1, 2)[None] / 255)[0]
        torch.testing.assert_close(clips.load(item), expected, rtol=0, atol=0.05)  # crop's edge sees its neighbours


def test_another_run_takes_them_from_the_cache(prepare, model, listed: list[ListedClip], monkeypatch) -> None:
    first, _ = prepare(listed)
    monkeypatch.setattr(model, "encode_frames", None)
    second, notes = prepare(listed[::-1])
    assert notes == ["10 real clips: 10 from the cache, 0 encoded"]
    assert torch.equal(second.load(9), first.load(0))


def test_a_changed_video_is_encoded_anew_and_a_copy_is_not(prepare, listed: list[ListedClip], tmp_path: Path) -> None:
    first, _ = prepare(listed)
    write_clip(listed[3].video, 200)
    shutil.copy(listed[5].video, tmp_path / "copy.gif")
    second, notes = prepare([*listed, ListedClip(tmp_path / "copy.gif", "an owl", "")])
    assert notes == ["11 real clips: 10 from the cache, 1 encoded"]
    assert not torch.equal(second.load(3), first.load(3))
    assert torch.equal(second.load(10), first.load(5))


@pytest.mark.parametrize(
    "changes", [{"num_frames": 3, "num_segments": 3}, {"height": 48}, {"width": 96}, {"fps": 4.0}], ids=str
)
def test_other_settings_are_other_latents(prepare, listed: list[ListedClip], changes: dict[str, Any]) -> None:
    prepare(listed[:1])
    write_clip(listed[0].video, 10, num_frames=8)  # as long as 4 frames a second need
    prepare(listed[:1])
    clips, notes = prepare(listed[:1], **changes)
    assert notes == ["1 real clips: 0 from the cache, 1 encoded"]
    assert clips.load(0).shape == clips.shape


def test_another_encoder_is_other_latents(prepare, model, listed: list[ListedClip], monkeypatch) -> None:
    prepare(listed[:1])
    monkeypatch.setattr(model, "fingerprint_encoder", lambda: "another")
    assert prepare(listed[:1])[1] == ["1 real clips: 0 from the cache, 1 encoded"]


@pytest.mark.parametrize("damage", [b"", b"{", None])
def test_damage_in_the_cache_is_repaired(prepare, listed: list[ListedClip], damage: bytes | None) -> None:
    clips, _ = prepare(listed[:2])
    whole = clips.load(0).clone()  # what is loaded is the file's own bytes, mapped
    path = clips.path_of(clips.records[0])
    if damage is None:
        save_file({"latents": torch.zeros(8, 3, 8, 8)}, path)
    else:
        path.write_bytes(damage)
        with pytest.raises(IvideoError, match="is damaged"):
            clips.load(0)
    again, notes = prepare(listed[:2])
    assert notes == ["2 real clips: 1 from the cache, 1 encoded"]
    assert torch.equal(again.load(0), whole)


BAD = {
    "short": (
        lambda path: write_clip(path, 9, num_frames=3),
        "{} is too short: 3 frames at 7.895 a second; 4 at 8 a second need 4",
    ),
    "cut": (lambda path: path.write_bytes(path.read_bytes()[:-90]), "{} is truncated"),
    "text": (lambda path: path.write_text("no video"), "{} is not a video that can be read"),
    "missing": (lambda path: path.unlink(), "{} does not exist"),
}


@pytest.mark.parametrize("kind", BAD)
def test_one_bad_clip_of_ten_is_named_and_left_out(prepare, listed: list[ListedClip], kind: str) -> None:
    make_bad, message = BAD[kind]
    make_bad(listed[4].video)
    clips, notes = prepare(listed)
    assert clips.prompts == [clip.prompt for clip in listed if clip is not listed[4]]
    assert len(notes) == 2
    assert notes[0].startswith(f"warning: left out: {message.format(listed[4].video)}")
    assert notes[0].endswith(" (list, line 5)")
    assert notes[1] == "9 real clips: 0 from the cache, 9 encoded"


def test_more_than_a_tenth_is_an_error_with_the_first_few(prepare, listed: list[ListedClip]) -> None:
    listed[1] = listed[1]._replace(prompt="")
    BAD["text"][0](listed[2].video)
    with pytest.raises(IvideoError) as caught:
        prepare(listed)
    assert str(caught.value).startswith(
        f"more than a tenth of the 10 clips cannot be used: {listed[1].video} has no caption (list, line 2); "
        f"{listed[2].video} is not a video that can be read"
    )
    assert "\n" not in str(caught.value)


def test_what_can_be_seen_without_reading_is_seen_first(listed: list[ListedClip]) -> None:
    assert split_source(["a cat", "a dog"]) == ([["a cat"], ["a dog"]], [])
    missing = [clip._replace(video=Path("nowhere") / clip.video.name) for clip in listed[:1]] + listed[1:]
    assert split_source(missing) == ([[clip.prompt] for clip in listed], missing)
    with pytest.raises(IvideoError) as caught:
        split_source([clip._replace(video=Path("nowhere") / clip.video.name) for clip in listed])
    assert str(caught.value) == (
        "more than a tenth of the 10 clips cannot be used: video nowhere/0.gif does not exist (list, line 1); "
        "video nowhere/1.gif does not exist (list, line 2); video nowhere/2.gif does not exist (list, line 3); ..."
    )


def test_clips_of_held_out_captions_are_left_alone(model, listed: list[ListedClip]) -> None:
    listed[9] = listed[9]._replace(prompt="")
    clips = RealClips(model, listed, [f"{number} dogs" for number in range(2, 13)], SETTINGS)
    clips.prepare(notes := Notes())
    assert clips.prompts == [f"{number} dogs" for number in range(2, 9)]
    assert notes.lines[0] == f"warning: left out: {listed[9].video} has no caption (list, line 10)"


def test_a_clip_with_several_captions_is_one_item(prepare, listed: list[ListedClip], tmp_path: Path) -> None:
    others = [listed[3]._replace(prompt=Prompt("a calf", "fog")), listed[4]._replace(prompt="")]
    clips, notes = prepare([*listed, *others])
    assert notes == ["10 real clips: 0 from the cache, 10 encoded; 1 with several captions, one drawn each time"]
    assert clips.captions[3:5] == [["3 dogs", "a calf"], ["4 dogs"]]
    assert torch.equal(clips.load(4), prepare(listed)[0].load(4))
    run = RunFolder(tmp_path / "run")
    write_records(run, clips.records)
    again = prepare(recall_clips(run))[0]
    assert again.records == clips.records
    assert own_of(again.captions[3][1]) == {"negative_prompt": "fog"}


def test_held_out_captions_are_not_trained_on_beside_others(model, listed: list[ListedClip]) -> None:
    several = [*listed[2:5], listed[2]._replace(prompt="3 dogs"), listed[4]._replace(prompt="2 dogs")]
    clips = RealClips(model, several, ["3 dogs", "4 dogs"], SETTINGS)  # the first one's first is held out
    clips.prepare(Silence())
    assert clips.captions == [["3 dogs"], ["4 dogs"]]


def test_a_run_without_a_clip_is_an_error(model, listed: list[ListedClip]) -> None:
    BAD["text"][0](listed[4].video)
    with pytest.raises(IvideoError, match=r"^no clip is left to train on: .*4\.gif is not a video"):
        RealClips(model, listed, [listed[4].prompt], SETTINGS).prepare(Silence())


def test_latents_that_are_no_numbers_are_no_clip(prepare, model, listed: list[ListedClip], monkeypatch) -> None:
    monkeypatch.setattr(model, "encode_frames", lambda frames: torch.full((1, 8, 4, 8, 8), float("nan")))
    with pytest.raises(IvideoError, match=r"0\.gif gives latents that are no numbers"):
        prepare(listed[:1])


def test_a_video_that_changes_under_the_encoder_is_no_clip(prepare, model, listed, monkeypatch) -> None:
    whole = model.encode_frames

    def encode_and_change(frames: torch.Tensor) -> torch.Tensor:
        write_clip(listed[0].video, 99)
        return whole(frames)

    monkeypatch.setattr(model, "encode_frames", encode_and_change)
    with pytest.raises(IvideoError, match=r"0\.gif changed while it was read"):
        prepare(listed[:1])


def test_a_cache_that_cannot_be_used_is_one_line(prepare, listed, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("IVIDEO_CACHE", str(listed[0].video))
    with pytest.raises(IvideoError, match=r"a file is in the way; .*IVIDEO_CACHE can name another folder"):
        prepare(listed)


def test_a_run_remembers_its_clips(prepare, listed: list[ListedClip], tmp_path: Path, monkeypatch) -> None:
    run = RunFolder(tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    clips, _ = prepare([clip._replace(video=Path(clip.video.name)) for clip in listed])
    write_records(run, clips.records)
    lines = [json.loads(line) for line in run.clip_records.read_text().splitlines()]
    assert [line["prompt"] for line in lines] == clips.prompts
    assert [line["sha256"] for line in lines] == [hash_content(clip.video, list_content) for clip in listed]
    assert load_file(clips.path_of(clips.records[2])).keys() == {"latents"}
    assert lines[2].keys() == {"prompt", "video", "sha256", "key"}
    monkeypatch.chdir("/")
    again = recall_clips(run)
    assert [(clip.video, clip.prompt) for clip in again] == [(clip.video, clip.prompt) for clip in listed]
    assert prepare(again)[0].records == clips.records


def test_a_run_whose_videos_changed_cannot_go_on(prepare, listed: list[ListedClip], tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    write_records(run, prepare(listed)[0].records)
    write_clip(listed[4].video, 77)
    with pytest.raises(IvideoError, match=r"4\.gif has changed since the run .*run started"):
        recall_clips(run)
    listed[4].video.unlink()
    with pytest.raises(IvideoError, match=r"^.*4\.gif does not exist$"):
        recall_clips(run)


WRONG_TYPES = '{"prompt": 1, "video": ["a.gif"], "sha256": null, "key": 2}\n'


@pytest.mark.parametrize("content", [None, "", "{\n", '{"video": "a.gif"}\n', "[]\n", '{"video": "a.g', WRONG_TYPES])
def test_a_damaged_memory_is_one_line(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "clips.jsonl").write_text(content)
    with pytest.raises(IvideoError, match=r"clips\.jsonl(, line 1,)? (does not exist|is damaged: )"):
        recall_clips(RunFolder(tmp_path))
