"""The bundled judge of the emoji world, trained on simulated preferences."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from ivideo.errors import UsageError
from ivideo.models.clip_text import load_tokenizer
from ivideo.models.judges.clip_judge import ClipJudge
from ivideo.models.judges.preprocessing import Preprocessing
from ivideo.models.lean_imports import import_clip_class

EMOJI_PREFERENCE = Path(__file__).parents[1] / "emoji_world" / "preference"


def load_emoji_preference(name: str, source: str, device: torch.device) -> ClipJudge:
    """The bundled judge.

    Raises:
        UsageError: a source was given.
    """
    if source:
        raise UsageError(f"reward {name}: emoji-preference is bundled and takes no file")
    from safetensors.torch import load_file

    config = json.loads((EMOJI_PREFERENCE / "open_clip_config.json").read_text())["model_cfg"]
    network = import_clip_class()(**config)
    network.load_state_dict({k: v.float() for k, v in load_file(EMOJI_PREFERENCE / "model.safetensors").items()})
    tokenizer = load_tokenizer(str(EMOJI_PREFERENCE), "", config["text_cfg"]["context_length"])
    preprocessing = Preprocessing(config["vision_cfg"]["image_size"])
    return ClipJudge(name, "emoji preference (simulated)", network, tokenizer, preprocessing, device)
