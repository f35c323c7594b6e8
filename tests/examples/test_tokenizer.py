from __future__ import annotations

import json

import open_clip
import pytest
from transformers import CLIPTokenizer

from examples.emoji_world.captions import all_scenes
from examples.emoji_world.tokenizer import CONTEXT_LENGTH, END, START, load_clip_merges, make_tokenizer, save_tokenizer
from examples.emoji_world.train_text_to_video import world_words
from ivideo.config.presets import MODEL_SOURCES
from ivideo.rewards.emoji_world import EMOJI_CLIP, EMOJI_PREFERENCE


@pytest.fixture(scope="module")
def tokenizer():
    return make_tokenizer(world_words())


def test_the_worlds_words_are_those_of_its_captions():
    assert world_words() == sorted({word for scene in all_scenes() for word in scene.caption().split()})


def test_every_word_of_the_world_is_one_token(tokenizer):
    assert {word: tokenizer.tokenize(word) for word in world_words()} == {w: [f"{w}</w>"] for w in world_words()}


def test_other_words_are_spelt_in_pieces_and_come_back(tokenizer):
    for word in ("zeppelin", "cats", "\u732b", "\U0001f408"):
        assert len(tokenizer.tokenize(word)) > 1
        assert tokenizer.decode(tokenizer(word).input_ids, skip_special_tokens=True).strip() == word


def test_words_are_split_as_clip_splits_them(tokenizer):
    # CLIP itself, on the words that both know: the same pieces under other numbers.
    clip = open_clip.tokenizer.SimpleTokenizer()
    text = "An owl flying at night, on a WAVE!"
    assert tokenizer.tokenize(text) == [clip.decoder[number] for number in clip.encode(text)]


def test_clips_merges_are_all_there():
    merges = load_clip_merges()
    assert len(merges) == 48_894
    assert merges[0] == ("i", "n")
    assert {len(merge) for merge in merges} == {2}


def check_structure(tokenizer):
    """What the text encoder and open_clip's pooling count on."""
    assert tokenizer.model_max_length == CONTEXT_LENGTH
    assert tokenizer.pad_token == tokenizer.eos_token == END
    assert tokenizer.bos_token == START
    assert tokenizer.eos_token_id == len(tokenizer) - 1, "open_clip pools at the highest token"
    ids = tokenizer("a cat", padding="max_length", truncation=True).input_ids
    cat = tokenizer.convert_tokens_to_ids(["a</w>", "cat</w>"])
    assert ids == [tokenizer.bos_token_id, *cat, *[tokenizer.eos_token_id] * (CONTEXT_LENGTH - 3)]
    assert len(tokenizer(" ".join(["cat"] * 30), truncation=True).input_ids) == CONTEXT_LENGTH


def test_structure(tokenizer):
    check_structure(tokenizer)


def test_what_is_saved_is_what_is_loaded_and_is_saved_the_same(tokenizer, tmp_path):
    save_tokenizer(make_tokenizer(world_words()), tmp_path / "one")
    loaded = CLIPTokenizer.from_pretrained(tmp_path / "one")
    check_structure(loaded)
    assert loaded.get_vocab() == tokenizer.get_vocab()
    save_tokenizer(make_tokenizer(world_words()), tmp_path / "two")
    for path in sorted((tmp_path / "one").iterdir()):
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


@pytest.mark.parametrize(
    "folder", [f"{MODEL_SOURCES['emoji-world']}/tokenizer", str(EMOJI_PREFERENCE), str(EMOJI_CLIP)]
)
def test_shipped_tokenizers_have_the_structure(folder):
    check_structure(CLIPTokenizer.from_pretrained(folder))


@pytest.mark.parametrize("folder", [EMOJI_PREFERENCE, EMOJI_CLIP])
def test_shipped_tokenizers_fit_their_networks(folder):
    config = json.loads((folder / "open_clip_config.json").read_text())["model_cfg"]["text_cfg"]
    assert len(CLIPTokenizer.from_pretrained(folder)) == config["vocab_size"]
    assert config["context_length"] == CONTEXT_LENGTH
