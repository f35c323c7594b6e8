"""Trains the emoji world's preference model on simulated preferences, with HPSv2's objective.

    python -m examples.emoji_world.train_preference build/emoji_world

Nobody was asked: in each pair one frame is better by construction (a clean render over a degraded one, the right
subject or place over a wrong one, a render over the work of the autoencoder or of an early text-to-video checkpoint).
Needs what `train_vae.py` and `train_text_to_video.py` left in the same folder.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

from ivideo.models.judges import preprocess

from .captions import Scene, random_caption, random_scene
from .renderer import NUM_FRAMES, render
from .tokenizer import CONTEXT_LENGTH, make_tokenizer, save_tokenizer
from .train_text_to_video import build_models, predict, world_words
from .training import Clock, Optimisers, learning_rate_factor

KINDS = ("degraded", "wrong subject", "wrong place", "round trip", "early model, low noise", "early model, high noise")


def network_config(vocabulary_size: int) -> dict:
    """The network in open_clip's words."""
    return {
        "embed_dim": 128,
        "quick_gelu": True,
        "vision_cfg": {"image_size": 64, "patch_size": 8, "width": 192, "layers": 4, "head_width": 32},
        "text_cfg": {
            "context_length": CONTEXT_LENGTH,
            "vocab_size": vocabulary_size,
            "width": 128,
            "heads": 4,
            "layers": 2,
        },
    }


def degrade(frames: Tensor, rng: np.random.Generator) -> Tensor:
    """Each frame (batch, 3, 64, 64) in [0, 1] spoiled in one of several ways, at a random strength."""
    return torch.stack(
        [DEGRADATIONS[rng.integers(len(DEGRADATIONS))](frame, rng.uniform(0.15, 1), rng) for frame in frames]
    )


def blur(frame: Tensor, strength: float, rng: np.random.Generator) -> Tensor:
    """Lower resolution and back."""
    side = round(64 / (1 + 3 * strength))
    small = F.interpolate(frame[None], size=(side, side), mode="area")
    return F.interpolate(small, size=(64, 64), mode="bicubic", align_corners=False)[0].clamp(0, 1)


def add_noise(frame: Tensor, strength: float, rng: np.random.Generator) -> Tensor:
    """Pixel noise."""
    noise = torch.from_numpy(rng.standard_normal(frame.shape).astype(np.float32))
    return (frame + 0.25 * strength * noise).clamp(0, 1)


def change_contrast(frame: Tensor, strength: float, rng: np.random.Generator) -> Tensor:
    """Washed out or overdone, about a shifted grey."""
    factor = 1 - 0.7 * strength if rng.random() < 0.5 else 1 + 1.2 * strength
    return ((frame - 0.5) * factor + 0.5 + rng.uniform(-0.2, 0.2) * strength).clamp(0, 1)


def tint(frame: Tensor, strength: float, rng: np.random.Generator) -> Tensor:
    """A cast of colour."""
    shift = torch.from_numpy(rng.uniform(-0.4, 0.4, 3).astype(np.float32))
    return (frame + strength * shift[:, None, None]).clamp(0, 1)


def change_saturation(frame: Tensor, strength: float, rng: np.random.Generator) -> Tensor:
    """Greyed or gaudy."""
    grey = frame.mean(0, keepdim=True)
    factor = 1 - strength if rng.random() < 0.5 else 1 + 1.5 * strength
    return (grey + factor * (frame - grey)).clamp(0, 1)


def warp(frame: Tensor, strength: float, rng: np.random.Generator) -> Tensor:
    """A smooth random displacement, up to about nine pixels."""
    coarse = torch.from_numpy(rng.standard_normal((1, 2, 5, 5)).astype(np.float32)) * 0.14 * strength
    offset = F.interpolate(coarse, size=(64, 64), mode="bicubic", align_corners=False)[0].permute(1, 2, 0)
    axis = torch.linspace(-1 + 1 / 64, 1 - 1 / 64, 64)
    grid = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), dim=-1) + offset
    return F.grid_sample(frame[None], grid[None], padding_mode="border", align_corners=False)[0]


DEGRADATIONS = (blur, add_noise, change_contrast, tint, change_saturation, warp)


class Pool:
    """Rendered frames with their scenes, and worse versions of each made by the models."""

    def __init__(self, num_frames: int, seed: int, parts: dict, early_unets: list[Path]) -> None:
        rng = np.random.default_rng([seed, 4])
        self.scenes: list[Scene] = []
        frames = []
        for _ in range(num_frames // 2):
            scene = random_scene(rng)
            frames.append(render(scene, int(rng.integers(1 << 30)), rng.integers(0, NUM_FRAMES, 2).tolist()))
            self.scenes += [scene, scene]
        self.frames = torch.from_numpy(np.concatenate(frames)).permute(0, 3, 1, 2).contiguous()
        self.by_subject, self.by_place = defaultdict(list), defaultdict(list)
        for index, scene in enumerate(self.scenes):
            self.by_subject[scene.subject].append(index)
            self.by_place[scene.place].append(index)
        self.worse = self._make_worse(parts, early_unets, rng)

    @torch.no_grad()
    def _make_worse(self, parts: dict, early_unets: list[Path], rng: np.random.Generator) -> dict[str, Tensor]:
        """Round trips through the autoencoder, and one-step estimates by early checkpoints at two noise levels."""
        vae, scale = parts["vae"], parts["vae"].config.scaling_factor
        model = torch.nn.ModuleDict({"unet": parts["unet"], "text_encoder": parts["text_encoder"]})
        alphas = parts["scheduler"].alphas_cumprod
        worse: dict[str, list[Tensor]] = defaultdict(list)
        for number, rows in enumerate(torch.arange(len(self.frames)).split(48)):
            if number % 20 == 0:
                path = early_unets[number // 20 % len(early_unets)]
                parts["unet"].load_state_dict({k: v.float() for k, v in load_file(path).items()})
            captions = [self.scenes[row].caption() for row in rows]
            with torch.autocast("cpu", torch.bfloat16):
                latents = vae.encode(self.frames[rows].float() / 127.5 - 1).latent_dist.mode().float() * scale
                versions = {"round trip": latents}
                for kind, low, high in (("early model, low noise", 150, 450), ("early model, high noise", 450, 800)):
                    timesteps = torch.from_numpy(rng.integers(low, high, len(rows)))
                    alpha = alphas[timesteps].view(-1, 1, 1, 1)
                    noise = torch.from_numpy(rng.standard_normal(latents.shape).astype(np.float32))
                    noisy = alpha.sqrt() * latents + (1 - alpha).sqrt() * noise
                    noise_pred = predict(model, parts["tokenizer"], noisy[:, :, None], timesteps, captions)[:, :, 0]
                    versions[kind] = (noisy - (1 - alpha).sqrt() * noise_pred.float()) / alpha.sqrt()
                for kind, version in versions.items():
                    images = vae.decode(version / scale).sample.float() / 2 + 0.5
                    worse[kind].append((images.clamp(0, 1) * 255).round().byte())
        return {kind: torch.cat(images) for kind, images in worse.items()}

    def draw(self, kind: str, index: int, rng: np.random.Generator) -> tuple[Tensor, Tensor, str]:
        """A better frame, a worse one (both in [0, 1]) and the caption that they are judged by."""
        scene, better = self.scenes[index], self.frames[index].float() / 255
        caption = random_caption(scene, rng)
        if kind == "degraded":
            return better, degrade(better[None], rng)[0], caption
        if kind == "wrong subject":
            other = rng.choice([i for i in self.by_place[scene.place] if self.scenes[i].subject != scene.subject])
            return better, self.frames[other].float() / 255, caption
        if kind == "wrong place":
            other = rng.choice([i for i in self.by_subject[scene.subject] if self.scenes[i].place != scene.place])
            return better, self.frames[other].float() / 255, scene.caption(with_motion=bool(rng.random() < 0.85))
        return better, self.worse[kind][index].float() / 255, caption


def pair_batch(pool: Pool, size: int, rng: np.random.Generator, kinds: tuple[str, ...] = KINDS):
    """Frames (2 * size, 3, 64, 64), the better half first, and the captions of the pairs."""
    drawn = [pool.draw(str(rng.choice(kinds)), int(rng.integers(len(pool.frames))), rng) for _ in range(size)]
    return torch.stack([pair[0] for pair in drawn] + [pair[1] for pair in drawn]), [pair[2] for pair in drawn]


def cosines(network: torch.nn.Module, frames: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Normalised features of frames and captions."""
    images = F.normalize(network.encode_image(preprocess(frames, 64)).float(), dim=-1)
    return images, F.normalize(network.encode_text(ids).float(), dim=-1)


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
def evaluate(network: torch.nn.Module, tokenize, pool: Pool, seed: int, num_pairs: int = 192) -> dict[str, float]:
    """Share of held-out pairs that are ordered rightly, by kind."""
    shares = {}
    for kind in KINDS:
        frames, captions = pair_batch(pool, num_pairs, np.random.default_rng(seed), (kind,))
        images, texts = cosines(network, frames, tokenize(captions))
        better, worse = images.chunk(2)
        shares[kind] = ((better * texts).sum(-1) > (worse * texts).sum(-1)).float().mean().item()
    return shares


def save_network(network: torch.nn.Module, tokenizer, config: dict, folder: Path) -> None:
    """Write weights (half precision, open_clip's names), configuration and tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({k: v.half().contiguous() for k, v in network.state_dict().items()}, folder / "model.safetensors")
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config}, indent=2) + "\n")
    save_tokenizer(tokenizer, folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--early", type=int, nargs="+", default=[500, 1000], help="steps of the worse U-Nets")
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--batch-size", type=int, default=48, help="pairs a step")
    parser.add_argument("--num-frames", type=int, default=9600)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    torch.manual_seed(arguments.seed)
    parts = build_models(arguments.folder)
    trained = arguments.folder / "text_to_video" / "text_encoder"
    if trained.is_dir():
        parts["text_encoder"] = type(parts["text_encoder"]).from_pretrained(trained).eval()
    early = [arguments.folder / f"unet_{step:05d}.safetensors" for step in arguments.early]
    clock = Clock(arguments.folder / "preference.ckpt")
    pool = Pool(arguments.num_frames, arguments.seed, parts, early)
    heldout = Pool(960, arguments.seed + 1, parts, early)
    print(f"{len(pool.frames)} frames and their worse versions after {clock.seconds:.0f} s", flush=True)

    tokenizer = make_tokenizer(world_words())

    def tokenize(captions: list[str]) -> Tensor:
        return tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt").input_ids

    config = network_config(len(tokenizer))
    network = open_clip.CLIP(**config)
    optimisers = Optimisers(
        network, 0.02, 2e-3, lambda name: any(part in name for part in ("embedding", "conv1", "logit_scale"))
    )
    first = 0
    if state := clock.load():
        network.load_state_dict(state["model"])
        optimisers.load_state_dict(state["optimisers"])
        first = state["step"]
    for step in range(first, arguments.steps):
        rng = np.random.default_rng([arguments.seed, 5, step])
        frames, captions = pair_batch(pool, arguments.batch_size, rng)
        with torch.autocast("cpu", torch.bfloat16):
            images, texts = cosines(network, frames, tokenize(captions))
        loss = preference_loss(images, texts, network.logit_scale.exp().clamp(max=100))
        loss.backward()
        optimisers.step(learning_rate_factor(step, arguments.steps, decay_share=0.6))
        if (step + 1) % 200 == 0 or step + 1 == arguments.steps:
            shares = evaluate(network, tokenize, heldout, arguments.seed)
            text = ", ".join(f"{kind} {share:.3f}" for kind, share in shares.items())
            print(f"step {step + 1} loss {loss.item():.3f} | {text} | {clock.seconds:.0f} s", flush=True)
            clock.save(model=network.state_dict(), optimisers=optimisers.state_dict(), step=step + 1)
    save_network(network, tokenizer, config, arguments.folder / "preference")
    print(f"saved {arguments.folder / 'preference'} after {clock.seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main()
