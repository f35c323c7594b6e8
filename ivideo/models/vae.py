"""What tells one autoencoder's encoder from another."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import torch


def fingerprint_encoder(vae: Any, device: torch.device) -> str:
    """SHA-256 of all that decides what an encoder gives: its weights and their type, the settings, the kind of device.

    Kinds of devices round differently.

    Args:
        vae: an autoencoder of diffusers.
        device: where it encodes.
    """
    settings = {name: value for name, value in vae.config.items() if not name.startswith("_")}
    digest = hashlib.sha256(json.dumps([device.type, settings], sort_keys=True, default=str).encode())
    for name, weight in sorted(vae.state_dict().items()):
        if name.startswith(("encoder.", "quant_conv.")):
            digest.update(f"{name} {weight.dtype} {tuple(weight.shape)}".encode())
            digest.update(weight.cpu().contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()
