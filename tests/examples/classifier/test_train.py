from __future__ import annotations

import argparse
from collections import Counter

import pytest
import torch

from examples.emoji_world.captions import Scene
from examples.emoji_world.classifier import Classifier, Predictions
from examples.emoji_world.classifier import train as training
from examples.emoji_world.classifier.network import FILE_NAME
from examples.emoji_world.classifier.train import accuracies, augmented, confusions, main, render_clips, targets, train
from examples.emoji_world.renderer import render
from examples.emoji_world.training import Clock

SCENES = [
    Scene("cat", "running", "on grass"),
    Scene("dog", "surfing", "on a wave"),
    Scene("cat", "flying", "in space"),
    Scene("star", "surfing", "at night"),
]


@pytest.fixture
def predictions():
    return Predictions(
        subjects=["cat", "cat", "dog", "star"],
        motions=["running", "surfing", "flying", "surfing"],
        places=["on grass", "on grass", "at night", "in space"],
        features=torch.zeros(4, 128),
    )


def test_accuracies_by_hand(predictions):
    assert accuracies(predictions, SCENES) == {"subjects": 0.5, "motions": 1.0, "places": 0.25}


def test_confusions_by_hand(predictions):
    assert confusions(predictions, SCENES) == Counter(
        {
            ("dog", "cat"): 1,
            ("cat", "dog"): 1,
            ("on a wave", "on grass"): 1,
            ("in space", "at night"): 1,
            ("at night", "in space"): 1,
        }
    )


def test_targets_are_positions_of_the_words():
    assert {name: values.tolist() for name, values in targets(SCENES).items()} == {
        "subjects": [0, 1, 0, 44],
        "motions": [0, 4, 2, 4],
        "places": [0, 6, 5, 3],
    }


@pytest.mark.needs_font
def test_each_clip_has_its_own_seed():
    scenes, clips = render_clips(3, 70, [2, 9])
    assert clips.shape == (3, 2, 64, 64, 3)
    assert torch.equal(clips[2], torch.from_numpy(render(scenes[2], 72, [2, 9])))
    assert render_clips(3, 90, [2, 9])[0] != scenes


def test_augmented_clips_stay_bytes_and_each_has_its_own_draw():
    clip = torch.randint(0, 256, (1, 2, 64, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    changed = augmented(clip.repeat(2, 1, 1, 1, 1), "tint", 1.0)
    assert changed.dtype == torch.uint8
    assert changed.shape == (2, 2, 64, 64, 3)
    assert not torch.equal(changed[0], changed[1])
    assert (changed[0].float() - clip[0].float()).abs().max() <= 0.2 * 255 + 1


def settings(**changes):
    return argparse.Namespace(**{"steps": 4, "batch_size": 2, "num_clips": 6, "seed": 0, **changes})


@pytest.mark.needs_font
def test_training_that_was_stopped_ends_where_it_would_have(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "SAVE_EVERY", 2)
    original, calls = training.augment, []

    def interrupted(clip, rng):
        calls.append(clip)
        if len(calls) == 6:  # in the third step
            raise KeyboardInterrupt
        return original(clip, rng)

    def start():
        torch.manual_seed(0)
        return Classifier()

    straight = start()
    train(straight, settings(), Clock(tmp_path / "straight.ckpt"))
    monkeypatch.setattr(training, "augment", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(start(), settings(), Clock(tmp_path / "stopped.ckpt"))
    monkeypatch.setattr(training, "augment", original)
    resumed = Classifier()
    train(resumed, settings(), Clock(tmp_path / "stopped.ckpt"))
    expected = straight.state_dict()
    assert all(torch.allclose(value, expected[name], atol=1e-5) for name, value in resumed.state_dict().items())


@pytest.mark.needs_font
def test_training_learns(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(training, "SAVE_EVERY", 1)
    monkeypatch.setattr(training, "augment", lambda clip, rng: clip)
    torch.manual_seed(0)
    train(Classifier(), settings(steps=10, batch_size=4, num_clips=4), Clock(tmp_path / "classifier.ckpt"))
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("step")]
    losses = [[float(part.split()[1]) for part in line.split("loss: ")[1].split(" |")[0].split(", ")] for line in lines]
    assert sum(losses[-1]) < 0.7 * sum(losses[0])


@pytest.mark.needs_font
def test_the_command_writes_weights_and_tells_accuracies(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(training, "AUGMENTATIONS", {"blur": training.AUGMENTATIONS["blur"]})
    numbers = {"--steps": 1, "--batch-size": 2, "--num-clips": 4, "--num-heldout": 2}
    options = [str(part) for option in numbers.items() for part in option]
    monkeypatch.setattr("sys.argv", ["train", str(tmp_path), "--output", str(tmp_path / "weights"), *options])
    main()
    assert [path.name for path in (tmp_path / "weights").iterdir()] == [FILE_NAME]
    printed = capsys.readouterr().out
    assert f"saved {tmp_path / 'weights'} after " in printed
    assert "classified 2 held-out clips in " in printed
    assert [line.split(" subjects")[0].strip() for line in printed.splitlines() if " subjects " in line][-3:] == [
        "clean",
        "blur 0.5",
        "blur 1.0",
    ]
