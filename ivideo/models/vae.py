"""What autoencoders of all families share: tiles, and what tells one encoder from another."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import torch
from torch import Tensor

from ivideo.errors import UsageError


def enable_tiling(name: str, vae: Any) -> None:
    """Let an autoencoder work in tiles, as diffusers has them.

    Raises:
        UsageError: it has none.
    """
    if not hasattr(vae, "enable_tiling"):
        raise UsageError(f"`vae_tiling`: the autoencoder of {name} has no tiles")
    vae.enable_tiling()


def channel_statistics(vae: Any, latents: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of an autoencoder's channels, to go with latents (batch, channels, ...) of 5 axes."""
    config, num_channels = vae.config, latents.shape[1]
    mean = torch.tensor(config.latents_mean or [0.0] * num_channels).view(1, -1, 1, 1, 1)
    std = torch.tensor(config.latents_std or [1.0] * num_channels).view(1, -1, 1, 1, 1)
    return mean.to(latents), std.to(latents)


def fingerprint_encoder(vae: Any, device: torch.device) -> str:
    """SHA-256 of all that decides what an encoder gives: its weights and their type, the settings, the kind of device.

    Kinds of devices round differently.

    Args:
        vae: an autoencoder of diffusers.
        device: where it encodes.
    """
    settings = {name: value for name, value in vae.config.items() if not name.startswith("_")}
    if getattr(vae, "use_tiling", False):
        settings["tiling"] = True
    digest = hashlib.sha256(json.dumps([device.type, settings], sort_keys=True, default=str).encode())
    for name, weight in sorted(vae.state_dict().items()):
        if name.startswith(("encoder.", "quant_conv.")):
            digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
            digest.update(weight.cpu().contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()
