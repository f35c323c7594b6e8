"""Clips are made by the right model, and only once."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from examples.emoji_world import renderer
from examples.emoji_world.captions import Scene
from examples.emoji_world.evaluation import sources
from examples.emoji_world.evaluation.sources import (
    Source,
    clean_source,
    collect_clips,
    fingerprint,
    model_source,
    render_caption,
    round_trip,
    round_trip_source,
)
from ivideo.config.presets import preset_for
from ivideo.config.settings import GenerationSettings
from ivideo.errors import IvideoError
from ivideo.inputs.adapters import Adapter
from ivideo.progress import Silence

SETTINGS = GenerationSettings(
    **{k: v for k, v in preset_for("emoji-world").items() if k in GenerationSettings.model_fields}, model="emoji-world"
)
CAT, OWL = "a cat running at night", "an owl"


def test_clips_are_made_once_and_an_interruption_loses_none(tmp_path):
    made = []

    def make(prompt, seed):
        if seed == 9 and 9 not in made:
            made.append(9)
            raise KeyboardInterrupt
        made.append(seed)
        return np.full((16, 8, 8, 3), seed, np.uint8)

    wanted = [(CAT, 1), (CAT, 9), (OWL, 2)]
    source = Source("mine", "key", lambda: make)
    with pytest.raises(KeyboardInterrupt):
        collect_clips(source, wanted, tmp_path, Silence())
    clips = collect_clips(source, wanted, tmp_path, Silence())
    assert made == [1, 9, 9, 2]
    assert clips[:, 0, 0, 0, 0].tolist() == [1, 9, 2]
    unopened = Source("mine", "key", lambda: pytest.fail("nothing is missing"))
    assert np.array_equal(collect_clips(unopened, wanted, tmp_path, Silence()), clips)
    assert len([*(tmp_path / "key").iterdir()]) == 3
    collect_clips(Source("other", "other key", lambda: make), wanted[:1], tmp_path, Silence())
    assert made == [1, 9, 9, 2, 1]


def test_a_damaged_clip_is_named(tmp_path):
    source = Source("mine", "key", lambda: lambda prompt, seed: np.zeros((16, 8, 8, 3), np.uint8))
    collect_clips(source, [(CAT, 0)], tmp_path, Silence())
    (path,) = (tmp_path / "key").iterdir()
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(IvideoError, match=rf"{path.name} is damaged: remove it"):
        collect_clips(source, [(CAT, 0)], tmp_path, Silence())


def test_the_fingerprint_is_of_contents_and_settings(tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_text("1")
    second.write_text("2")
    known = fingerprint([first, second], steps=1)
    assert len({known, fingerprint([first], steps=1), fingerprint([first, second], steps=2)}) == 3
    assert fingerprint([second, first], steps=1) != known
    (tmp_path / "moved").write_text("1")
    assert fingerprint([tmp_path / "moved", second], steps=1) == known
    first.write_text("3")
    assert fingerprint([first, second], steps=1) != known
    with pytest.raises(IvideoError, match=r"cannot read .*none"):
        fingerprint([tmp_path / "none"])


def write_adapter(folder, weights):
    folder.mkdir(exist_ok=True)
    (folder / "adapter_config.json").write_text("{}")
    (folder / "adapter_model.safetensors").write_bytes(weights)
    return Adapter(folder, folder.name, {})


def test_the_model_s_key_changes_with_what_decides_its_clips(tmp_path):
    base = model_source("base", SETTINGS)
    run = model_source("run", SETTINGS, write_adapter(tmp_path / "run", b"1"))
    retrained = model_source("run", SETTINGS, write_adapter(tmp_path / "run", b"2"))
    changes = ({"num_inference_steps": 3}, {"guidance_scale": 2.0}, {"dtype": "float16"})
    changed = [model_source("base", SETTINGS.model_copy(update=change)) for change in changes]
    assert len({source.key for source in (base, run, retrained, *changed)}) == 6
    assert model_source("again", SETTINGS.model_copy(update={"seed": 7})).key == base.key


def test_base_and_run_generate_with_their_own_adapter(monkeypatch, tmp_path):
    monkeypatch.setattr(sources, "open_model", lambda settings, adapter: adapter)
    monkeypatch.setattr(sources, "generate_clip", lambda model, settings, prompt, seed: (model, prompt, seed))
    adapter = write_adapter(tmp_path / "run", b"1")
    assert model_source("base", SETTINGS).open()(CAT, 3) == (None, CAT, 3)
    assert model_source("run", SETTINGS, adapter).open()(CAT, 3) == (adapter, CAT, 3)


class HalvingAutoencoder:
    """Halves what it decodes; the posterior's mode is the picture itself."""

    def encode(self, images):
        assert (images.dtype, images.min(), images.max()) == (torch.float32, -1, 1)
        return SimpleNamespace(latent_dist=SimpleNamespace(mode=lambda: images))

    def decode(self, latents):
        return SimpleNamespace(sample=latents / 2)


def test_a_round_trip_is_scaled_there_and_back():
    clip = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    clip[0, 0, 0] = 0, 255, 100
    decoded = round_trip(HalvingAutoencoder(), clip)
    assert decoded.dtype == np.uint8
    assert np.abs(decoded - (127.5 + (clip.astype(float) - 127.5) / 2)).max() <= 0.5


@pytest.mark.needs_font
def test_the_bundled_autoencoder_keeps_a_clean_render(monkeypatch, tmp_path):
    clean = render_caption(CAT, 4)
    assert np.array_equal(clean, renderer.render(Scene("cat", "running", "at night"), 4))
    decoded = round_trip_source("emoji-world").open()(CAT, 4)
    assert 0 < np.abs(decoded.astype(float) - clean).mean() < 12
    keys = {clean_source().key, round_trip_source("emoji-world").key}
    (tmp_path / "renderer.py").write_text("another renderer")
    monkeypatch.setattr(renderer, "__file__", str(tmp_path / "renderer.py"))
    assert not keys & {clean_source().key, round_trip_source("emoji-world").key}
