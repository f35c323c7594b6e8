"""Prompts as embeddings: encoded once, trimmed of what is only padding, kept on disk by their content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ivideo.errors import IvideoError
from ivideo.files.atomic import atomic_path

Embeds: TypeAlias = dict[str, Tensor]
LENGTH = "_length"  # beside a trimmed embedding: how many rows it had
CACHE_VERSION = 1  # goes up when the same text and encoder give other embeddings


def trim(embeds: Mapping[str, Tensor]) -> Embeds:
    """Embeddings without the rows of zeros at their ends; `pad` puts them back. Wan's 512 rows are mostly those.

    Args:
        embeds: by name, (1, num_tokens, ...) each.
    """
    trimmed: Embeds = {}
    for name, one in embeds.items():
        if one.ndim == 3:
            rows = one[0].ne(0).any(1).nonzero()
            trimmed[name + LENGTH] = torch.tensor(one.shape[1])
            one = one[:, : int(rows[-1]) + 1 if len(rows) else 1]
        trimmed[name] = one.detach().cpu().contiguous().clone()
    return trimmed


def pad(embeds: Mapping[str, Tensor]) -> Embeds:
    """The inverse of `trim`."""
    whole = {name: one for name, one in embeds.items() if not name.endswith(LENGTH)}
    for name, one in whole.items():
        if (length := embeds.get(name + LENGTH)) is not None:
            whole[name] = torch.nn.functional.pad(one, (0, 0, 0, int(length) - one.shape[1]))
    return whole


def stack(sides: Sequence[Embeds]) -> Embeds:
    """Those of several prompts as one batch.

    Prompts that are encoded to different lengths are padded with zeros to the longest, their masks with zeros, too.
    """
    batch: Embeds = {}
    for name in sides[0]:
        rows = [side[name] for side in sides]
        if rows[0].ndim > 1:
            longest = max(row.shape[1] for row in rows)
            rows = [_lengthen(row, longest) for row in rows]
        batch[name] = torch.cat(rows)
    return batch


def _lengthen(row: Tensor, length: int) -> Tensor:
    widths = [0, length - row.shape[1]]
    return torch.nn.functional.pad(row, [0, 0] * (row.ndim - 2) + widths)


class TextCache:
    """Embeddings on disk, a small file a prompt, by all that decides them."""

    def __init__(self, folder: Path, encoder: Mapping[str, Any] | None) -> None:
        """Keep them in a folder.

        Args:
            folder: created where missing.
            encoder: what tells one text encoder from another (files by content, type, device); None keeps nothing.
        """
        self.folder, self.encoder = folder, encoder

    def find(self, text: str) -> Embeds | None:
        """A prompt's trimmed embeddings; None where they are not kept, or damaged."""
        if self.encoder is None:
            return None
        try:
            return load_file(self._path(text))
        except Exception:  # missing or damaged: they are made again
            return None

    def keep(self, text: str, embeds: Mapping[str, Tensor]) -> None:
        """Keep a prompt's trimmed embeddings; a folder that cannot be written to keeps none."""
        if self.encoder is None:
            return
        try:
            with atomic_path(self._path(text)) as path:
                save_file(dict(embeds), path)
        except IvideoError:
            return

    def _path(self, text: str) -> Path:
        deciding = json.dumps([CACHE_VERSION, self.encoder, text], sort_keys=True)
        key = hashlib.sha256(deciding.encode()).hexdigest()
        return self.folder / key[:2] / f"{key}.safetensors"


def embed_texts(
    texts: Iterable[str], cache: TextCache, load_encoder: Callable[[], Callable[[str], Embeds]]
) -> dict[str, Embeds]:
    """The trimmed embeddings of some prompts; the text encoders are loaded only where one is missing, and then go.

    Args:
        texts: prompts.
        cache: what is known already.
        load_encoder: loads them and gives `encode(text) -> embeddings`.
    """
    wanted = dict.fromkeys(texts)
    found = {text: known for text in wanted if (known := cache.find(text)) is not None}
    missing = [text for text in wanted if text not in found]
    if missing:
        encode = load_encoder()
        for text in missing:
            with torch.no_grad():
                found[text] = trim(encode(text))
            cache.keep(text, found[text])
    return {text: found[text] for text in wanted}
