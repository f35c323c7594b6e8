from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from examples.emoji_world import train_clip
from examples.emoji_world.captions import SUBJECTS, Scene, all_scenes, places_for
from examples.emoji_world.preference_pairs import Pool, as_float
from examples.emoji_world.train_clip import (
    contrastive_loss,
    draw_batch,
    draw_rows,
    evaluate,
    true_captions,
    wrong_scenes,
)

SCENE = Scene("owl", "flying", "at night")
UNITS = torch.eye(4)


@pytest.fixture(scope="module")
def pool():
    return Pool(100, seed=0)


def test_wrong_scenes_differ_in_one_word_and_can_be():
    rng = np.random.default_rng(0)
    drawn = [wrong_scenes(SCENE, rng) for _ in range(50)]
    assert all(subject == replace(SCENE, subject=subject.subject) != SCENE for subject, _ in drawn)
    assert all(place == replace(SCENE, place=place.place) != SCENE for _, place in drawn)
    assert len({subject for subject, _ in drawn}) > 20
    assert {place.place for _, place in drawn} == {*places_for("flying")} - {SCENE.place}


def test_true_captions_leave_out_what_they_like():
    assert true_captions(SCENE) == {"an owl flying at night", "an owl flying", "an owl at night", "an owl"}


@pytest.mark.needs_font
def test_a_batch_has_right_and_wrong_captions_and_knows_what_is_true_by_chance(pool):
    rng = np.random.default_rng(0)
    batch = draw_batch(pool, draw_rows(pool, 150, rng, alike=False), rng)
    assert batch.frames.shape == batch.spoiled.shape == (150, 3, 64, 64)
    clean = as_float(pool.frames)
    scenes = {frame.numpy().tobytes(): scene for frame, scene in zip(clean, pool.scenes, strict=True)}
    shown = [scenes.get(frame.numpy().tobytes()) for frame in batch.frames]
    assert 50 < sum(scene is not None for scene in shown) < 100, "half are as they were rendered"
    assert not any(frame.numpy().tobytes() in scenes for frame in batch.spoiled)
    with_wrong_subject, with_wrong_place = batch.wrong_captions[:150], batch.wrong_captions[150:]
    for row, scene in enumerate(shown):
        if scene is not None:
            assert batch.captions[row] in true_captions(scene)
            assert {with_wrong_subject[row], with_wrong_place[row]}.isdisjoint(true_captions(scene))
            assert scene.subject in with_wrong_place[row].split()
            assert batch.fits[row].tolist() == [caption in true_captions(scene) for caption in batch.captions]
    assert batch.fits.diagonal().all()
    assert batch.fits.sum() > 150, "several captions are true of a frame"


@pytest.mark.needs_font
def test_frames_that_are_alike_differ_by_subject_only(pool):
    rng = np.random.default_rng(0)
    drawn = [[pool.scenes[row] for row in draw_rows(pool, 40, rng, alike=True)] for _ in range(20)]
    assert all(len({(scene.motion, scene.place) for scene in scenes}) == 1 for scenes in drawn)
    assert len({scenes[0].place for scenes in drawn}) > 3
    assert max(len({scene.subject for scene in scenes}) for scenes in drawn) > 3


def test_the_loss_by_hand():
    """All cosines are 0 but those of a frame and its caption, so that softmaxes are of e and ones."""
    frames, spoiled, wrong = UNITS[[0, 1]], UNITS[[2, 2]], UNITS[[3, 3]]
    images, texts = torch.cat([frames, spoiled]), torch.cat([frames, wrong, wrong])
    apart, one = torch.eye(2, dtype=torch.bool), torch.tensor(1.0)
    captions = (math.log(math.e + 3) - 1 + math.log(4)) / 2  # of the frames, of the spoiled ones
    pictures = math.log(math.e + 1 + 8) - 1  # a spoiled frame counts for eight
    assert contrastive_loss(images, texts, apart, one).item() == pytest.approx((captions + pictures) / 2)
    captions = (math.log(math.e + 2) - 1 + math.log(3)) / 2  # the other caption is true as well, and left out
    pictures = math.log(math.e + 8) - 1
    by_chance = torch.ones_like(apart)
    assert contrastive_loss(images, texts, by_chance, one).item() == pytest.approx((captions + pictures) / 2)


def test_the_scale_learns_where_captions_are_true_by_chance():
    scale = torch.tensor(1.0, requires_grad=True)
    all_true = torch.ones(2, 2, dtype=torch.bool)
    contrastive_loss(UNITS[[0, 1, 0, 1]], UNITS[[0, 1, 3, 3, 3, 3]], all_true, scale).backward()
    assert scale.grad < 0


class Reader(torch.nn.Module):
    """Knows the frames by heart: features of a frame are those of its caption, of any other picture they are zero."""

    def __init__(self, pool: Pool):
        super().__init__()
        self.numbers = {scene.caption(): number for number, scene in enumerate(all_scenes())}
        self.seen = {
            as_float(frame).numpy().tobytes(): self.numbers[scene.caption()]
            for frame, scene in zip(pool.frames, pool.scenes, strict=True)
        }

    def encode_image(self, frames):
        numbers = [self.seen.get(frame.numpy().tobytes()) for frame in frames]
        rows = [torch.zeros(len(self.numbers)) if n is None else self.row(n) for n in numbers]
        return torch.stack(rows)

    def row(self, number):
        return torch.nn.functional.one_hot(torch.tensor(number), len(self.numbers)).float()

    def encode_text(self, captions):
        return torch.stack([self.row(self.numbers.get(caption, 0)) for caption in captions])


@pytest.mark.needs_font
def test_evaluation_of_one_who_is_always_right_and_of_one_who_sees_subjects_only(pool, monkeypatch):
    monkeypatch.setattr("examples.emoji_world.clip_networks.preprocess", lambda frames, size: frames)
    right = evaluate(Reader(pool), list, pool, seed=3, count=20)
    assert set(right.values()) == {1.0}
    assert {"wrong subject", "wrong place", "any subject", "any place", *train_clip.DEGRADATIONS} == right.keys()

    class SubjectReader(Reader):
        def row(self, number):
            return super().row(SUBJECTS.index(all_scenes()[number].subject))

    shares = evaluate(SubjectReader(pool), list, pool, seed=3, count=20)
    assert (shares["wrong subject"], shares["any subject"]) == (1.0, 1.0)
    assert (shares["wrong place"], shares["any place"]) == (0.0, 0.0)


@pytest.mark.needs_font
def test_the_command_trains_goes_on_and_saves_what_open_clip_reads(tmp_path, capsys, monkeypatch):
    import open_clip

    arguments = ["train_clip", str(tmp_path), "--batch-size", "4", "--num-clips", "20", "--num-held-out", "5"]
    for steps in ("2", "3"):
        monkeypatch.setattr("sys.argv", [*arguments, "--steps", steps])
        train_clip.main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[1] for line in lines if line.startswith("step ")] == ["2", "3"]
    assert lines[-1].startswith(f"saved {tmp_path / 'clip'}")
    assert {path.name for path in (tmp_path / "clip").iterdir()} == {
        *("model.safetensors", "open_clip_config.json", "tokenizer.json", "tokenizer_config.json")
    }
    (tmp_path / "clip" / "model.safetensors").rename(tmp_path / "clip" / "open_clip_model.safetensors")
    network = open_clip.create_model(f"local-dir:{tmp_path / 'clip'}", require_pretrained=True)
    assert network.visual.conv1.kernel_size == (8, 8)
