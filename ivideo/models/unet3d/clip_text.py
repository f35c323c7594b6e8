"""CLIP's text side, read without transformers, which takes longer to import than a small model to make a clip."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def quick_gelu(hidden: Tensor) -> Tensor:
    """CLIP's approximation of GELU."""
    return hidden * torch.sigmoid(1.702 * hidden)


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"quick_gelu": quick_gelu, "gelu": F.gelu}


OLD_PREFIX = "text_model."  # before every name, until transformers 5


END_OF_WORD = "</w>"


WEIGHTS_FILE, TOKENIZER_FILE = "model.safetensors", "tokenizer.json"


class ClipTokenizer:
    """Prompts to token ids, padded and cut to the length that the text encoder reads."""

    def __init__(self, backend: Any, pad_token_id: int, context_length: int) -> None:
        """Wrap a tokenizer that puts start and end around a text.

        Args:
            backend: a `tokenizers.Tokenizer`; its own padding and truncation are switched off.
            pad_token_id: fills the rest of the context.
            context_length: tokens, with start and end.
        """
        backend.no_padding()
        backend.no_truncation()
        self._backend = backend
        self._pad_token_id = pad_token_id
        self.context_length = context_length

    def __len__(self) -> int:
        """Size of the vocabulary."""
        return int(self._backend.get_vocab_size())

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Token ids (len(texts), context_length), int64; a long text loses its last words, not the end token."""
        rows = [self._backend.encode(text).ids for text in texts]
        length = self.context_length
        cut = [row if len(row) <= length else [*row[: length - 1], row[-1]] for row in rows]
        return torch.tensor([row + [self._pad_token_id] * (length - len(row)) for row in cut])

    def split(self, text: str) -> list[str]:
        """The tokens that a text falls into, without start and end."""
        tokens: list[str] = self._backend.encode(text, add_special_tokens=False).tokens
        return tokens

    def find_cut(self, text: str) -> str | None:
        """What is read of a text that is too long; None if it is read whole."""
        ids = self._backend.encode(text).ids
        if len(ids) <= self.context_length:
            return None
        read: str = self._backend.decode(ids[: self.context_length - 1], skip_special_tokens=True)
        return read.replace(END_OF_WORD, " ").strip()


@dataclass(frozen=True)
class ClipTextConfig:
    """The shape of the network, by the names of transformers' configuration file."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    max_position_embeddings: int
    hidden_act: str = "quick_gelu"
    layer_norm_eps: float = 1e-5

    @classmethod
    def pick(cls, values: Mapping[str, Any]) -> ClipTextConfig:
        """Take what matters out of a configuration.

        Raises:
            ValueError: a size is missing, or an activation is not supported.
        """
        known = {name: values[name] for name in cls.__dataclass_fields__ if name in values}
        try:
            config = cls(**known)
        except TypeError as error:
            raise ValueError(f"its configuration is incomplete: {error}") from None
        if config.hidden_act not in ACTIVATIONS:
            raise ValueError(f"activation {config.hidden_act!r} is not supported: one of {', '.join(ACTIVATIONS)}")
        return config


class ClipTextEncoder(nn.Module):
    """CLIP's causal text transformer; its weights have the names of transformers' CLIPTextModel.

    Source: Radford et al. 2021, section 2.4; held by a test against transformers' CLIPTextModel.
    """

    def __init__(self, config: ClipTextConfig) -> None:
        """Build the network without weights worth anything: they are to be loaded."""
        super().__init__()
        self.embeddings = _Embeddings(config)
        self.encoder = _Layers(config)
        self.final_layer_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    @property
    def context_length(self) -> int:
        """The most tokens that it reads."""
        return self.embeddings.position_embedding.num_embeddings

    def forward(self, token_ids: Tensor) -> Tensor:
        """Hidden states (batch, num_tokens, hidden_size) after the last layer's normalisation."""
        hidden: Tensor = self.final_layer_norm(self.encoder(self.embeddings(token_ids)))
        return hidden


class _Embeddings(nn.Module):
    def __init__(self, config: ClipTextConfig) -> None:
        super().__init__()
        self.token_embedding, self.position_embedding = (
            # Drawing random weights would import torch's compiler.
            nn.Embedding(count, config.hidden_size, _weight=torch.empty(count, config.hidden_size))
            for count in (config.vocab_size, config.max_position_embeddings)
        )

    def forward(self, token_ids: Tensor) -> Tensor:
        hidden: Tensor = self.token_embedding(token_ids) + self.position_embedding.weight[: token_ids.shape[1]]
        return hidden


class _Layers(nn.Module):
    def __init__(self, config: ClipTextConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_Layer(config) for _ in range(config.num_hidden_layers))

    def forward(self, hidden: Tensor) -> Tensor:
        for layer in self.layers:
            hidden = layer(hidden)
        return hidden


class _Layer(nn.Module):
    def __init__(self, config: ClipTextConfig) -> None:
        super().__init__()
        width, inner = config.hidden_size, config.intermediate_size
        self.num_heads = config.num_attention_heads
        self.activation = ACTIVATIONS[config.hidden_act]
        self.layer_norm1 = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.layer_norm2 = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.self_attn = nn.ModuleDict({f"{name}_proj": nn.Linear(width, width) for name in ("q", "k", "v", "out")})
        self.mlp = nn.ModuleDict({"fc1": nn.Linear(width, inner), "fc2": nn.Linear(inner, width)})

    def forward(self, hidden: Tensor) -> Tensor:
        normalised = self.layer_norm1(hidden)
        query, key, value = (
            self.self_attn[f"{name}_proj"](normalised).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for name in ("q", "k", "v")
        )
        attended = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        hidden = hidden + self.self_attn["out_proj"](attended.transpose(1, 2).flatten(2))
        inner = self.activation(self.mlp["fc1"](self.layer_norm2(hidden)))
        result: Tensor = hidden + self.mlp["fc2"](inner)
        return result


def build_text_encoder(config: Mapping[str, Any], weights: Mapping[str, Tensor]) -> tuple[ClipTextEncoder, list[str]]:
    """The network with the weights of transformers' CLIPTextModel, and the names of those that are missing.

    Raises:
        ValueError: the configuration is incomplete or not supported.
        RuntimeError: weights of another shape.
    """
    with torch.device("meta"):
        network = ClipTextEncoder(ClipTextConfig.pick(config))
    named = {name.removeprefix(OLD_PREFIX): weight for name, weight in weights.items()}
    missing = network.load_state_dict(named, strict=False, assign=True).missing_keys
    return network, missing


def load_text_encoder(location: str, subfolder: str) -> tuple[ClipTextEncoder, list[str]]:
    """The text encoder of a pipeline, and the names of its missing weights.

    Args:
        location: a local folder, or a hub id.
        subfolder: where in it.

    Raises:
        OSError, ValueError, RuntimeError, SafetensorError: what reading damaged files raises.
    """
    from safetensors.torch import load_file

    folder = Path(location, subfolder)
    if (folder / WEIGHTS_FILE).is_file():
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return build_text_encoder(config, load_file(folder / WEIGHTS_FILE))
    # It knows the hub, shards and older formats.
    kind = import_transformers().CLIPTextModel
    network, report = kind.from_pretrained(location, subfolder=subfolder, output_loading_info=True)
    return build_text_encoder(network.config.to_dict(), network.state_dict())[0], sorted(report["missing_keys"])


def load_tokenizer(location: str, subfolder: str, context_length: int) -> ClipTokenizer:
    """The tokenizer of a pipeline, padding and cutting to `context_length`; `location` may be a hub id.

    Raises:
        OSError, ValueError: what reading damaged files raises.
    """
    from tokenizers import Tokenizer

    folder = Path(location, subfolder)
    if not (folder / TOKENIZER_FILE).is_file():
        tokenizer = import_transformers().CLIPTokenizer.from_pretrained(location, subfolder=subfolder)
        return wrap_tokenizer(tokenizer, context_length)
    pad = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8")).get("pad_token")
    try:
        backend = Tokenizer.from_file(str(folder / TOKENIZER_FILE))
        pad_id = backend.token_to_id(pad["content"] if isinstance(pad, dict) else pad)
    except Exception as error:  # tokenizers raises nothing narrower
        raise ValueError(f"{TOKENIZER_FILE}: {error}") from error
    if pad_id is None:
        raise ValueError(f"{TOKENIZER_FILE} does not know the padding token {pad!r}")
    return ClipTokenizer(backend, pad_id, context_length)


def wrap_tokenizer(tokenizer: Any, context_length: int) -> ClipTokenizer:
    """A tokenizer of transformers as ours; it must be one that is backed by `tokenizers`."""
    return ClipTokenizer(tokenizer.backend_tokenizer, tokenizer.pad_token_id, context_length)


def import_transformers() -> Any:
    """The package, told to be quiet."""
    import transformers

    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    return transformers
