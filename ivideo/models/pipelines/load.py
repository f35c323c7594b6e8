"""A pipeline of a known family from a diffusers folder or the hub: prompts encoded first, then the network loaded."""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from ivideo.errors import IvideoError, UsageError
from ivideo.files.cache import find_cache_folder, identify_files
from ivideo.models.contract import TextToVideoModel
from ivideo.models.loading import check_finite, check_schedule, explain_part, import_quietly, load_part, read_index
from ivideo.models.lora import save_lora
from ivideo.models.lora_files import is_lora_file, load_lora
from ivideo.models.pipelines.lora_formats import write_formats
from ivideo.models.pipelines.model import PipelineModel
from ivideo.models.pipelines.texts import Embeds, TextCache, embed_texts
from ivideo.models.pipelines.wan import check_expert, read_notes, write_notes
from ivideo.models.variants import choose_variants

NO_OPTIONS: Mapping[str, Any] = MappingProxyType({})


class PipelineFamily:
    """Loads the models of one family; see `ivideo.models.contract.Family`."""

    def __init__(self, kind: type[PipelineModel]) -> None:
        """Of the family that a class is."""
        self.kind = kind

    def choose_preset(self, name: str, location: str) -> str:
        """The model whose settings one of the family takes that has none of its own."""
        return self.kind.choose_preset(name, location)

    def load_model(
        self,
        name: str,
        location: str,
        device: torch.device,
        dtype: torch.dtype,
        *,
        texts: Sequence[str] = (),
        options: Mapping[str, Any] = NO_OPTIONS,
    ) -> TextToVideoModel:
        """Encode the prompts, let the text encoders go, and load the rest.

        Raises:
            UsageError: an option that the model does not have.
            IvideoError: a part is missing, damaged or of another class.
        """
        diffusers = import_quietly("diffusers")
        index = self.check_parts(name, location)
        part = self.network_part(name, index, options)
        variants, remarks = self.choose_variants(name, location, index, options)
        embeds = self.embed(name, location, index, device, dtype, texts, variants)
        parts: dict[str, Any] = dict.fromkeys(self.kind.TEXT_CLASSES)
        for tokenizer in self.kind.TEXT_CLASSES:
            if tokenizer.startswith("tokenizer"):
                parts[tokenizer] = self.load_tokenizer(name, location, index, tokenizer)
        for found in self.networks(index):
            own = self.kind.VAE_DTYPE or dtype if found == "vae" else dtype
            here = _is_there(index, found)
            with explain_part(name, found):
                network = getattr(diffusers, index[found][1] if here else self.kind.CLASSES[found])
            place, subfolder = (location, found) if here else (self.kind.ELSEWHERE[found], "")
            parts[found] = load_part(network, name, place, found, subfolder, variants.get(found), torch_dtype=own)
        with explain_part(name, "scheduler"):
            scheduler = getattr(diffusers, index["scheduler"][1]).from_pretrained(location, subfolder="scheduler")
            parts["scheduler"] = check_schedule(name, self.kind.adapt_scheduler(scheduler, index))
        if "guider" in index:
            with explain_part(name, "guider"):
                kind = getattr(import_quietly("diffusers").guiders, index["guider"][1])
                parts["guider"] = kind.from_pretrained(location, subfolder="guider")
        pipeline = getattr(diffusers, self.kind.PIPELINE)(**parts, **self.flags(index))
        model = self.kind(name, pipeline, embeds, device, part, options)
        model.remarks = remarks
        return model

    def choose_variants(
        self, name: str, location: str, index: Mapping[str, Any], options: Mapping[str, Any]
    ) -> tuple[dict[str, str], list[str]]:
        """Which weights each part is loaded from, and what is to be told of that; see `choose_variants`."""
        parts = [*self.networks(index), *self.kind.TEXT_CLASSES]
        return choose_variants(name, location, parts, options.get("variant"))

    def networks(self, index: Mapping[str, Any]) -> list[str]:
        """The parts that are loaded as networks, but for text encoders."""
        second = ["transformer_2"] if _is_there(index, "transformer_2") else []
        return [*self.kind.CLASSES, *second]

    def flags(self, index: Mapping[str, Any]) -> dict[str, Any]:
        """What the index says of the pipeline beside its parts."""
        return {name: index[name] for name in ("boundary_ratio", "expand_timesteps") if name in index}

    def network_part(self, name: str, index: Mapping[str, Any], options: Mapping[str, Any]) -> str:
        """The part that adapters go into.

        Raises:
            UsageError: an expert of a model that has but one network.
        """
        has_two = _is_there(index, "transformer_2")
        part = check_expert(name, options.get("expert"), has_two)
        return part if has_two else next(iter(self.kind.CLASSES))

    def check_parts(self, name: str, location: str) -> dict[str, Any]:
        """Hold the parts that a pipeline's index names against what is supported, before any weights are touched.

        Raises:
            IvideoError: a part is missing, or of another class.
        """
        index = read_index(name, location)
        expected = {**self.kind.CLASSES, **self.kind.TEXT_CLASSES, "scheduler": ""}
        if missing := [part for part in expected if not _is_there(index, part) and part not in self.kind.ELSEWHERE]:
            raise IvideoError(f"model {name!r} has no {', '.join(missing)}: a {self.kind.PIPELINE} needs it")
        for part, wanted in expected.items():
            if wanted and _is_there(index, part) and index[part][1] != wanted:
                raise IvideoError(
                    f"model {name!r} has the {part} {index[part][1]}; a {self.kind.PIPELINE} has {wanted}"
                )
        return index

    def load_tokenizer(self, name: str, location: str, index: Mapping[str, Any], part: str) -> Any:
        """A tokenizer of the class that the index names.

        Raises:
            IvideoError: it is damaged.
        """
        transformers = import_quietly("transformers")
        with explain_part(name, part):
            kind = getattr(transformers, index[part][1], None) or transformers.AutoTokenizer
            tokenizer = kind.from_pretrained(location, subfolder=part)
            if tokenizer("a cat").input_ids == tokenizer("the sea").input_ids:  # made of no files
                raise ValueError("it has no vocabulary")
            return tokenizer

    def embed(
        self,
        name: str,
        location: str,
        index: Mapping[str, Any],
        device: torch.device,
        dtype: torch.dtype,
        texts: Sequence[str],
        variants: Mapping[str, str],
    ) -> dict[str, Embeds]:
        """The embeddings of the prompts, from the cache as far as it has them."""
        encoder = identify_files(location, list(self.kind.TEXT_CLASSES))
        told: dict[str, Any] = {"files": encoder, "dtype": str(dtype), "device": device.type}
        if own := {part: one for part, one in variants.items() if part in self.kind.TEXT_CLASSES}:
            told["variants"] = own
        cache = TextCache(find_cache_folder() / "prompts", {**told, "family": self.kind.PIPELINE} if encoder else None)

        def load_encoders() -> Any:
            encoders = self.load_encoders(name, location, index, device, dtype, variants)
            return lambda text: self.kind.encode_text(encoders, text, dtype)

        found = embed_texts(texts, cache, load_encoders)
        for text, embeds in found.items():
            check_finite(embeds, f"model {name!r}: what its text encoder makes of {text!r} is damaged")
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()
        return found

    def load_encoders(
        self,
        name: str,
        location: str,
        index: Mapping[str, Any],
        device: torch.device,
        dtype: torch.dtype,
        variants: Mapping[str, str],
    ) -> Any:
        """The family's pipeline with nothing but its text encoders and tokenizers."""
        diffusers, transformers = import_quietly("diffusers"), import_quietly("transformers")
        parts: dict[str, Any] = dict.fromkeys(
            [*self.networks(index), "scheduler", *(["guider"] if "guider" in index else [])]
        )
        for part in self.kind.ENCODERS_NEED:
            kind = getattr(diffusers, index[part][1])
            parts[part] = load_part(kind, name, location, part, variant=variants.get(part), torch_dtype=dtype)
        for part in self.kind.TEXT_CLASSES:
            if part.startswith("tokenizer"):
                parts[part] = self.load_tokenizer(name, location, index, part)
            else:
                kind = getattr(transformers, index[part][1])
                encoder = load_part(kind, name, location, part, variant=variants.get(part), dtype=dtype)
                parts[part] = encoder.eval().to(device)
        return getattr(diffusers, self.kind.PIPELINE)(**parts)

    # What adapters need without a model

    def network_folder(self, name: str, location: str, options: Mapping[str, Any] = NO_OPTIONS) -> str:
        """The folder of the module that adapters go into; of both experts none alone.

        Raises:
            UsageError: an option that the model does not have, or both experts.
        """
        part = self.network_part(name, self.check_parts(name, location), options)
        if part == "both":
            raise UsageError("`expert` both: one network can be written at a time; take high or low")
        return part

    def load_network(
        self, name: str, location: str, dtype: torch.dtype | None, options: Mapping[str, Any] = NO_OPTIONS
    ) -> nn.Module:
        """The module that adapters go into, on the CPU; with dtype None on the meta device, without its weights."""
        index = self.check_parts(name, location)
        part = self.network_part(name, index, options)
        kind = getattr(import_quietly("diffusers"), index[part][1])
        if dtype is not None:
            variant = self.choose_variants(name, location, index, options)[0].get(part)
            network: nn.Module = load_part(kind, name, location, part, variant=variant, torch_dtype=dtype)
            return network
        with explain_part(name, part), torch.device("meta"):
            empty: nn.Module = kind.from_config(kind.load_config(location, subfolder=part))
        return empty

    def load_adapter(self, network: Any, path: Path, /, scale: float = 1.0) -> Sequence[str]:
        """Put an adapter into such a module: PEFT's folder, or a safetensors file in whoever's names."""
        return load_lora(network, path, scale, pipeline=self.kind.PIPELINE)

    def save_adapter(
        self, network: Any, folder: Path, base_model: str, options: Mapping[str, Any] = NO_OPTIONS, /
    ) -> None:
        """Write the module's adapter in PEFT's format, and which expert it is for, if there are two."""
        save_lora(network, folder, base_model)
        write_notes(folder, options)

    def write_formats(self, folder: Path, options: Mapping[str, Any] = NO_OPTIONS, /) -> list[Path]:
        """Write an adapter once more, as diffusers and ComfyUI read it."""
        part = "both" if options.get("expert") == "both" else next(iter(self.kind.CLASSES))
        return write_formats(folder, self.kind.PIPELINE, part)

    def is_weights_file(self, path: Path) -> bool:
        """Whether it is a safetensors file with a LoRA."""
        return is_lora_file(path)

    def find_lora_rank(self, path: Path) -> int | None:
        """None: such a file is an adapter alone, which no training goes on from."""
        return None

    def read_adapter_notes(self, path: Path) -> dict[str, str]:
        """The expert that an adapter is for, if it says so.

        Raises:
            IvideoError: the note is damaged.
        """
        return read_notes(path) if path.is_dir() else {}


def _is_there(index: Mapping[str, Any], part: str) -> bool:
    names = index.get(part)
    return isinstance(names, (list, tuple)) and len(names) == 2 and bool(names[1])
