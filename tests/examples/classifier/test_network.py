from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from examples.emoji_world.captions import MOTIONS, PLACES, SUBJECTS
from examples.emoji_world.classifier import Classifier, load_classifier
from examples.emoji_world.classifier.network import FILE_NAME, FRAME_INDICES, WEIGHTS, as_frames, save_classifier
from examples.emoji_world.classifier.train import HELDOUT_SEED, accuracies, augmented, render_clips
from examples.emoji_world.renderer import NUM_FRAMES


@pytest.fixture(scope="module")
def classifier():
    return load_classifier()


@pytest.fixture
def clips():
    return np.random.default_rng(0).integers(0, 256, (3, NUM_FRAMES, 64, 64, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def heldout():
    """60 scenes that the training did not see, and their clips."""
    return render_clips(60, HELDOUT_SEED + 100_000, list(range(NUM_FRAMES)))


def test_bytes_become_channels_first_in_the_unit_range():
    clips = torch.zeros((2, 5, 4, 4, 3), dtype=torch.uint8)
    clips[1, 2, 3, 0] = torch.tensor([255, 51, 0], dtype=torch.uint8)
    frames = as_frames(clips)
    assert frames.shape == (2, 5, 3, 4, 4)
    assert frames[1, 2, :, 3, 0].tolist() == pytest.approx([1.0, 0.2, 0.0])
    assert frames.sum().item() == pytest.approx(1.2)


def test_predictions_have_the_worlds_words_and_features_of_length_one(classifier, clips):
    predictions = classifier.classify(clips)
    seen = predictions.subjects, predictions.motions, predictions.places
    for words, known in zip(seen, (SUBJECTS, MOTIONS, PLACES), strict=True):
        assert len(words) == 3
        assert set(words) <= set(known)
    assert predictions.features.shape == (3, 128)
    assert predictions.features.dtype == torch.float32
    assert torch.allclose(predictions.features.norm(dim=1), torch.ones(3))
    assert not predictions.features.requires_grad


def test_arrays_and_tensors_alone_or_in_batches_give_the_same_predictions(classifier, clips):
    whole, parts = classifier.classify(clips), classifier.classify(torch.from_numpy(clips), batch_size=2)
    assert (whole.subjects, whole.motions, whole.places) == (parts.subjects, parts.motions, parts.places)
    assert torch.allclose(whole.features, parts.features, atol=1e-5)


def test_words_are_those_of_the_largest_logits(classifier, clips):
    with torch.no_grad():
        logits = classifier.logits(classifier(as_frames(torch.from_numpy(clips[:, list(FRAME_INDICES)]))))
    assert classifier.classify(clips).subjects == [SUBJECTS[i] for i in logits["subjects"].argmax(1)]


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((2, 8, 64, 64, 3), np.uint8),
        np.zeros((2, 16, 3, 64, 64), np.uint8),
        np.zeros((16, 64, 64, 3), np.uint8),
        np.zeros((2, 16, 64, 64, 3), np.float32),
    ],
    ids=["too few frames", "channels first", "no batch", "floats"],
)
def test_other_clips_are_refused(classifier, wrong):
    with pytest.raises(ValueError, match=r"expected uint8 clips \(batch, 16, 64, 64, 3\), got "):
        classifier.classify(wrong)


def test_missing_weights_name_the_command_that_makes_them(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"python -m examples\.emoji_world\.classifier\.train build/"):
        load_classifier(tmp_path)


def test_a_saved_classifier_classifies_as_before(tmp_path, clips):
    torch.manual_seed(0)
    trained = Classifier().train()
    trained(as_frames(torch.from_numpy(clips[:, list(FRAME_INDICES)])))  # moves the running statistics
    save_classifier(trained, tmp_path / "new")
    expected, loaded = trained.eval().classify(clips), load_classifier(tmp_path / "new").classify(clips)
    assert torch.allclose(loaded.features, expected.features, atol=0.01)


def test_shipped_weights_are_small():
    path = WEIGHTS / FILE_NAME
    assert path.stat().st_size < 3e6
    assert {value.dtype for value in load_file(path).values()} == {torch.float16, torch.int64}


@pytest.mark.needs_font
def test_the_shipped_classifier_is_right_on_heldout_renders(classifier, heldout):
    scenes, clips = heldout
    assert min(accuracies(classifier.classify(clips), scenes).values()) >= 0.95


@pytest.mark.needs_font
@pytest.mark.parametrize("kind", ["blur", "noise", "resolution"])
def test_sharpness_does_not_sway_the_shipped_classifier(classifier, heldout, kind):
    scenes, clips = heldout
    assert min(accuracies(classifier.classify(augmented(clips, kind, 0.5)), scenes).values()) >= 0.92


@pytest.mark.needs_font
def test_a_still_clip_does_not_approach(classifier, heldout):
    scenes, clips = heldout
    kept = [number for number, scene in enumerate(scenes) if scene.motion == "approaching"]
    still = clips[kept][:, 8:9].expand(-1, NUM_FRAMES, -1, -1, -1)
    assert classifier.classify(still).motions.count("approaching") < len(kept) / 2
