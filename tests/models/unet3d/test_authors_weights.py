"""The authors' files: what they compute, that every weight has its place, and what is said of files that do not fit."""

from __future__ import annotations

import hashlib
import math
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import UNet3DConditionModel
from safetensors.torch import save_file
from torch import Tensor

from ivideo.errors import IvideoError, UsageError
from ivideo.models.lora import adapter_off, lora_parameters, merge_lora
from ivideo.models.unet3d.authors_weights import (
    find_lora_rank,
    load_adapter,
    load_authors_unet,
    name_lora,
    name_weights,
    read_authors_lora,
    read_checkpoint,
)

GOLDEN = Path(__file__).parent / "data" / "vgen_unet_lora_tiny_io.pt"  # its README says how it was made
TINY = {"block_out_channels": (32, 32, 64, 64), "cross_attention_dim": 1024, "attention_head_dim": 8}
FULL = {"block_out_channels": (320, 640, 1280, 1280), "cross_attention_dim": 1024, "attention_head_dim": 64}
NUM_FULL_PARAMETERS = 1_411_233_860  # ModelScopeT2V's U-Net


def make_empty(sizes):
    with torch.device("meta"):
        return UNet3DConditionModel(**sizes)


def load(path, sizes, dtype=torch.float32):
    return load_authors_unet(make_empty(sizes), path, dtype).eval().requires_grad_(False)


def attention(place, width, context, rank):
    """The authors' attention: (name, shape) of its projections and their LoRA pairs."""
    for name, inputs in (("to_q", width), ("to_k", context), ("to_v", context), ("to_out.0", width)):
        yield f"{place}.{name}.weight", (width, inputs)
        if rank:
            lora = name.removesuffix(".0") + "_lora"
            yield f"{place}.{lora}.down_linear.weight", (rank, inputs)
            yield f"{place}.{lora}.up_linear.weight", (width, rank)
    yield f"{place}.to_out.0.bias", (width,)


def transformer(place, width, inner, context, rank):
    """A transformer of theirs; one over frames has no text to look at, and convolutions at its ends."""
    ends = () if context else (1,)
    yield from norm(f"{place}.norm", width)
    yield from layer(f"{place}.proj_in", (inner, width, *ends))
    block = f"{place}.transformer_blocks.0"
    yield from attention(f"{block}.attn1", inner, inner, rank)
    yield from attention(f"{block}.attn2", inner, context or inner, rank)
    yield from layer(f"{block}.ff.net.0.proj", (8 * inner, inner))
    yield from layer(f"{block}.ff.net.2", (inner, 4 * inner))
    for i in (1, 2, 3):
        yield from norm(f"{block}.norm{i}", inner)
    yield from layer(f"{place}.proj_out", (width, inner, *ends))


def layer(place, shape):
    yield f"{place}.weight", shape
    yield f"{place}.bias", shape[:1]


def norm(place, width):
    return layer(place, (width,))


def residual(place, inputs, width, embedding):
    yield from norm(f"{place}.in_layers.0", inputs)
    yield from layer(f"{place}.in_layers.2", (width, inputs, 3, 3))
    yield from layer(f"{place}.emb_layers.1", (width, embedding))
    yield from norm(f"{place}.out_layers.0", width)
    yield from layer(f"{place}.out_layers.3", (width, width, 3, 3))
    if inputs != width:
        yield from layer(f"{place}.skip_connection", (width, inputs, 1, 1))
    for i, last in ((1, 2), (2, 3), (3, 3), (4, 3)):  # the first has no dropout before its convolution
        yield from norm(f"{place}.temopral_conv.conv{i}.0", width)
        yield from layer(f"{place}.temopral_conv.conv{i}.{last}", (width, width, 3, 1, 1))


def both_transformers(place, width, context, rank):
    yield from transformer(f"{place}.1", width, width, context, rank)
    yield from transformer(f"{place}.2", width, width, None, rank)


def authors_network(dim, multipliers, head_dim, context=1024, rank=None, num_layers=2):
    """Every (name, shape) of the authors' U-Net, built as their network is: no attention at its lowest level."""
    widths, embedding = [dim * factor for factor in multipliers], 4 * dim
    yield from layer("time_embed.0", (embedding, dim))
    yield from layer("time_embed.2", (embedding, embedding))
    yield from layer("input_blocks.0.0", (dim, 4, 3, 3))
    yield from transformer("input_blocks.0.1", dim, 8 * head_dim, None, rank)
    skips, index, current = [dim], 1, dim
    for level, width in enumerate(widths):
        for _ in range(num_layers):
            yield from residual(f"input_blocks.{index}.0", current, width, embedding)
            if level < len(widths) - 1:
                yield from both_transformers(f"input_blocks.{index}", width, context, rank)
            current, index = width, index + 1
            skips.append(current)
        if level < len(widths) - 1:
            yield from layer(f"input_blocks.{index}.op", (current, current, 3, 3))
            skips.append(current)
            index += 1
    yield from residual("middle_block.0", current, current, embedding)
    yield from both_transformers("middle_block", current, context, rank)
    yield from residual("middle_block.3", current, current, embedding)
    index = 0
    for level, width in reversed([*enumerate(widths)]):
        for part in range(num_layers + 1):
            yield from residual(f"output_blocks.{index}.0", current + skips.pop(), width, embedding)
            current = width
            if level < len(widths) - 1:
                yield from both_transformers(f"output_blocks.{index}", width, context, rank)
            if level and part == num_layers:
                place = 1 if level == len(widths) - 1 else 3
                yield from layer(f"output_blocks.{index}.{place}.conv", (width, width, 3, 3))
            index += 1
    yield from norm("out.0", dim)
    yield from layer("out.2", (4, dim, 3, 3))


SMALL = {
    "block_out_channels": (32, 64),
    "layers_per_block": 1,
    "down_block_types": ("CrossAttnDownBlock3D", "DownBlock3D"),
    "up_block_types": ("UpBlock3D", "CrossAttnUpBlock3D"),
    "cross_attention_dim": 16,
    "attention_head_dim": 8,
}
SMALL_NETWORK = dict(authors_network(dim=32, multipliers=(1, 2), head_dim=8, context=16, rank=2, num_layers=1))


TINY_NETWORK = dict(authors_network(dim=32, multipliers=(1, 1, 2, 2), head_dim=8, rank=4))
TINY_INPUTS = {"sample": (2, 4, 3, 16, 24), "encoder_hidden_states": (2, 7, 1024)}
TIMESTEPS = torch.tensor([551, 37])


def draw_tiny() -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The weights of the tiny network and its inputs, in float16.

    They are the same everywhere: the streams of `RandomState` are frozen, and what follows rounds alike on every
    processor.
    """
    random = np.random.RandomState(0)

    def draw(shape, spread, mean=0):
        return torch.from_numpy((mean + spread * (2 * random.random_sample(shape) - 1)).astype(np.float16))

    def draw_weight(name, shape):
        if len(shape) == 1:
            return draw(shape, 0.2, mean=1 if name.endswith(".weight") else 0)  # a norm's weight, or a bias
        return draw(shape, math.sqrt(3 / math.prod(shape[1:])))  # keeps the variance of what comes in

    weights = {name: draw_weight(name, TINY_NETWORK[name]) for name in sorted(TINY_NETWORK)}
    return weights, {name: draw(shape, math.sqrt(3)) for name, shape in TINY_INPUTS.items()}


def digest_layout(weights: dict[str, Tensor]) -> str:
    lines = [f"{name} {tuple(weights[name].shape)}\n" for name in sorted(weights)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def digest_numbers(*tables: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for table in tables:
        for name in sorted(table):
            digest.update(table[name].numpy().astype("<f2").tobytes())
    return digest.hexdigest()


@pytest.fixture(scope="module")
def golden():
    return torch.load(GOLDEN, weights_only=True)


@pytest.fixture(scope="module")
def drawn(golden):
    """What the authors' outputs were computed of, so that a failure later is one of the conversion."""
    weights, inputs = draw_tiny()
    assert digest_layout(weights) == golden["layout_sha256"], "authors_network is not the authors' network"
    assert digest_numbers(weights, inputs) == golden["numbers_sha256"], "other numbers were drawn than for the outputs"
    return weights, inputs


@pytest.fixture(scope="module")
def tiny_file(drawn, tmp_path_factory) -> Path:
    """A file like the released one, but tiny and random; leave it as it is."""
    path = tmp_path_factory.mktemp("tiny") / "vgen_unet_lora_tiny.pth"
    torch.save({"state_dict": drawn[0], "step": 620000}, path)
    return path


@pytest.fixture(scope="module")
def predict(drawn):
    sample, text = (drawn[1][name].float() for name in TINY_INPUTS)

    def call(unet):
        with torch.no_grad():
            return unet(sample, TIMESTEPS, text).sample

    return call


@pytest.fixture(scope="module")
def small_unet():
    """A U-Net of two levels without weights; what fails leaves it so."""
    return make_empty(SMALL)


@pytest.fixture
def write(tmp_path):
    """`write(function)` is a checkpoint of that size, whose table of weights went through a function."""

    def call(function):
        weights = {name: torch.zeros(shape) for name, shape in SMALL_NETWORK.items()}
        torch.save(function(weights), tmp_path / "changed.pth")
        return tmp_path / "changed.pth"

    return call


def test_the_authors_outputs_with_and_without_lora(golden, tiny_file, predict):
    unet = load(tiny_file, TINY)
    with_lora, without = golden["out_with_lora"], golden["out_without_lora"]
    assert (with_lora - without).abs().max() > 0.1
    torch.testing.assert_close(predict(unet), without, rtol=0, atol=1e-4)
    load_adapter(unet, tiny_file)
    torch.testing.assert_close(predict(unet), with_lora, rtol=0, atol=1e-4)
    with adapter_off(unet):
        torch.testing.assert_close(predict(unet), without, rtol=0, atol=1e-4)
    merge_lora(unet)
    assert lora_parameters(unet) == []
    torch.testing.assert_close(predict(unet), with_lora, rtol=0, atol=1e-4)


def test_every_weight_gets_the_wanted_type(write):
    path = write(lambda weights: {name: weight.double() for name, weight in weights.items()})
    unet = load(path, SMALL, torch.bfloat16)
    assert {weight.dtype for weight in unet.parameters()} == {torch.bfloat16}
    assert {weight.device.type for weight in unet.parameters()} == {"cpu"}
    load_adapter(unet, path)
    assert {weight.dtype for weight in lora_parameters(unet)} == {torch.float32}


def test_weights_of_the_wanted_type_stay_in_the_file(tiny_file):
    def mapped_kilobytes():
        lines = open("/proc/self/smaps").read().split("\n")
        starts = [i for i, line in enumerate(lines) if line.endswith(str(tiny_file))]
        return sum(int(lines[i + 1].split()[1]) for i in starts)

    unet = load(tiny_file, TINY, torch.float16)
    assert mapped_kilobytes() > 11_000
    del unet
    assert mapped_kilobytes() == 0


def test_at_full_size_every_weight_has_its_place():
    unet = make_empty(FULL)
    shapes = dict(authors_network(dim=320, multipliers=(1, 2, 4, 4), head_dim=64))
    ours = {name: tuple(weight.shape) for name, weight in unet.named_parameters()}
    names = name_weights(unet)
    assert sum(math.prod(shape) for shape in ours.values()) == NUM_FULL_PARAMETERS
    assert names.keys() == ours.keys() == unet.state_dict().keys()
    assert sorted(names.values()) == sorted(shapes)  # each of theirs once, and none else
    differing = {name for name in ours if ours[name] != shapes[names[name]]}
    assert {(*ours[name], 1) == shapes[names[name]] for name in differing} == {True}
    assert {name.rsplit(".", 2)[-2] for name in differing} == {"proj_in", "proj_out"}


def test_at_full_size_every_lora_weight_has_its_place():
    network = dict(authors_network(dim=320, multipliers=(1, 2, 4, 4), head_dim=64, rank=4))
    names = name_lora(make_empty(FULL))
    assert sorted(names.values()) == sorted(name for name in network if "_lora." in name)
    assert len(names) == 528
    first = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_out.0"
    assert names[f"{first}.lora_B.weight"].endswith(
        "input_blocks.1.1.transformer_blocks.0.attn2.to_out_lora.up_linear.weight"
    )


def test_the_layout_follows_the_unet():
    kinds = {
        "down_block_types": ("CrossAttnDownBlock3D",) * 2 + ("DownBlock3D",),
        "up_block_types": ("UpBlock3D",) + ("CrossAttnUpBlock3D",) * 2,
    }
    sizes = {"block_out_channels": (32, 64, 64), "layers_per_block": 3, "attention_head_dim": 8}
    network = authors_network(dim=32, multipliers=(1, 2, 2), head_dim=8, num_layers=3)
    assert sorted(name_weights(make_empty({**sizes, **kinds})).values()) == sorted(dict(network))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda weights: weights,
        lambda weights: {"model": weights, "optimizer": {"lr": 1}},
        lambda weights: {"state_dict": {f"module.{name}": weight for name, weight in weights.items()}, "step": 1},
        lambda weights: {"state_dict": {"module": weights}},
    ],
)
def test_wrappers_are_seen_through(write, wrap):
    read = read_checkpoint(write(wrap))
    assert {name: tuple(weight.shape) for name, weight in read.items()} == SMALL_NETWORK


def test_a_base_file_brings_no_lora(tiny_file, write, small_unet):
    assert find_lora_rank(tiny_file) == 4
    base = write(without("_lora."))
    assert find_lora_rank(base) is None
    with pytest.raises(IvideoError, match=r"changed\.pth brings no LoRA, only a U-Net: name it by `unet`$"):
        read_authors_lora(small_unet, base)
    assert load(base, SMALL).conv_out.weight.shape == (4, 32, 3, 3)


def without(*parts):
    return lambda weights: {name: weight for name, weight in weights.items() if not any(part in name for part in parts)}


def cut_rows(name):
    return lambda weights: {**weights, name: weights[name][:-1].clone()}


FIT = r"changed\.pth does not fit the model's U-Net: "
PAIR = "input_blocks.0.1.transformer_blocks.0.attn1.to_q_lora.down_linear.weight"


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (without("time_embed.0.bias"), r"1 weight \(time_embed\.0\.bias\) missing$"),
        (
            without("middle_block"),
            r"\d\d+ weights \(middle_block[^,]*, middle_block[^,]*, middle_block[^,]*, \.\.\.\) missing$",
        ),
        (
            lambda weights: {**weights, "fps_embedding.0.weight": torch.ones(1)},
            r"1 weight \(fps_embedding\.0\.weight\) left over$",
        ),
        (
            lambda weights: {name.replace("temopral", "temporal"): weight for name, weight in weights.items()},
            r"128 weights .* missing; 128 weights .* left over$",
        ),
        (
            cut_rows("out.2.weight"),
            r"1 weight \(out\.2\.weight \(3, 32, 3, 3\) for \(4, 32, 3, 3\)\) of another size$",
        ),
        (without(PAIR), r"1 weight \(input_blocks.*to_q_lora.down_linear.weight\) missing$"),
        (lambda weights: {**weights, "out_lora.up_linear.weight": torch.ones(1)}, r"1 weight \(out_lora.* left over$"),
    ],
)
def test_a_file_of_another_network_names_what_does_not_fit(write, small_unet, function, message):
    path = write(function)
    with pytest.raises(IvideoError, match=FIT + message) as caught:
        load_authors_unet(small_unet, path, torch.float32)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_a_lora_of_mixed_ranks_does_not_fit(write, small_unet):
    with pytest.raises(IvideoError, match=FIT + r"\d+ weights \(.* of another size$"):
        read_authors_lora(small_unet, write(cut_rows(PAIR)))


def test_a_file_for_another_size_does_not_fit(tiny_file):
    sizes = {**TINY, "block_out_channels": (64, 64, 128, 128)}
    message = r"does not fit the model's U-Net: \d+ weights \(.* \(32, 4, 3, 3\) for \(64, 4, 3, 3\), .* another size$"
    with pytest.raises(IvideoError, match=message):
        load(tiny_file, sizes)


def cut(path, source):
    path.write_bytes(source.read_bytes()[:-1000])


def write_zip(path, source):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("word/document.xml", "no weights")


class Stranger:
    """What a pickle may not bring along."""


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path, source: path.write_bytes(b"\x80\x02 no weights here"), "is no checkpoint of torch; wanted is"),
        (lambda path, source: path.write_bytes(b""), "is no checkpoint of torch; wanted is"),
        (
            lambda path, source: path.write_text("version https://git-lfs.github.com/spec/v1\n"),
            "is no checkpoint of torch",
        ),
        (lambda path, source: save_file({"out.2.bias": torch.ones(4)}, path), "is no checkpoint of torch; wanted is"),
        (cut, "is truncated or no checkpoint of torch: "),
        (write_zip, "is truncated or no checkpoint of torch: "),
        (lambda path, source: torch.save({"state_dict": Stranger()}, path), "holds other things than weights"),
        (lambda path, source: torch.save({}, path), "holds no table of weights"),
        (lambda path, source: torch.save(torch.ones(3), path), "holds no table of weights"),
        (lambda path, source: torch.save({"state_dict": {"a": 1}}, path), "holds no table of weights"),
    ],
)
def test_other_files_are_told_in_one_line(tmp_path, tiny_file, small_unet, make, message):
    path = tmp_path / "other.pth"
    make(path, tiny_file)
    with pytest.raises(IvideoError, match=message) as caught:
        load_authors_unet(small_unet, path, torch.float32)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_no_file(tmp_path, small_unet):
    with pytest.raises(UsageError, match=rf"^`unet` {tmp_path / 'x.pth'}: no such file$"):
        load_authors_unet(small_unet, tmp_path / "x.pth", torch.float32)
    with pytest.raises(UsageError, match=r"is a folder; give a file$"):
        load_authors_unet(small_unet, tmp_path, torch.float32)
