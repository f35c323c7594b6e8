"""PickScore: transformers' CLIP with weights that were tuned on people's choices between images."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ivideo.errors import IvideoError
from ivideo.models.loading import explain_damage, import_quietly
from ivideo.rewards.cosine import CosineReward, Preprocessing, load_clip_tokenizer

REPOSITORY, VERSION = "yuvalkirstain/PickScore_v1", "v1"
PROCESSOR_REPOSITORY = "laion/CLIP-ViT-H-14-laion2B-s32B-b79K"
TOKENIZER_FILES = ("tokenizer.json", "vocab.json")
PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")


class TransformersClip(nn.Module):
    """A CLIPModel of transformers with open_clip's two methods."""

    def __init__(self, clip: Any) -> None:
        """Wrap a `transformers.CLIPModel`."""
        super().__init__()
        self.clip = clip

    def encode_image(self, images: Tensor) -> Tensor:
        """Features (batch, dim) of preprocessed images."""
        features: Tensor = self.clip.visual_projection(self.clip.vision_model(pixel_values=images).pooler_output)
        return features

    def encode_text(self, token_ids: Tensor) -> Tensor:
        """Features (batch, dim) of token ids, at the first end token."""
        features: Tensor = self.clip.text_projection(self.clip.text_model(input_ids=token_ids).pooler_output)
        return features


def load_pickscore(name: str, source: str, device: torch.device) -> CosineReward:
    """PickScore's cosine; its authors' scores are the same times the exponential of the logit scale (about 100).

    Source: Kirstain et al. 2023, "Pick-a-Pic". Tokenizer and preprocessing lie in a repository of their own
    (PROCESSOR_REPOSITORY), unless a folder brings them.

    Args:
        name: as it was asked for.
        source: a folder in transformers' format, or a hub id; empty: REPOSITORY.
        device: where to put it.

    Raises:
        IvideoError: a part is not on this machine and cannot be fetched, or is damaged.
    """
    location = source or REPOSITORY
    folder = Path(location).expanduser()
    if folder.is_dir():
        location = str(folder)
        if not (folder / "config.json").is_file():
            raise IvideoError(f"reward {name}: {folder / 'config.json'} is missing")
    transformers = import_quietly("transformers")
    with explain_part(name, location, "weights"):
        clip, report = transformers.CLIPModel.from_pretrained(
            location, dtype=torch.float32, output_loading_info=True, attn_implementation="sdpa"
        )
    if report["missing_keys"]:
        lacking = sorted(report["missing_keys"])
        raise IvideoError(f"reward {name}: {location} holds no CLIP: {lacking[0]} is one of {len(lacking)} missing")
    with explain_part(name, find_home(location, TOKENIZER_FILES), "tokenizer files"):
        context_length = clip.config.text_config.max_position_embeddings
        tokenize = load_clip_tokenizer(find_home(location, TOKENIZER_FILES), context_length)
    with explain_part(name, find_home(location, PROCESSOR_FILES), "preprocessing files"):
        processor = transformers.CLIPImageProcessor.from_pretrained(find_home(location, PROCESSOR_FILES))
        preprocessing = read_preprocessing(processor)
    label = f"PickScore {VERSION}, cosine without logit scale" + (f" ({source})" if source else "")
    return CosineReward(name, label, TransformersClip(clip), tokenize, preprocessing, device, VERSION)


def find_home(location: str, file_names: tuple[str, ...]) -> str:
    """Where tokenizer or preprocessing lie: beside the weights of a folder, else in PROCESSOR_REPOSITORY."""
    has_own = any((Path(location) / file_name).is_file() for file_name in file_names)
    return location if has_own else PROCESSOR_REPOSITORY


def read_preprocessing(processor: Any) -> Preprocessing:
    """Preprocessing by transformers' image processor.

    Raises:
        ValueError: it does not cut a square out of the middle.
    """
    side, cut = processor.size["shortest_edge"], processor.crop_size
    if not side == cut["height"] == cut["width"]:
        raise ValueError(f"shortest side {side} but {cut['width']} x {cut['height']} cut out")
    mean, std = tuple(processor.image_mean), tuple(processor.image_std)
    return Preprocessing(side, fit="shortest", round_offset=int, mean=mean, std=std)


def explain_part(name: str, location: str, part: str) -> AbstractContextManager[None]:
    """Say in one line that a part is damaged, or how it is fetched."""
    if Path(location).is_dir():
        return explain_damage(f"reward {name}: the {part} in {location} are damaged or missing")
    return explain_damage(
        f"reward {name}: the {part} of {location} are not on this machine",
        f"; put config.json and model.safetensors from https://huggingface.co/{REPOSITORY} and tokenizer.json, "
        f"tokenizer_config.json and preprocessor_config.json from https://huggingface.co/{PROCESSOR_REPOSITORY} "
        "into a folder and name it: pickscore:FOLDER",
        tell_reason=False,
    )
