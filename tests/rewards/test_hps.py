"""HPSv2 against its authors' code on the same weights; a small random network stands for the real one."""

from __future__ import annotations

import importlib
import shutil
import sys
from pathlib import Path

import open_clip
import pytest
import torch
from safetensors.torch import save_file

from ivideo.errors import IvideoError, UsageError
from ivideo.rewards.hps import HPS_FILES, HPS_ROOT, HPS_VERSIONS, find_hps_checkpoint, load_hps
from ivideo.rewards.registry import load_reward

CPU = torch.device("cpu")
FILES = {"hpsv2": "HPS_v2_compressed.pt", "hpsv2.1": "HPS_v2.1_compressed.pt"}
PROMPTS = ["A cat surfing on a wave, 4k", "an owl"]
SIZES = {
    "square": (256, 256),
    "small": (64, 64),
    "native": (224, 224),
    "wide": (144, 256),
    "tall": (320, 180),
    "odd": (333, 77),
}


@pytest.fixture
def root(monkeypatch, tmp_path):
    """HPS_ROOT, empty, and no cache."""
    monkeypatch.setenv("HPS_ROOT", str(tmp_path / "here"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    (tmp_path / "here").mkdir()
    return tmp_path / "here"


@pytest.fixture
def small_config(monkeypatch, clip_sizes):
    """Makes open_clip describe ViT-H-14 as a small network; the names that it was asked for."""
    asked = []

    def get_model_config(name):
        asked.append(name)
        return clip_sizes

    monkeypatch.setattr(open_clip, "get_model_config", get_model_config)
    return asked


@pytest.fixture
def checkpoint(make_clip, root):
    """The published file's format with random weights, in HPS_ROOT."""
    path = root / FILES["hpsv2"]
    torch.save({"epoch": 1, "iteration": 2, "state_dict": make_clip().state_dict()}, path)
    return path


def put_into_cache(cache: Path, file_name: str) -> Path:
    """An empty checkpoint where huggingface_hub keeps its downloads."""
    repository = cache / "models--xswu--HPSv2"
    path = repository / "snapshots" / "abc" / file_name
    path.parent.mkdir(parents=True)
    path.touch()
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc")
    return path


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
def test_features_and_scores_are_those_of_the_authors_code(
    official, small_config, checkpoint, random_frames, to_image, size
):
    reward_model = load_hps("hpsv2", "", CPU)
    network, _, transform = official.create_model_and_transforms(
        "ViT-H-14", None, light_augmentation=True, output_dict=True
    )
    network.load_state_dict(torch.load(checkpoint, weights_only=True)["state_dict"])
    frames = random_frames(1, 2, *size)
    frames[0, 1] = (frames[0, 1] > 0.5).float()  # edges, where bicubic filters overshoot
    with torch.no_grad():
        images = torch.stack([transform(to_image(frame)) for frame in frames[0]])
        for prompt in PROMPTS:
            tokens = official.get_tokenizer("ViT-H-14")([prompt])
            theirs = network.eval()(images, tokens)
            ours = torch.nn.functional.normalize(
                reward_model.network.encode_image(reward_model.preprocessing(frames[0])), dim=-1
            )
            torch.testing.assert_close(ours, theirs["image_features"], rtol=0, atol=1e-4)
            torch.testing.assert_close(reward_model._encode_text([prompt]), theirs["text_features"], rtol=0, atol=1e-4)
            expected = (theirs["image_features"] @ theirs["text_features"].T)[:, 0]
            torch.testing.assert_close(reward_model.score(frames, [prompt])[0], expected, rtol=0, atol=1e-4)


def test_gradients_reach_the_frames_of_a_wide_clip(small_config, checkpoint, random_frames):
    frames = random_frames(1, 1, 72, 128).requires_grad_()
    load_hps("hpsv2", "", CPU).score(frames, PROMPTS[:1]).sum().backward()
    assert frames.grad.abs().sum(dim=(0, 1, 2)).gt(0).all()


@pytest.mark.parametrize("name", FILES)
def test_the_checkpoint_is_looked_for_in_hps_root_then_in_the_cache(root, name):
    with pytest.raises(IvideoError):
        find_hps_checkpoint(name)
    cached = put_into_cache(root.parent / "cache", FILES[name])
    assert find_hps_checkpoint(name) == cached
    safe = root / Path(FILES[name]).with_suffix(".safetensors")
    safe.touch()
    assert find_hps_checkpoint(name) == safe
    (root / FILES[name]).touch()
    assert find_hps_checkpoint(name) == root / FILES[name]


def test_files_and_their_place_are_called_as_in_the_authors_package(monkeypatch):
    import hpsv2.utils

    assert {HPS_VERSIONS[name]: file for name, file in HPS_FILES.items()} == hpsv2.utils.hps_version_map
    monkeypatch.delitem(sys.modules, "hpsv2.utils")
    monkeypatch.delenv("HPS_ROOT", raising=False)
    assert importlib.import_module("hpsv2.utils").root_path == str(Path(HPS_ROOT).expanduser())


@pytest.mark.parametrize("name", ["hpsv2", "hpsv2:{}"])
def test_it_scores_where_the_authors_package_is_not_installed(
    small_config, checkpoint, random_frames, bare_machine, name
):
    name = name.format(checkpoint)
    assert load_reward(name, CPU).score(random_frames(1, 1, 64, 64), ["a cat"]).isfinite().all()


@pytest.mark.parametrize("name", FILES)
def test_a_missing_checkpoint_says_which_file_to_put_where(root, name):
    with pytest.raises(IvideoError) as caught:
        load_reward(name, CPU)
    assert str(caught.value) == (
        f"reward {name}: {FILES[name]} is not on this machine: "
        "it is not in the cache, and HF_HUB_OFFLINE is set: unset it; "
        f"put it into {root} (or set HPS_ROOT), "
        "from https://huggingface.co/xswu/HPSv2"
    )


def test_it_is_a_vit_h_14_with_the_weights_of_the_checkpoint_and_no_others(
    small_config, checkpoint, small_reward, random_frames
):
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    assert {"logit_scale", "positional_embedding", "visual.conv1.weight", "text_projection"} <= {*state}
    reward_model = load_hps("hpsv2", "", CPU)
    assert {*small_config} == {"ViT-H-14"}
    assert (reward_model.name, reward_model.label, reward_model.preprocessing.image_size) == (
        "hpsv2",
        "HPSv2 v2.0, cosine",
        224,
    )
    frames = random_frames(1, 2, 64, 64)
    scores = reward_model.score(frames, ["a cat"])
    torch.testing.assert_close(scores, small_reward.score(frames, ["a cat"]))
    assert not any(parameter.requires_grad for parameter in reward_model.network.parameters())


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("hpsv2:{}/w.pt", "v2.0"),
        ("hpsv2.1:{}/HPS_v2_compressed.pt", "v2.1"),
        ("{}/HPS_v2_compressed.pt", "v2.0"),
        ("{}/HPS_v2.1_compressed.pt", "v2.1"),
        ("{}/my_hpsv2_1,x=3.safetensors", "v2.1"),
        ("{}/old-v2.0.pth", "v2.0"),
    ],
)
def test_a_file_by_its_path(small_config, checkpoint, tmp_path, random_frames, name, version):
    name = name.format(tmp_path)
    path = Path(name.partition(":")[2] or name)
    if path.suffix == ".safetensors":
        save_file(torch.load(checkpoint, weights_only=True)["state_dict"], path)
    else:
        shutil.copy(checkpoint, path)
    reward_model = load_reward(name, CPU)
    assert (reward_model.name, reward_model.label) == (name, f"HPSv2 {version}, cosine ({path})")
    frames = random_frames(1, 1, 64, 64)
    expected = load_reward("hpsv2", CPU).score(frames, PROMPTS[:1])
    assert torch.equal(reward_model.score(frames, PROMPTS[:1]), expected)


def test_half_precision_and_formats_before_zip_are_read(small_config, checkpoint, tmp_path, random_frames):
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    half = {name: weight.half() for name, weight in state.items()}
    torch.save({"state_dict": half}, tmp_path / "half.pt", _use_new_zipfile_serialization=False)
    frames = random_frames(1, 1, 64, 64)
    exact = load_reward("hpsv2", CPU).score(frames, PROMPTS[:1])
    reward_model = load_reward(f"hpsv2:{tmp_path / 'half.pt'}", CPU)
    scores = reward_model.score(frames, PROMPTS[:1])
    assert scores.dtype == torch.float32
    torch.testing.assert_close(scores, exact, rtol=0, atol=5e-3)


@pytest.mark.parametrize("name", ["w.pt", "model.safetensors", "hps_v2.3.pt"])
def test_a_file_that_does_not_say_its_version(name):
    with pytest.raises(UsageError) as caught:
        load_reward(name, CPU)
    assert str(caught.value) == (
        f"reward {name}: its name does not say HPSv2's version: write hpsv2:{name} or hpsv2.1:{name}"
    )


@pytest.mark.parametrize(("made", "message"), [(False, "does not exist"), (True, "is a folder")])
def test_a_file_that_is_not_there(tmp_path, made, message):
    path = tmp_path / "HPS_v2.pt"
    if made:
        path.mkdir()
    with pytest.raises(IvideoError, match=rf"^reward hpsv2:.*HPS_v2\.pt: .*HPS_v2\.pt {message}$"):
        load_reward(f"hpsv2:{path}", CPU)


class Malice:
    def __reduce__(self):
        return exec, ("raise SystemExit('the checkpoint ran its own code')",)


@pytest.mark.parametrize(
    "content",
    [
        {"state_dict": Malice()},
        {"weights": {}},
        {"state_dict": {"visual.conv1.weight": torch.zeros(2)}},
        {"state_dict": {}},
        [1, 2],
    ],
    ids=["code", "no state_dict", "another network", "nothing", "list"],
)
def test_a_checkpoint_that_is_none_is_told_in_one_line_and_runs_no_code(small_config, root, content):
    torch.save(content, root / FILES["hpsv2"])
    with pytest.raises(IvideoError, match=rf"^reward hpsv2: .*{FILES['hpsv2']} is damaged or no checkpoint of HPSv2; "):
        load_reward("hpsv2", CPU)


@pytest.mark.parametrize("size", [0, 20, -1000])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_checkpoint_that_was_cut_is_told_in_one_line(small_config, make_clip, root, size, suffix):
    path = (root / FILES["hpsv2"]).with_suffix(suffix)
    if suffix == ".pt":
        torch.save({"state_dict": make_clip().state_dict()}, path)
    else:
        save_file(make_clip().state_dict(), path)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(IvideoError, match="is damaged or no checkpoint of HPSv2") as caught:
        load_reward("hpsv2", CPU)
    assert "\n" not in str(caught.value)
