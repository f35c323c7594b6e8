"""Trains the emoji world's video autoencoder (frame by frame, 64 px to 8 x 8 latents with 8 channels).

Run it by `python -m examples.emoji_world.train_vae build/emoji_world`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .captions import random_scene
from .renderer import NUM_FRAMES, render
from .training import Clock, Optimisers, autocast, learning_rate_factor, update_average

CONFIG = {
    "in_channels": 3,
    "out_channels": 3,
    "latent_channels": 8,
    "block_out_channels": (16, 32, 64, 128),
    "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4,
    "layers_per_block": 1,
    "norm_num_groups": 8,
    "sample_size": 64,
}


def render_frames(num_frames: int, seed: int) -> Tensor:
    """Random frames of random scenes, uint8 (num_frames, 3, 64, 64)."""
    rng = np.random.default_rng([seed, 1])
    frames = np.empty((num_frames, 64, 64, 3), np.uint8)
    for start in range(0, num_frames, 2):
        indices = rng.integers(0, NUM_FRAMES, 2).tolist()
        frames[start : start + 2] = render(random_scene(rng), int(rng.integers(1 << 30)), indices)
    return torch.from_numpy(frames).permute(0, 3, 1, 2).contiguous()


def gradients(images: Tensor) -> tuple[Tensor, Tensor]:
    """Differences of horizontal and vertical neighbours."""
    return images.diff(dim=-1), images.diff(dim=-2)


def reconstruction_loss(images: Tensor, targets: Tensor) -> Tensor:
    """L1 that counts edges up to five times, plus half the L1 of the image gradients."""
    target_x, target_y = gradients(targets)
    edges = F.pad(target_x.abs(), (0, 1)) + F.pad(target_y.abs(), (0, 0, 0, 1))
    weights = 1 + 4 * edges.mean(1, keepdim=True).mul(2).clamp(max=1)
    image_x, image_y = gradients(images)
    sharpness = (image_x - target_x).abs().mean() + (image_y - target_y).abs().mean()
    return (weights * (images - targets).abs()).mean() + 0.5 * sharpness


@torch.no_grad()
def evaluate(vae: torch.nn.Module, frames: Tensor) -> tuple[float, float]:
    """Peak signal-to-noise ratio of the reconstruction in dB, and the standard deviation of the latents."""
    errors, latents = [], []
    for batch in frames.split(32):
        targets = batch.float() / 127.5 - 1
        latents.append(vae.encode(targets).latent_dist.mode())
        images = vae.decode(latents[-1]).sample.clamp(-1, 1)
        errors.append(((images - targets) / 2).square().mean((1, 2, 3)))
    psnr = -10 * torch.cat(errors).log10().mean()
    return psnr.item(), torch.cat(latents).std().item()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--num-frames", type=int, default=24000, help="frames rendered to draw from")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    from diffusers import AutoencoderKL

    torch.manual_seed(arguments.seed)
    vae, average = AutoencoderKL(**CONFIG), AutoencoderKL(**CONFIG)
    average.load_state_dict(vae.state_dict())
    optimisers = Optimisers(vae, 0.02, 2e-3, lambda name: "conv_in" in name or "conv_out" in name)
    clock = Clock(arguments.folder / "vae.ckpt")
    first = 0
    if state := clock.load():
        vae.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        optimisers.load_state_dict(state["optimisers"])
        first = state["step"]
    frames = render_frames(arguments.num_frames, arguments.seed)
    heldout = render_frames(256, arguments.seed + 1)
    print(f"from step {first} of {arguments.steps}, {clock.seconds:.0f} s", flush=True)
    for step in range(first, arguments.steps):
        generator = torch.Generator().manual_seed(arguments.seed * 1_000_003 + step)
        chosen = torch.randint(len(frames), (arguments.batch_size,), generator=generator)
        targets = frames[chosen].float() / 127.5 - 1
        with autocast():
            posterior = vae.encode(targets).latent_dist
            noise = torch.randn(posterior.mean.shape, generator=generator)
            images = vae.decode(posterior.mean + posterior.std * noise).sample
        mean, logvar = posterior.mean.float(), posterior.logvar.float()
        divergence = 0.5 * (mean.square() + logvar.exp() - 1 - logvar).mean()
        loss = reconstruction_loss(images.float(), targets) + 5e-4 * divergence
        loss.backward()
        optimisers.step(learning_rate_factor(step, arguments.steps, decay_share=0.6))
        update_average(average, vae, min(0.99, step / (step + 10)))
        if (step + 1) % 250 == 0 or step + 1 == arguments.steps:
            psnr, std = evaluate(average, heldout)
            print(
                f"step {step + 1} loss {loss.item():.4f} psnr {psnr:.2f} dB std {std:.3f} {clock.seconds:.0f} s",
                flush=True,
            )
            clock.save(
                model=vae.state_dict(), average=average.state_dict(), optimisers=optimisers.state_dict(), step=step + 1
            )
    _, std = evaluate(average, frames[:1024])
    average.register_to_config(scaling_factor=round(1 / std, 4), force_upcast=False)
    average.half().save_pretrained(arguments.folder / "vae")
    print(f"saved {arguments.folder / 'vae'} after {clock.seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main()
