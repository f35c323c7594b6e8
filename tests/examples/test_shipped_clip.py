"""The bundled CLIP knows the world's subjects and places, in renders and in the bundled model's clips."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from examples.emoji_world.captions import SUBJECTS, places_for
from examples.emoji_world.preference_pairs import Maker, Pool, as_float
from examples.emoji_world.train_clip import FLOORS, evaluate
from ivideo.models.families import load_model
from ivideo.rewards.registry import load_reward

pytestmark = pytest.mark.needs_font
SEED = 11  # of no training
NUM_MADE = 8  # clips of the base model
MARGIN = 0.2  # of the cosine, between right and wrong prompts


@pytest.fixture(scope="module")
def reward_model():
    return load_reward("emoji-clip", torch.device("cpu"))


@pytest.fixture(scope="module")
def pool():
    """Renders that no training saw."""
    return Pool(300, SEED)


def test_floors_hold_on_held_out_renders(reward_model, pool):
    shares = evaluate(reward_model.network, reward_model.tokenize, pool, SEED, count=300)
    assert {kind: shares[kind] for kind, floor in FLOORS.items() if shares[kind] < floor} == {}


def test_clips_of_the_bundled_model_fit_their_own_prompts_better_than_wrong_ones(reward_model, pool, tmp_path):
    model = load_model("emoji-world", torch.device("cpu"), torch.float32)
    maker = Maker(tmp_path / "bundled")
    by_subject, by_place = [], []
    for number, clip in enumerate(pool.clips[:NUM_MADE]):
        frames = as_float(pool.sample_clip(model, maker, number)["sample"])[None]
        scene = clip.scene
        others = [replace(scene, subject=subject) for subject in SUBJECTS if subject != scene.subject]
        elsewhere = [replace(scene, place=place) for place in places_for(scene.motion) if place != scene.place]
        captions = [shown.caption() for shown in (scene, *others, *elsewhere)]
        right, *wrong = (reward_model.score(frames, [caption]).mean().item() for caption in captions)
        by_subject.append(right - np.mean(wrong[: len(others)]))
        by_place.append(right - max(wrong[len(others) :]))
    assert np.mean(by_subject) > MARGIN
    assert np.mean(by_place) > MARGIN
