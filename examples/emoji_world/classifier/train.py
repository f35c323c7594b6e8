"""Trains the classifier on augmented renders, and tells how often it is right on held-out ones.

    python -m examples.emoji_world.classifier.train build/emoji_world

It sees no model's work. Stop it at any time: it goes on from its last checkpoint in that folder.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from examples.emoji_world.captions import Scene, random_scene
from examples.emoji_world.renderer import NUM_FRAMES, render
from examples.emoji_world.training import Clock, Optimisers, learning_rate_factor

from .augment import AUGMENTATIONS, augment
from .network import FRAME_INDICES, WEIGHTS, WORDS, Classifier, Predictions, as_frames, load_classifier, save_classifier

HELDOUT_SEED = 1 << 30  # training clips count up from 0, held-out ones from here
SAVE_EVERY = 50  # steps
STRENGTHS = (0.5, 1.0)  # of the augmentations that the report tells about


def render_clips(count: int, first_seed: int, frame_indices: list[int]) -> tuple[list[Scene], Tensor]:
    """Random scenes and their clips, (count, num_frames, 64, 64, 3) uint8; clip i is drawn with seed first_seed + i."""
    rng = np.random.default_rng([first_seed, 8])
    scenes = [random_scene(rng) for _ in range(count)]
    clips = [render(scene, first_seed + number, frame_indices) for number, scene in enumerate(scenes)]
    return scenes, torch.from_numpy(np.stack(clips))


def truth(scenes: list[Scene]) -> dict[str, list[str]]:
    """The right words, under `WORDS`' names."""
    return {
        "subjects": [scene.subject for scene in scenes],
        "motions": [scene.motion for scene in scenes],
        "places": [scene.place for scene in scenes],
    }


def targets(scenes: list[Scene]) -> dict[str, Tensor]:
    """The right words' positions, (num_scenes,) each."""
    return {name: torch.tensor([WORDS[name].index(word) for word in words]) for name, words in truth(scenes).items()}


def accuracies(predictions: Predictions, scenes: list[Scene]) -> dict[str, float]:
    """Share of clips whose subject, motion and place are named rightly."""
    return {
        name: float(np.mean([seen == word for seen, word in zip(getattr(predictions, name), words, strict=True)]))
        for name, words in truth(scenes).items()
    }


def confusions(predictions: Predictions, scenes: list[Scene]) -> Counter[tuple[str, str]]:
    """How often a word (first) was taken for another (second)."""
    return Counter(
        (word, seen)
        for name, words in truth(scenes).items()
        for word, seen in zip(words, getattr(predictions, name), strict=True)
        if word != seen
    )


def augmented(clips: Tensor, kind: str, strength: float) -> Tensor:
    """uint8 clips after one augmentation, clip i with seed i."""
    changed = [
        AUGMENTATIONS[kind](as_frames(clip), strength, np.random.default_rng(number))
        for number, clip in enumerate(clips)
    ]
    return (torch.stack(changed) * 255).round().byte().movedim(-3, -1)


def train(classifier: Classifier, arguments: argparse.Namespace, clock: Clock) -> None:
    """Fit the classifier to random scenes, from the last checkpoint on."""
    scenes, clips = render_clips(arguments.num_clips, arguments.seed * arguments.num_clips, list(FRAME_INDICES))
    labels = targets(scenes)
    optimisers = Optimisers(classifier, 0.02, 2e-3, lambda name: "heads" in name or name.startswith("encoder.0."))
    first = 0
    if state := clock.load():
        classifier.load_state_dict(state["model"])
        optimisers.load_state_dict(state["optimisers"])
        first = state["step"]
    print(f"from step {first} of {arguments.steps}, {clock.seconds:.0f} s", flush=True)
    classifier.train()
    for step in range(first, arguments.steps):
        rng = np.random.default_rng([arguments.seed, 9, step])
        chosen = torch.from_numpy(rng.integers(0, len(clips), arguments.batch_size))
        frames = torch.stack([augment(as_frames(clip), rng) for clip in clips[chosen]])
        logits = classifier.logits(classifier(frames))
        losses = {name: F.cross_entropy(logits[name], labels[name][chosen]) for name in WORDS}
        torch.stack(list(losses.values())).sum().backward()
        optimisers.step(learning_rate_factor(step, arguments.steps, decay_share=0.6))
        if (step + 1) % SAVE_EVERY == 0 or step + 1 == arguments.steps:
            text = ", ".join(f"{name} {loss.item():.3f}" for name, loss in losses.items())
            print(f"step {step + 1} loss: {text} | {clock.seconds:.0f} s", flush=True)
            clock.save(model=classifier.state_dict(), optimisers=optimisers.state_dict(), step=step + 1)


def report(classifier: Classifier, num_clips: int) -> None:
    """Print how often the classifier is right on held-out renders, all of them clean and half of them augmented."""
    scenes, clips = render_clips(num_clips, HELDOUT_SEED, list(range(NUM_FRAMES)))
    half = num_clips // 2

    def show(name: str, predictions: Predictions) -> None:
        shares = accuracies(predictions, scenes[: len(predictions.subjects)])
        print(f"{name:16} " + ", ".join(f"{word} {share:.3f}" for word, share in shares.items()), flush=True)

    started = time.monotonic()
    predictions = classifier.classify(clips)
    print(f"classified {num_clips} held-out clips in {time.monotonic() - started:.1f} s", flush=True)
    show("clean", predictions)
    for (word, seen), count in confusions(predictions, scenes).most_common():
        print(f"  {word} taken for {seen}: {count}")
    for kind in AUGMENTATIONS:
        for strength in STRENGTHS:
            show(f"{kind} {strength}", classifier.classify(augmented(clips[:half], kind, strength)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where the checkpoint is kept")
    parser.add_argument("--output", type=Path, default=WEIGHTS, help="where the weights go")
    parser.add_argument("--steps", type=int, default=1100)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--num-clips", type=int, default=5000, help="clips rendered to draw from")
    parser.add_argument("--num-heldout", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    torch.manual_seed(arguments.seed)
    clock = Clock(arguments.folder / "classifier.ckpt")
    classifier = Classifier()
    train(classifier, arguments, clock)
    save_classifier(classifier, arguments.output)
    print(f"saved {arguments.output} after {clock.seconds:.0f} s", flush=True)
    report(load_classifier(arguments.output), arguments.num_heldout)


if __name__ == "__main__":
    main()
