"""The bundled reward models of the emoji world: one trained on simulated preferences, and one that knows none."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import torch

from ivideo.errors import UsageError
from ivideo.rewards.cosine import CosineReward, Preprocessing, load_clip_tokenizer

EMOJI_WORLD = Path(__file__).parents[1] / "models" / "emoji_world"
EMOJI_PREFERENCE, EMOJI_CLIP = EMOJI_WORLD / "preference", EMOJI_WORLD / "clip"


def load_bundled(folder: Path, label: str, name: str, source: str, device: torch.device) -> CosineReward:
    """A reward model of CLIP's architecture from a folder of the package.

    Raises:
        UsageError: a source was given.
    """
    if source:
        raise UsageError(f"reward {name}: {name.partition(':')[0]} is bundled and takes no file")
    import open_clip
    from safetensors.torch import load_file

    config = json.loads((folder / "open_clip_config.json").read_text())["model_cfg"]
    network = open_clip.CLIP(**config)
    network.load_state_dict({k: v.float() for k, v in load_file(folder / "model.safetensors").items()})
    tokenizer = load_clip_tokenizer(str(folder), config["text_cfg"]["context_length"])
    preprocessing = Preprocessing(config["vision_cfg"]["image_size"])
    return CosineReward(name, label, network, tokenizer, preprocessing, device)


load_emoji_preference = partial(load_bundled, EMOJI_PREFERENCE, "emoji preference (simulated)")
"""What training maximises by default: a residual network, trained on renders and models' samples."""

load_emoji_clip = partial(load_bundled, EMOJI_CLIP, "emoji CLIP, cosine")
"""How well a frame fits its prompt: a transformer of patches, trained on captioned renders only."""
