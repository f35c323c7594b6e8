"""Trains the emoji world's CLIP: how well a frame fits its caption, by a network that knows no preferences.

    python -m examples.emoji_world.train_clip build/emoji_world

It is the second reward model while the preference model is trained on, so the two have nothing in common but the
world: this one is a transformer of patches, and sees renders only, mildly spoiled ones among them, never a model's
work. Stop it at any time: it goes on from its last checkpoint in that folder.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .captions import SUBJECTS, Scene, all_scenes, places_for
from .clip_networks import (
    Tokenize,
    build_network,
    cosines,
    fit,
    logit_scale,
    padded_ids,
    print_shares,
    save_network,
)
from .degradations import DEGRADATIONS, degrade
from .preference_pairs import Pool, as_float
from .tokenizer import CONTEXT_LENGTH, make_tokenizer
from .train_text_to_video import world_words
from .training import Clock, autocast

FLOORS = {"wrong subject": 0.97, "wrong place": 0.97, "blur": 0.85, "noise": 0.85}
"""Shares of held-out renders for which the reward model must be right to be of use."""
MILD, HEAVY = (0.0, 0.3), (0.4, 1.0)
"""Strengths at which a render still fits its caption, and at which it fits less; ranges."""
NUM_BROAD_STEPS = 500  # batches of the whole world; then every other one is of frames that differ by subject only
SPOILED_COUNT = 8  # frames that a spoiled one counts for among the alternatives of its caption
BLUR_SHARE = 0.4  # of the spoiled frames are blurred, which is the hardest to see; the others in any way
DROP_PROBABILITY = 0.15  # of a caption's motion, and of its place


def network_config(vocabulary_size: int) -> dict:
    """The network in open_clip's words: CLIP with a small transformer of patches of 8 pixels."""
    return {
        "embed_dim": 128,
        "quick_gelu": True,
        "vision_cfg": {"image_size": 64, "patch_size": 8, "layers": 4, "width": 128, "head_width": 32},
        "text_cfg": {
            "context_length": CONTEXT_LENGTH,
            "vocab_size": vocabulary_size,
            "width": 96,
            "heads": 3,
            "layers": 2,
        },
    }


@dataclass(frozen=True)
class Batch:
    """Frames, and what fits them and what does not.

    Attributes:
        frames: (size, 3, 64, 64) in [0, 1], half of them mildly spoiled.
        spoiled: the same, heavily spoiled.
        captions: of each frame.
        wrong_captions: of each frame one with another subject, then of each frame one with another place.
        fits: (size, size) bool, whether caption `column` is true of frame `row`.
    """

    frames: Tensor
    spoiled: Tensor
    captions: list[str]
    wrong_captions: list[str]
    fits: Tensor


def another(word: str, words: Sequence[str], rng: np.random.Generator) -> str:
    """One of the other words."""
    return str(rng.choice([other for other in words if other != word]))


def wrong_scenes(scene: Scene, rng: np.random.Generator) -> tuple[Scene, Scene]:
    """The scene with another subject, and in another place where its motion can happen."""
    elsewhere = another(scene.place, places_for(scene.motion), rng)
    return replace(scene, subject=another(scene.subject, SUBJECTS, rng)), replace(scene, place=elsewhere)


def true_captions(scene: Scene) -> set[str]:
    """All captions of a scene: with its motion and place, without one, and without both."""
    return {scene.caption(with_motion=m, with_place=p) for m in (True, False) for p in (True, False)}


def draw_rows(pool: Pool, size: int, rng: np.random.Generator, *, alike: bool) -> list[int]:
    """Rows of the pool's frames; `alike`: all of one motion in one place, so that their captions differ by subject."""
    if not alike:
        return rng.integers(0, len(pool.frames), size).tolist()
    model = pool.scenes[rng.integers(len(pool.scenes))]
    others = [row for row, scene in enumerate(pool.scenes) if replace(scene, subject=model.subject) == model]
    return rng.choice(others, size).tolist()


def draw_batch(pool: Pool, rows: list[int], rng: np.random.Generator) -> Batch:
    """Frames of the pool with right and wrong captions; wrong ones leave out the same words as the right ones."""
    frames, spoiled, captions, with_wrong_subject, with_wrong_place = [], [], [], [], []
    for row in rows:
        clean, scene = as_float(pool.frames[row]), pool.scenes[row]
        frames.append(degrade(clean, rng.uniform(*MILD), rng) if rng.random() < 0.5 else clean)
        kind = "blur" if rng.random() < BLUR_SHARE else None
        spoiled.append(degrade(clean, rng.uniform(*HEAVY), rng, kind))
        with_motion, with_place = (bool(draw >= DROP_PROBABILITY) for draw in rng.random(2))
        wrong_subject, wrong_place = wrong_scenes(scene, rng)
        captions.append(scene.caption(with_motion=with_motion, with_place=with_place))
        with_wrong_subject.append(wrong_subject.caption(with_motion=with_motion, with_place=with_place))
        with_wrong_place.append(wrong_place.caption(with_motion=with_motion))
    true = [true_captions(pool.scenes[row]) for row in rows]
    fits = torch.tensor([[caption in known for caption in captions] for known in true])
    return Batch(torch.stack(frames), torch.stack(spoiled), captions, [*with_wrong_subject, *with_wrong_place], fits)


def contrastive_loss(images: Tensor, texts: Tensor, fits: Tensor, scale: Tensor) -> Tensor:
    """CLIP's loss with hard negatives: two wrong captions of each frame, and each frame heavily spoiled.

    A frame, spoiled or not, chooses among all right captions and its own wrong ones; a caption among all frames and its
    own one spoiled, which counts for SPOILED_COUNT. What is true of a frame by chance is no alternative to its caption.

    Args:
        images: (2 * size, dim) of length 1: frames, then the same spoiled.
        texts: (3 * size, dim) of length 1: right captions, those of another subject, those of another place.
        fits: (size, size) bool, whether caption `column` is true of frame `row`.
        scale: what cosines are multiplied by.
    """
    size = len(fits)
    numbers = torch.arange(size)
    by_chance = fits & ~torch.eye(size, dtype=torch.bool)
    right, *wrong = texts.chunk(3)
    table = (scale * images @ right.T).masked_fill(by_chance.repeat(2, 1), -torch.inf)
    own_wrong = [scale * (images * other.repeat(2, 1)).sum(-1, keepdim=True) for other in wrong]
    own_spoiled = table[size:].diagonal()[:, None] + math.log(SPOILED_COUNT)
    captions = F.cross_entropy(torch.cat([table, *own_wrong], dim=1), numbers.repeat(2))
    pictures = F.cross_entropy(torch.cat([table[:size].T, own_spoiled], dim=1), numbers)
    return (captions + pictures) / 2


@torch.no_grad()
def evaluate(network: nn.Module, tokenize: Tokenize, pool: Pool, seed: int, count: int = 256) -> dict[str, float]:
    """Shares of the pool's clean frames, at most `count` drawn by the seed, for which the network is right.

    Under "wrong subject" and "wrong place": the right caption scores higher than one with that wrong; "any subject" and
    "any place": than all with that wrong; and by degradation: the frame scores lower when it is spoiled at strength 1.
    """
    network.eval()
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(pool.frames))[:count].tolist()
    clean, scenes = as_float(pool.frames[rows]), [pool.scenes[row] for row in rows]
    known = {scene: number for number, scene in enumerate(all_scenes())}
    images, texts = cosines(network, clean, tokenize([scene.caption() for scene in known]))
    table = images @ texts.T
    right = table[range(len(rows)), [known[scene] for scene in scenes]]

    def share_above(others_of: Callable[[Scene], Iterable[Scene]]) -> float:
        above = [
            bool((right[row] > table[row, [known[other] for other in others_of(scene)]]).all())
            for row, scene in enumerate(scenes)
        ]
        return float(np.mean(above))

    shares = {
        "wrong subject": share_above(lambda scene: [wrong_scenes(scene, rng)[0]]),
        "wrong place": share_above(lambda scene: [wrong_scenes(scene, rng)[1]]),
        "any subject": share_above(lambda scene: [replace(scene, subject=s) for s in SUBJECTS if s != scene.subject]),
        "any place": share_above(
            lambda scene: [replace(scene, place=p) for p in places_for(scene.motion) if p != scene.place]
        ),
    }
    of_scenes = texts[[known[scene] for scene in scenes]]
    for kind in DEGRADATIONS:
        spoiled = torch.stack([degrade(image, 1.0, rng, kind) for image in clean])
        worse, _ = cosines(network, spoiled, tokenize(["a cat"]))
        shares[kind] = (right > (worse * of_scenes).sum(-1)).float().mean().item()
    return shares


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--batch-size", type=int, default=48, help="frames a step")
    parser.add_argument("--learning-rate", type=float, default=0.02, help="Muon's")
    parser.add_argument("--num-clips", type=int, default=6000, help="rendered clips")
    parser.add_argument("--num-held-out", type=int, default=1000, help="held-out ones")
    parser.add_argument("--seed", type=int, default=50, help="held-out renders take the next one")
    arguments = parser.parse_args()

    torch.manual_seed(arguments.seed)
    clock = Clock(arguments.folder / "clip.ckpt")
    pool, heldout = Pool(arguments.num_clips, arguments.seed), Pool(arguments.num_held_out, arguments.seed + 1)
    print(f"{len(pool.frames)} frames after {clock.seconds:.0f} s", flush=True)
    tokenizer = make_tokenizer(world_words())
    tokenize, config = padded_ids(tokenizer), network_config(len(tokenizer))
    network, average = build_network(config), build_network(config)
    average.load_state_dict(network.state_dict())

    def loss_of(step: int) -> Tensor:
        rng = np.random.default_rng([arguments.seed, 10, step])
        is_alike = step >= NUM_BROAD_STEPS and step % 2 == 1
        batch = draw_batch(pool, draw_rows(pool, arguments.batch_size, rng, alike=is_alike), rng)
        ids = tokenize([*batch.captions, *batch.wrong_captions])
        with autocast():
            images, texts = cosines(network, torch.cat([batch.frames, batch.spoiled]), ids)
        return contrastive_loss(images, texts, batch.fits, logit_scale(network))

    def tell() -> str:
        shares = evaluate(average, tokenize, heldout, arguments.seed)
        return ", ".join(f"{kind} {share:.3f}" for kind, share in shares.items())

    fit(network, average, loss_of, tell, clock, arguments.steps, arguments.learning_rate, save_every=100)
    print_shares(evaluate(average, tokenize, heldout, arguments.seed, count=1000), FLOORS)
    save_network(average, tokenizer, config, arguments.folder / "clip")
    print(f"saved {arguments.folder / 'clip'} after {clock.seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main()
