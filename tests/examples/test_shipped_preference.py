"""The bundled reward model orders held-out pictures as a person would, and cannot be bribed with light."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from examples.emoji_world.degradations import DEGRADATIONS
from examples.emoji_world.preference_pairs import (
    FRAMES_A_CLIP,
    UNSEEN_STRENGTHS,
    Maker,
    Pool,
    as_float,
    foreign_picture,
)
from examples.emoji_world.train_preference import FLOORS, evaluate, mean_scores
from ivideo.models.families import load_model
from ivideo.rewards.registry import load_reward

pytestmark = pytest.mark.needs_font
SEED = 11  # of no training
NUM_MADE = 5  # clips of the base model


@pytest.fixture(scope="module")
def reward_model():
    return load_reward("emoji-preference", torch.device("cpu"))


@pytest.fixture(scope="module")
def pool(tmp_path_factory):
    """Renders that no training saw, spoiled at strengths that no training used; samples by the bundled model."""
    made = Pool(300, SEED, UNSEEN_STRENGTHS)
    model = load_model("emoji-world", torch.device("cpu"), torch.float32)
    maker = Maker(tmp_path_factory.mktemp("made") / "bundled")
    made.samples = [torch.cat([made.sample_clip(model, maker, n)["sample"] for n in range(NUM_MADE)])]
    return made


@pytest.mark.parametrize("kind", ["degraded", "wrong subject", "wrong place", "sample"])
def test_floors_hold_on_held_out_pairs(reward_model, pool, kind):
    num_pairs = FRAMES_A_CLIP * NUM_MADE * 2 if kind == "sample" else 400
    shares = evaluate(reward_model.network, reward_model.tokenize, pool, SEED, num_pairs, [kind])
    assert shares[kind] >= FLOORS[kind]


def test_clean_renders_score_highest_and_every_degradation_costs_more_the_stronger_it_is(reward_model, pool):
    scores = mean_scores(reward_model.network, reward_model.tokenize, pool, SEED, count=80)
    assert max(scores, key=scores.get) == "clean"
    for kind in DEGRADATIONS:
        by_strength = [scores[f"{kind} {strength}"] for strength in ("0.00", "0.33", "0.67", "1.00")]
        assert by_strength == sorted(by_strength, reverse=True), kind


@pytest.mark.parametrize("still", ["foreign", "another scene"])
def test_no_still_picture_outscores_a_good_clip_by_brightness_or_contrast(reward_model, pool, still):
    rng = np.random.default_rng(SEED)
    for number in range(0, 120, 10):
        scene, rows = pool.clips[number].scene, slice(number * FRAMES_A_CLIP, (number + 1) * FRAMES_A_CLIP)
        other = int(rng.choice([i for i, other in enumerate(pool.scenes) if other.subject != scene.subject]))
        picture = foreign_picture(rng) if still == "foreign" else as_float(pool.frames[other])
        variants = torch.stack(
            [
                ((picture - 0.5) * contrast + 0.5 + brightness).clamp(0, 1)
                for contrast in (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.5, 4.0)
                for brightness in (-0.4, -0.2, 0.0, 0.2, 0.4)
            ]
        )
        best = reward_model.score(variants[None], [scene.caption()]).max()
        good = reward_model.score(as_float(pool.frames[rows])[None], [scene.caption()]).mean()
        assert best < good, scene
