"""Judges: networks that score how well people would like a frame for its prompt."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ivideo.errors import IvideoError, UsageError
from ivideo.models.clip_text import load_tokenizer

EMOJI_PREFERENCE = Path(__file__).parent / "emoji_world" / "preference"
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
HPS_REPOSITORY = "xswu/HPSv2"
HPS_VERSIONS = {"hpsv2": "v2.0", "hpsv2.1": "v2.1"}


class Judge(Protocol):
    """Scores frames against their prompts.

    Attributes:
        name: key of its scores.
        label: what a person should read beside a score, with its caveats.
        is_differentiable: whether gradients flow from scores to frames.
    """

    name: str
    label: str
    is_differentiable: bool

    def score_frames(self, frames: Tensor, prompts: Sequence[str]) -> dict[str, Tensor]:
        """Named scores of each frame.

        Args:
            frames: (batch, num_frames, 3, height, width) float in [0, 1], any size.
            prompts: one a clip.

        Returns:
            (batch, num_frames) by name; whole-clip judges return (batch, 1).
        """
        ...


class ClipJudge:
    """A preference model of CLIP's architecture: the cosine of image and text features (HPSv2, section 3 of its paper).

    Source: Wu et al. 2023, "Human Preference Score v2"; no logit scale, no factor of 100.
    """

    is_differentiable = True

    def __init__(
        self,
        name: str,
        label: str,
        network: nn.Module,
        tokenize: Callable[[list[str]], Tensor],
        image_size: int,
        device: torch.device,
    ) -> None:
        """Wrap an open_clip network; it is frozen and put on the device."""
        self.name, self.label = name, label
        self.network: Any = network.requires_grad_(False).eval().to(device)
        self.tokenize, self.image_size, self.device = tokenize, image_size, device
        self._text_features: dict[str, Tensor] = {}

    def score_frames(self, frames: Tensor, prompts: Sequence[str]) -> dict[str, Tensor]:
        """Cosine of each frame with its clip's prompt: {name: (batch, num_frames)}, each in [-1, 1]."""
        batch, num_frames = frames.shape[:2]
        images = preprocess(frames.flatten(0, 1).to(self.device, torch.float32), self.image_size)
        features = F.normalize(self.network.encode_image(images), dim=-1).unflatten(0, (batch, num_frames))
        return {self.name: (features * self._encode_text(prompts)[:, None]).sum(-1)}

    @torch.no_grad()
    def _encode_text(self, prompts: Sequence[str]) -> Tensor:
        new = [prompt for prompt in dict.fromkeys(prompts) if prompt not in self._text_features]
        if new:
            features = F.normalize(self.network.encode_text(self.tokenize(new).to(self.device)), dim=-1)
            self._text_features.update(zip(new, features, strict=True))
        return torch.stack([self._text_features[prompt] for prompt in prompts])


def preprocess(images: Tensor, image_size: int) -> Tensor:
    """HPSv2's preprocessing: longest side to `image_size` (bicubic, antialias), centred black padding, normalise.

    Args:
        images: (batch, 3, height, width) float in [0, 1].
        image_size: side of the square that the network reads, in pixels.

    Returns:
        (batch, 3, image_size, image_size).
    """
    height, width = images.shape[-2:]
    factor = image_size / max(height, width)
    if factor != 1:
        size = (max(1, round(height * factor)), max(1, round(width * factor)))
        images = F.interpolate(images, size=size, mode="bicubic", antialias=True, align_corners=False).clamp(0, 1)
        height, width = size
    if height != width:
        top, left = (image_size - height) // 2, (image_size - width) // 2
        images = F.pad(images, (left, image_size - width - left, top, image_size - height - top))
    mean = images.new_tensor(CLIP_MEAN)[:, None, None]
    std = images.new_tensor(CLIP_STD)[:, None, None]
    return (images - mean) / std


def load_judge(name: str, device: torch.device) -> Judge:
    """Load a judge by its name.

    Raises:
        UsageError: no judge of that name.
        IvideoError: its weights are not on this machine and cannot be fetched.
    """
    if name not in JUDGES:
        raise UsageError(f"unknown reward {name!r}: one of {', '.join(JUDGES)}")
    return JUDGES[name](name, device)


def load_emoji_preference(name: str, device: torch.device) -> ClipJudge:
    """The bundled judge of the emoji world, trained on simulated preferences."""
    import open_clip
    from safetensors.torch import load_file

    config = json.loads((EMOJI_PREFERENCE / "open_clip_config.json").read_text())["model_cfg"]
    network = open_clip.CLIP(**config)
    network.load_state_dict({k: v.float() for k, v in load_file(EMOJI_PREFERENCE / "model.safetensors").items()})
    tokenizer = load_tokenizer(str(EMOJI_PREFERENCE), "", config["text_cfg"]["context_length"])
    image_size = config["vision_cfg"]["image_size"]
    return ClipJudge(name, "emoji preference (simulated)", network, tokenizer, image_size, device)


def find_hps_checkpoint(name: str) -> Path:
    """The checkpoint file of HPSv2: in HPS_ROOT, else in the Hugging Face cache, else from the hub.

    Raises:
        IvideoError: it is nowhere and the hub cannot be reached.
    """
    import hpsv2.utils
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    file_name: str = hpsv2.utils.hps_version_map[HPS_VERSIONS[name]]
    root = Path(os.environ.get("HPS_ROOT", hpsv2.utils.root_path)).expanduser()
    if (root / file_name).is_file():
        return root / file_name
    try:
        return Path(hf_hub_download(HPS_REPOSITORY, file_name))
    except (LocalEntryNotFoundError, HfHubHTTPError, OfflineModeIsEnabled, OSError):
        raise IvideoError(
            f"reward {name}: {file_name} is not on this machine; put it into {root} (or set HPS_ROOT), "
            f"from https://huggingface.co/{HPS_REPOSITORY}"
        ) from None


def load_hps(name: str, device: torch.device) -> ClipJudge:
    """HPSv2 itself: open_clip's ViT-H-14 with the published weights (no LAION weights are fetched).

    Raises:
        IvideoError: the checkpoint is nowhere, is damaged, or holds another network.
    """
    import open_clip

    checkpoint = find_hps_checkpoint(name)
    network = open_clip.create_model("ViT-H-14", pretrained=None)
    try:
        state = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)
        network.load_state_dict(state["state_dict"])
    except (OSError, EOFError, RuntimeError, UnpicklingError, KeyError, TypeError):
        raise IvideoError(
            f"reward {name}: {checkpoint} is damaged or no checkpoint of HPSv2; "
            f"fetch it anew from https://huggingface.co/{HPS_REPOSITORY}"
        ) from None
    label = f"HPSv2 {HPS_VERSIONS[name]}"
    return ClipJudge(name, label, network, open_clip.get_tokenizer("ViT-H-14"), 224, device)


JUDGES: dict[str, Callable[[str, torch.device], Judge]] = {
    "emoji-preference": load_emoji_preference,
    "hpsv2": load_hps,
    "hpsv2.1": load_hps,
}
