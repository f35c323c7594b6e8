"""Makes the world's tokenizer: CLIP's byte-pair merges, cut down to those that the world's words use."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from pathlib import Path

from transformers import CLIPTokenizer

CONTEXT_LENGTH = 16
START, END = "<|startoftext|>", "<|endoftext|>"


def load_clip_merges() -> list[tuple[str, str]]:
    """CLIP's 48,894 merges in their order, from the vocabulary file inside open_clip."""
    import gzip

    import open_clip.tokenizer

    text = gzip.open(open_clip.tokenizer.default_bpe()).read().decode("utf-8")
    return [tuple(line.split()) for line in text.split("\n")[1 : 49152 - 256 - 2 + 1]]  # type: ignore[misc]


def byte_alphabet() -> list[str]:
    """The 256 printable stand-ins for bytes that CLIP's vocabulary starts with, in its order."""
    from open_clip.tokenizer import bytes_to_unicode

    return list(bytes_to_unicode().values())


def merges_used(words: Iterable[str], merges: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The merges that are applied when the given words are split, in their original order."""
    ranks = {merge: rank for rank, merge in enumerate(merges)}
    used = set()
    for word in words:
        pieces = [*word[:-1], word[-1] + "</w>"]
        while True:
            pairs = list(itertools.pairwise(pieces))
            best = min(pairs, key=lambda pair: ranks.get(pair, len(ranks)), default=None)
            if best is None or best not in ranks:
                break
            used.add(best)
            at = pairs.index(best)
            pieces[at : at + 2] = ["".join(best)]
    return sorted(used, key=ranks.__getitem__)


def make_tokenizer(words: Iterable[str]) -> CLIPTokenizer:
    """A CLIPTokenizer that knows the given words whole and spells every other one in pieces."""
    merges = merges_used(words, load_clip_merges())
    alphabet = byte_alphabet()
    # The end token has the highest id: CLIP pools there.
    tokens = [*alphabet, *(a + "</w>" for a in alphabet), *("".join(m) for m in merges), START, END]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=CONTEXT_LENGTH, unk_token=END, pad_token=END)


def save_tokenizer(tokenizer: CLIPTokenizer, folder: Path) -> None:
    """Save in transformers' format, in a stable order of keys."""
    # Padding and truncation of the last call would be saved with it.
    tokenizer.backend_tokenizer.no_padding()
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.save_pretrained(folder)
    config = folder / "tokenizer_config.json"
    config.write_text(json.dumps(json.loads(config.read_text()), indent=2, sort_keys=True) + "\n")
