"""Finding and loading HPSv2's checkpoints; a small random network stands for the real one."""

from __future__ import annotations

import open_clip
import pytest
import torch

from ivideo.errors import IvideoError
from ivideo.models.judges import find_hps_checkpoint, load_hps, load_judge

CPU = torch.device("cpu")
FILES = {"hpsv2": "HPS_v2_compressed.pt", "hpsv2.1": "HPS_v2.1_compressed.pt"}


@pytest.mark.parametrize("name", FILES)
def test_checkpoint_is_found_in_hps_root(monkeypatch, tmp_path, name):
    (tmp_path / FILES[name]).write_bytes(b"weights")
    monkeypatch.setenv("HPS_ROOT", str(tmp_path))
    assert find_hps_checkpoint(name) == tmp_path / FILES[name]


@pytest.mark.parametrize("name", FILES)
def test_a_missing_checkpoint_says_which_file_to_put_where(monkeypatch, tmp_path, name):
    monkeypatch.setenv("HPS_ROOT", str(tmp_path / "here"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    with pytest.raises(IvideoError) as caught:
        load_judge(name, CPU)
    assert str(caught.value) == (
        f"reward {name}: {FILES[name]} is not on this machine; put it into {tmp_path / 'here'} (or set HPS_ROOT), "
        "from https://huggingface.co/xswu/HPSv2"
    )


@pytest.fixture
def created(monkeypatch, tmp_path, make_clip):
    """Makes open_clip create a small network of other weights; what it was asked for."""
    calls = []

    def create_model(name, **options):
        calls.append((name, options))
        network = make_clip()
        network.visual.proj.data.zero_()
        return network

    monkeypatch.setattr(open_clip, "create_model", create_model)
    monkeypatch.setenv("HPS_ROOT", str(tmp_path))
    return calls


def test_hpsv2_is_a_vit_h_14_with_the_weights_of_the_checkpoint_and_no_others(
    created, small_judge, make_clip, tmp_path
):
    state = make_clip().state_dict()
    assert {"logit_scale", "positional_embedding", "visual.conv1.weight", "text_projection"} <= {*state}
    torch.save({"epoch": 1, "iteration": 2, "state_dict": state}, tmp_path / FILES["hpsv2.1"])
    judge = load_hps("hpsv2.1", CPU)
    assert created == [("ViT-H-14", {"pretrained": None})]
    assert (judge.name, judge.label, judge.image_size) == ("hpsv2.1", "HPSv2 v2.1", 224)
    frames = torch.rand((1, 2, 3, 64, 64), generator=torch.Generator().manual_seed(0))
    scores = judge.score_frames(frames, ["a cat"])
    torch.testing.assert_close(scores["hpsv2.1"], small_judge.score_frames(frames, ["a cat"])["small"])
    assert not any(parameter.requires_grad for parameter in judge.network.parameters())


class Malice:
    def __reduce__(self):
        return exec, ("raise SystemExit('the checkpoint ran its own code')",)


@pytest.mark.parametrize(
    "content",
    [
        {"state_dict": Malice()},
        {"weights": {}},
        {"state_dict": {"visual.conv1.weight": torch.zeros(2)}},
        [1, 2],
    ],
    ids=["code", "no state_dict", "another network", "list"],
)
def test_a_checkpoint_that_is_none_is_told_in_one_line_and_runs_no_code(created, tmp_path, content):
    torch.save(content, tmp_path / FILES["hpsv2"])
    with pytest.raises(IvideoError, match=rf"^reward hpsv2: .*{FILES['hpsv2']} is damaged or no checkpoint of HPSv2; "):
        load_hps("hpsv2", CPU)


@pytest.mark.parametrize("size", [0, 20, -1000])
def test_a_checkpoint_that_was_cut_is_told_in_one_line(created, make_clip, tmp_path, size):
    path = tmp_path / FILES["hpsv2"]
    torch.save({"state_dict": make_clip().state_dict()}, path)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(IvideoError, match="is damaged or no checkpoint of HPSv2") as caught:
        load_hps("hpsv2", CPU)
    assert "\n" not in str(caught.value)
