"""CLIP's text side is held against transformers'."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

from ivideo.models.unet3d.clip_text import (
    ClipTextConfig,
    build_text_encoder,
    load_text_encoder,
    load_tokenizer,
    wrap_tokenizer,
)

TEXTS = ["a cat surfing", "", "A CAT, a dog!", "na\N{LATIN SMALL LETTER I WITH DIAERESIS}ve \N{CAT}", "cat " * 40]


@pytest.fixture
def make_network():
    """Random networks of transformers in evaluation mode: four heads, three layers, twelve positions."""
    from transformers import CLIPTextConfig, CLIPTextModel

    def make(**values):
        sizes = {"vocab_size": 50, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3}
        heads = {"num_attention_heads": 4, "max_position_embeddings": 12}
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return CLIPTextModel(CLIPTextConfig(**{**sizes, **heads, **values})).eval()

    return make


@pytest.mark.parametrize("activation", ["quick_gelu", "gelu"])
def test_hidden_states_equal_those_of_transformers(make_network, activation):
    theirs = make_network(hidden_act=activation, layer_norm_eps=1e-3)
    ours, missing = build_text_encoder(theirs.config.to_dict(), theirs.state_dict())
    assert missing == []
    ids = torch.randint(50, (3, 12), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(ours(ids), theirs(ids).last_hidden_state, rtol=0, atol=1e-5)
        torch.testing.assert_close(ours(ids[:, :5]), theirs(ids[:, :5]).last_hidden_state, rtol=0, atol=1e-5)
    assert ours.context_length == 12


def test_names_from_before_transformers_5(make_network):
    theirs = make_network()
    old = {f"text_model.{name}": weight for name, weight in theirs.state_dict().items()}
    assert build_text_encoder(theirs.config.to_dict(), old)[1] == []


def test_missing_weights_are_named(make_network):
    theirs = make_network()
    weights = theirs.state_dict()
    del weights["final_layer_norm.bias"]
    assert build_text_encoder(theirs.config.to_dict(), weights)[1] == ["final_layer_norm.bias"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden_size": None}, "its configuration is incomplete: .*hidden_size"),
        ({"hidden_act": "relu"}, "activation 'relu' is not supported: one of quick_gelu, gelu"),
    ],
)
def test_configurations_that_cannot_be_built(make_network, change, message):
    values = {**make_network().config.to_dict(), **change}
    with pytest.raises(ValueError, match=message):
        ClipTextConfig.pick({name: value for name, value in values.items() if value is not None})


def test_weights_in_pytorchs_own_format_are_read_too(make_network, tmp_path):
    theirs = make_network()
    theirs.save_pretrained(tmp_path / "new" / "text")
    (tmp_path / "old" / "text").mkdir(parents=True)
    shutil.copy(tmp_path / "new" / "text" / "config.json", tmp_path / "old" / "text")
    torch.save(theirs.state_dict(), tmp_path / "old" / "text" / "pytorch_model.bin")
    (new, _), (old, missing) = (load_text_encoder(str(tmp_path / age), "text") for age in ("new", "old"))
    assert missing == []
    for name, weight in new.state_dict().items():
        assert torch.equal(weight, old.state_dict()[name]), name


@pytest.fixture
def bundled_tokenizers(bundled_folder):
    """Ours and transformers' of the same folder, and ours around theirs."""
    from transformers import CLIPTokenizer

    theirs = CLIPTokenizer.from_pretrained(bundled_folder / "tokenizer")
    wrapped = wrap_tokenizer(CLIPTokenizer.from_pretrained(bundled_folder / "tokenizer"), 16)
    return load_tokenizer(str(bundled_folder), "tokenizer", 16), theirs, wrapped


def test_token_ids_equal_those_of_transformers(bundled_tokenizers):
    ours, theirs, wrapped = bundled_tokenizers
    expected = theirs(TEXTS, padding="max_length", truncation=True, max_length=16, return_tensors="pt").input_ids
    assert torch.equal(ours(TEXTS), expected)
    assert torch.equal(wrapped(TEXTS), expected)
    assert len(ours) == len(wrapped) == len(theirs)
    for text in TEXTS:
        assert ours.split(text) == theirs.tokenize(text)


def test_what_is_left_of_a_long_text(bundled_tokenizers):
    ours = bundled_tokenizers[0]
    assert ours.find_cut(" ".join(["cat"] * 14)) is None
    assert ours.find_cut(" ".join(["cat"] * 14 + ["dog"])) == " ".join(["cat"] * 14)


@pytest.mark.parametrize("pad", ["<|startoftext|>", {"content": "<|startoftext|>"}])
def test_another_padding_token(bundled_folder, tmp_path, pad):
    folder = shutil.copytree(bundled_folder / "tokenizer", tmp_path / "tokenizer")
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**config, "pad_token": pad}))
    tokenizer = load_tokenizer(str(tmp_path), "tokenizer", 8)
    start = tokenizer([""])[0, 0]
    assert (tokenizer(["a cat"])[0, 4:] == start).all()


@pytest.mark.parametrize("pad", [None, "no such token"])
def test_no_padding_token(bundled_folder, tmp_path, pad):
    folder = shutil.copytree(bundled_folder / "tokenizer", tmp_path / "tokenizer")
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**config, "pad_token": pad}))
    with pytest.raises(ValueError, match=r"^tokenizer\.json"):
        load_tokenizer(str(tmp_path), "tokenizer", 8)
