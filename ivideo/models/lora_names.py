"""Whose name of a layer is which: the spellings of PEFT, diffusers, kohya, LyCORIS, ComfyUI and original networks.

A file of a LoRA holds pairs of matrices under names that tell the layer and the part: `unet.a.b.lora_A.weight`,
`lora_unet_a_b.lora_down.weight`, `diffusion_model.a.b.lora_down.weight`. Which layers are meant is asked of the
network: its own names count first, with dots or underscores; what remains goes through diffusers' converters.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor, nn

NUM_NAMED = 3  # names that an error shows of those that it counts
PART = re.compile(
    r"(?P<layer>.+?)(?:"
    r"(?P<down>\.lora_A(?:\.default)?(?:\.weight)?|[._]lora(?:_linear_layer)?[._]down\.weight)|"
    r"(?P<up>\.lora_B(?:\.default)?(?:\.weight)?|[._]lora(?:_linear_layer)?[._]up\.weight)|"
    r"(?P<bias>\.lora_B(?:\.default)?\.bias|[._]lora_up\.bias)|"
    r"(?P<shift>\.diff_b)|"
    r"(?P<magnitude>\.dora_scale|\.lora_magnitude_vector(?:\.default)?(?:\.weight)?)|"
    r"(?P<alpha>\.alpha))$"
)
TEXT_ENCODER = re.compile(
    r"lora_te\d*_|(?:base_model\.model\.)?text_encoders?(?:_\d)?\.|cond_stage_model\.|bundle_emb\."
)
PREFIX = re.compile(
    r"base_model\.model\.|model\.|diffusion_model\.|unet\.|transformer\.|lora_(?:unet|transformer)_+|lycoris_+"
)
REWRITTEN = (  # in names with underscores
    ("_processor_", "_"),  # diffusers' attention processors of 2023
    ("_to_out$", "_to_out_0"),
    ("_temporal_transformer_", "_"),  # motion modules as AnimateDiff's authors call them
    ("_attention_blocks_0_", "_attn1_"),
    ("_attention_blocks_1_", "_attn2_"),
    ("^patchify_proj$", "proj_in"),  # LTX-Video
    ("^adaln_single_", "time_embed_"),
)
DOTTED = (  # where kohya's underscores stand for the dots of original names
    (r"blocks_(\d+)_", r"blocks.\1."),
    (r"^(txt_in|img_in|time_in|vector_in|guidance_in|final_layer)_", r"\1."),
    (r"individual_token_refiner_", "individual_token_refiner."),
    (r"_(?=(?:q|k|v|o|k_img|v_img|fc1|fc2|linear|head|in_layer|out_layer|\d+)$)", "."),
)


@dataclass(frozen=True)
class Pair:
    """What a file says of one layer.

    Attributes:
        down: (rank, inputs) or, of a convolution, (rank, inputs, height, width).
        up: (outputs, rank), or likewise.
        scale: what multiplies the change; alpha / rank where the file says alpha.
        bias: of the up matrix, which the scale multiplies, too.
        magnitude: of DoRA, one a row of the layer's weight.
        key: the name of the down matrix in the file.
    """

    down: Tensor
    up: Tensor
    scale: float = 1.0
    bias: Tensor | None = None
    magnitude: Tensor | None = None
    key: str = ""

    @property
    def rank(self) -> int:
        """Inner width."""
        return len(self.down)


@dataclass
class Names:
    """A file's weights, sorted.

    Attributes:
        pairs: by the layer's name in the file.
        text: names of the weights of text encoders.
        others: names of what is no part of a LoRA, or of an incomplete pair.
    """

    pairs: dict[str, Pair] = field(default_factory=dict)
    text: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)


def sort_weights(weights: Mapping[str, Tensor]) -> Names:
    """Sort a file's weights by layer; changes of whole weights (`.diff`) that are all zero are passed over."""
    names, layers, keys = Names(), dict[str, dict[str, Tensor]](), dict[str, dict[str, str]]()
    for key, weight in weights.items():
        if TEXT_ENCODER.match(key):
            names.text.append(key)
        elif match := PART.match(key):
            layers.setdefault(match["layer"], {})[str(match.lastgroup)] = weight
            keys.setdefault(match["layer"], {})[str(match.lastgroup)] = key
        elif not key.endswith(".diff") or weight.any():
            names.others.append(key)
    for layer, parts in layers.items():
        if "down" in parts and "up" in parts:
            names.pairs[layer] = _make_pair(parts, keys[layer]["down"])
        elif set(parts) != {"shift"} or parts["shift"].any():
            names.others += keys[layer].values()
    return names


def _make_pair(parts: Mapping[str, Tensor], key: str) -> Pair:
    down = parts["down"]
    scale = float(parts["alpha"]) / len(down) if "alpha" in parts else 1.0
    bias = parts.get("bias")
    if "shift" in parts and scale:
        bias = parts["shift"] / scale
    return Pair(down, parts["up"], scale, bias, parts.get("magnitude"), key)


def find_layers(pairs: Mapping[str, Pair], network: nn.Module) -> tuple[dict[str, Pair], dict[str, Pair]]:
    """The pairs of a file by the layer's name in the network, and by that in the file those without a place in it."""
    own = (name for name, module in network.named_modules() if isinstance(getattr(module, "weight", None), Tensor))
    return _match(pairs, {flatten(name): name for name in own})


def _match(pairs: Mapping[str, Pair], places: Mapping[str, str]) -> tuple[dict[str, Pair], dict[str, Pair]]:
    found, left = dict[str, Pair](), dict[str, Pair]()
    for name, pair in pairs.items():
        place = _find_place(name, places)
        if place is None or place in found:
            left[name] = pair
        else:
            found[place] = pair
    return found, left


def find_original_layers(
    pairs: Mapping[str, Pair],
    network: nn.Module,
    pipeline: str,
    name_layers: Callable[[nn.Module], Mapping[str, str]] | None,
) -> tuple[dict[str, Pair], dict[str, Pair]]:
    """Likewise, of pairs in the original network's names.

    Args:
        pairs: by the layer's name in the file.
        network: whose layers they may be.
        pipeline: class of diffusers whose converter knows those names; "" for none.
        name_layers: gives diffusers' names by the original ones; None: ask the converter.
    """
    if name_layers is not None:
        return _match(pairs, {flatten(theirs): ours for theirs, ours in name_layers(network).items()})
    converted = _convert(pairs, pipeline, getattr(network, "config", None))
    found, left = find_layers(converted, network)
    return ({}, dict(pairs)) if left or not converted else (found, {})


def flatten(name: str) -> str:
    """A name with underscores for dots, as kohya spells it."""
    return re.sub(r"[._]+", "_", name).strip("_")


def _find_place(name: str, places: Mapping[str, str]) -> str | None:
    while True:
        flat = flatten(name)
        rewritten = flat
        for pattern, ours in REWRITTEN:
            rewritten = re.sub(pattern, ours, rewritten)
        for one in (flat, rewritten):
            if one in places:
                return places[one]
        if not (prefix := PREFIX.match(name)):
            return None
        name = name[prefix.end() :]


def _convert(pairs: Mapping[str, Pair], pipeline: str, config: Any) -> dict[str, Pair]:
    """The pairs in diffusers' names, by diffusers' converter for a pipeline; nothing where it knows them not.

    It splits the joint matrices of queries, keys and values: what comes of one pair has the very same down matrix.
    """
    import diffusers

    kind: Any = getattr(diffusers, pipeline, None)
    if not hasattr(kind, "lora_state_dict"):
        return {}
    asked, options = dict[str, Tensor](), dict[str, Any]()
    sources: dict[int, Pair] = {}
    for name, pair in pairs.items():
        bare = name
        while prefix := PREFIX.match(bare):
            bare = bare[prefix.end() :]
        if kind.__name__.startswith(("AnimateDiff", "StableDiffusion")):
            options, place, ends = {"unet_config": config}, f"lora_unet_{flatten(bare)}", ("lora_down", "lora_up")
        else:
            place, ends = f"diffusion_model.{_restore_dots(bare)}", ("lora_A", "lora_B")
        asked |= {f"{place}.{ends[0]}.weight": pair.down, f"{place}.{ends[1]}.weight": pair.up}
        sources[id(pair.down)] = pair
    try:
        answer = kind.lora_state_dict(asked, **options)
    except (ValueError, KeyError, IndexError, RuntimeError):  # its ways of saying that it knows a name not
        return {}
    made = sort_weights(answer[0] if isinstance(answer, tuple) else answer).pairs
    rows = dict.fromkeys(sources, 0)
    converted = {}
    for name, pair in made.items():
        source, begin = sources[id(pair.down)], rows[id(pair.down)]
        end = rows[id(pair.down)] = begin + len(pair.up)
        own: dict[str, Any] = {
            part: None if value is None else value.flatten()[begin:end] if len(pair.up) < len(source.up) else value
            for part, value in (("bias", source.bias), ("magnitude", source.magnitude))
        }
        converted[name] = replace(source, up=pair.up, **own)
    return converted


def _restore_dots(name: str) -> str:
    if "." not in name:
        for pattern, dotted in DOTTED:
            name = re.sub(pattern, dotted, name)
    return name


def find_misfits(pairs: Mapping[str, Pair], network: nn.Module) -> list[str]:
    """Layers whose pair is of another size, each with both sizes in words."""
    misfits = []
    for name, pair in pairs.items():
        weight: Any = network.get_submodule(name).weight
        rows, columns = weight.shape[0], weight[0].numel()
        own = (pair.up.shape[0], pair.down[0].numel(), pair.up[0].numel())
        if own != (rows, columns, pair.rank):
            misfits.append(f"{name} (it is {own[0]} x {own[1]}, the network's {rows} x {columns})")
    return misfits


def show_names(names: Iterable[str]) -> str:
    """The first NUM_NAMED names, and dots where there are more."""
    several = [*names]
    return ", ".join(several[:NUM_NAMED]) + (", ..." if len(several) > NUM_NAMED else "")
