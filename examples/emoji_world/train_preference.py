"""Trains the emoji world's preference model on simulated preferences, with HPSv2's objective.

    python -m examples.emoji_world.train_preference build/emoji_world

Which picture of a pair is better is known by construction (`preference_pairs.py`); nobody was asked. Needs what
`train_vae.py` and `train_text_to_video.py` left in the same folder. Stop it at any time: it goes on from its last
checkpoint.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from ivideo.models.unet3d.model import UNet3DModel

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
from .preference_pairs import KINDS, UNSEEN_STRENGTHS, Maker, Pool, as_float, pair_batch
from .tokenizer import CONTEXT_LENGTH, make_tokenizer
from .train_text_to_video import build_models, world_words
from .training import Clock, autocast

FLOORS = {
    "degraded": 0.92,
    "wrong subject": 0.95,
    "wrong place": 0.95,
    "sample": 0.9,
    "worse sample": 0.8,
}
"""Shares of held-out pairs that a reward model must order rightly to be of use."""


def network_config(vocabulary_size: int) -> dict:
    """The network in open_clip's words: CLIP with a small residual network.

    At this size and with this much training, convolutions see blur, noise and a model's hand where a transformer of
    patches does not.
    """
    return {
        "embed_dim": 128,
        "quick_gelu": True,
        "vision_cfg": {"image_size": 64, "layers": [1, 1, 2, 1], "width": 32, "head_width": 64},
        "text_cfg": {
            "context_length": CONTEXT_LENGTH,
            "vocab_size": vocabulary_size,
            "width": 128,
            "heads": 4,
            "layers": 2,
        },
    }


def preference_loss(images: Tensor, texts: Tensor, scale: Tensor) -> Tensor:
    """HPSv2's pair cross-entropy plus a quarter of CLIP's contrastive loss on the better frames."""
    better, worse = images.chunk(2)
    logits = scale * torch.stack([(better * texts).sum(-1), (worse * texts).sum(-1)], dim=1)
    labels = torch.zeros(len(texts), dtype=torch.long)
    pairs = F.cross_entropy(logits, labels)
    table = scale * better @ texts.T
    numbers = torch.arange(len(texts))
    contrast = (F.cross_entropy(table, numbers) + F.cross_entropy(table.T, numbers)) / 2
    return pairs + 0.25 * contrast


@torch.no_grad()
def evaluate(
    network: torch.nn.Module,
    tokenize: Tokenize,
    pool: Pool,
    seed: int,
    num_pairs: int = 256,
    kinds: Iterable[str] = KINDS,
) -> dict[str, float]:
    """Share of held-out pairs that are ordered rightly, by kind."""
    network.eval()
    shares = {}
    for kind in kinds:
        frames, captions = pair_batch(pool, num_pairs, np.random.default_rng(seed), {kind: 1.0})
        images, texts = cosines(network, frames, tokenize(captions))
        better, worse = images.chunk(2)
        shares[kind] = ((better * texts).sum(-1) > (worse * texts).sum(-1)).float().mean().item()
    return shares


@torch.no_grad()
def mean_scores(
    network: torch.nn.Module, tokenize: Tokenize, pool: Pool, seed: int, count: int = 128
) -> dict[str, float]:
    """Mean cosine of clean frames, of their versions, and of each degradation at strengths 0, 1/3, 2/3 and 1."""
    network.eval()
    num_frames = min(map(len, (pool.frames, *pool.edited.values(), *pool.samples)))
    rows = np.random.default_rng(seed).integers(0, num_frames, count).tolist()
    texts = tokenize([pool.scenes[row].caption() for row in rows])
    clean = as_float(pool.frames[rows])

    def mean_of(pictures: Tensor) -> float:
        images, captions = cosines(network, pictures, texts)
        return (images * captions).sum(-1).mean().item()

    scores = {"clean": mean_of(clean)}
    for name, frames in pool.edited.items():
        scores[name] = mean_of(as_float(frames[rows]))
    for number, samples in enumerate(pool.samples):
        scores[f"sample of maker {number}"] = mean_of(as_float(samples[rows]))
    for kind in DEGRADATIONS:
        for strength in (0.0, 1 / 3, 2 / 3, 1.0):
            spoiled = [
                degrade(image, strength, np.random.default_rng([seed, i]), kind) for i, image in enumerate(clean)
            ]
            scores[f"{kind} {strength:.2f}"] = mean_of(torch.stack(spoiled))
    return scores


def wrap_models(parts: dict) -> UNet3DModel:
    """The parts that are being trained as the model that ivideo samples from."""
    return UNet3DModel("emoji-world", device=torch.device("cpu"), **parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--autoencoder-from", type=Path, help="a saved pipeline, where the folder has no autoencoder")
    parser.add_argument("--start-from", type=Path, help="a saved preference model whose training goes on")
    parser.add_argument("--snapshots", type=int, nargs="+", default=[250, 500, 2600], help="steps, from early to late")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--batch-size", type=int, default=48, help="pairs a step")
    parser.add_argument("--learning-rate", type=float, default=0.02, help="Muon's; .01 where a training goes on")
    parser.add_argument("--num-clips", type=int, default=4000, help="rendered clips")
    parser.add_argument("--num-made", type=int, default=400, help="clips that each snapshot makes from noise")
    parser.add_argument("--num-held-out", type=int, default=100, help="held-out clips that each snapshot makes")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    torch.manual_seed(arguments.seed)
    model = wrap_models(build_models(arguments.folder, arguments.autoencoder_from))
    snapshots = [arguments.folder / f"model_{step:05d}.safetensors" for step in arguments.snapshots]
    makers = [Maker(path) for path in snapshots]
    clock = Clock(arguments.folder / "preference.ckpt")
    pool = Pool(arguments.num_clips, arguments.seed)
    heldout = Pool(max(400, arguments.num_held_out), arguments.seed + 1, UNSEEN_STRENGTHS)
    pool.make_versions(model, makers, arguments.num_made, arguments.folder)
    heldout.make_versions(model, makers, arguments.num_held_out, arguments.folder)
    print(f"{len(pool.frames)} frames and their worse versions after {clock.seconds:.0f} s", flush=True)

    tokenizer = make_tokenizer(world_words())
    tokenize, config = padded_ids(tokenizer), network_config(len(tokenizer))
    network, average = build_network(config), build_network(config)
    if arguments.start_from:
        saved = load_file(arguments.start_from / "model.safetensors")
        network.load_state_dict(saved)
    average.load_state_dict(network.state_dict())

    def loss_of(step: int) -> Tensor:
        frames, captions = pair_batch(pool, arguments.batch_size, np.random.default_rng([arguments.seed, 5, step]))
        with autocast():
            images, texts = cosines(network, frames, tokenize(captions))
        return preference_loss(images, texts, logit_scale(network))

    def tell() -> str:
        shares = evaluate(average, tokenize, heldout, arguments.seed)
        return ", ".join(f"{kind} {share:.3f}" for kind, share in shares.items())

    fit(network, average, loss_of, tell, clock, arguments.steps, arguments.learning_rate)
    print_shares(evaluate(average, tokenize, heldout, arguments.seed, num_pairs=2000), FLOORS)
    for name, score in mean_scores(average, tokenize, heldout, arguments.seed).items():
        print(f"{name:20} {score:.3f}", flush=True)
    save_network(average, tokenizer, config, arguments.folder / "preference")
    print(f"saved {arguments.folder / 'preference'} after {clock.seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main()
