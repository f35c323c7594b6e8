"""What makes a clip another clip."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from ivideo.comparing.candidates import Candidate, check_distinct, find_candidate, settle_settings
from ivideo.comparing.videos import name_folders
from ivideo.config.settings import GenerationSettings
from ivideo.errors import UsageError
from ivideo.inputs.provenance import find_provenance
from ivideo.progress import Silence

BASE = Candidate("base")


def settle(**flags: object) -> GenerationSettings:
    flags = {"model": "emoji-world", "dtype": "float32", **flags}
    return settle_settings([BASE, BASE], config=None, flags=flags, progress=Silence())[0]


def digest(candidate: Candidate = BASE, **flags: object) -> str:
    return find_provenance(settle(**flags), candidate.adapter).digest


@pytest.mark.parametrize(
    "flag",
    [
        {"num_frames": 4},
        {"height": 32},
        {"width": 32},
        {"fps": 9},
        {"num_inference_steps": 3},
        {"guidance_scale": 2},
        {"negative_prompt": "blur"},
        {"guidance_batching": False},
        {"dtype": "bfloat16"},
    ],
    ids=str,
)
def test_every_setting_of_a_clip_counts(flag: dict[str, object]) -> None:
    assert digest(**flag) != digest()


@pytest.mark.parametrize(
    "flag", [{"seed": 5}, {"num_segments": 2}, {"attenuation_rate": 1}, {"reward": "clip"}], ids=str
)
def test_what_does_not_change_a_clip_does_not(flag: dict[str, object]) -> None:
    assert digest(**flag) == digest()


def test_an_adapter_is_its_weights_its_configuration_and_its_scale(trained_run: Path, tmp_path: Path) -> None:
    run = find_candidate(str(trained_run))
    assert run.adapter is not None
    weights = (run.adapter.path / "adapter_model.safetensors").read_bytes()
    assert find_provenance(settle(), run.adapter).adapter_hash == hashlib.sha256(weights).hexdigest()
    copy = shutil.copytree(trained_run, tmp_path / "copy")
    assert digest(find_candidate(str(copy))) == digest(run) != digest()
    assert digest(find_candidate(str(copy), 0.5)) != digest(run)
    config = copy / run.adapter.path.name / "adapter_config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "lora_alpha": 99}))
    assert digest(find_candidate(str(copy))) != digest(run)


def test_a_u_net_file_is_its_content_and_a_local_model_its_files(
    authors_file: Path, authors_base_file: Path, authors_folder: Path, tmp_path: Path
) -> None:
    copy = shutil.copy(authors_file, tmp_path / "copy.pth")
    assert digest(unet=str(copy)) == digest(unet=str(authors_file)) != digest(unet=str(authors_base_file))
    model = shutil.copytree(authors_folder, tmp_path / "model")
    before = digest(model=str(model))
    weights = next(model.glob("unet/*.safetensors"))
    weights.write_bytes(weights.read_bytes() + b"\0")
    assert digest(model=str(model)) != before


def test_nobody_is_compared_with_themselves(trained_run: Path, tmp_path: Path) -> None:
    run, again = find_candidate(str(trained_run)), find_candidate(str(trained_run), 1.0)
    provenances = {i: find_provenance(settle(), one.adapter) for i, one in enumerate([run, BASE, again])}
    check_distinct([run, BASE], provenances)
    with pytest.raises(UsageError, match="are the same model with the same settings"):
        check_distinct([run, BASE, again], provenances)
    folders = [Candidate("x", folder=tmp_path), Candidate("y", folder=tmp_path / "z" / "..")]
    with pytest.raises(UsageError, match="x and y are the same folder"):
        check_distinct(folders, {})


def test_folders_are_named_after_candidates() -> None:
    names = ["base", "mine @0.5", "Mine-@0.5", "../x/y", "owner/model", "..", "été"]
    assert name_folders(names) == ["base", "mine-@0.5", "Mine-@0.5-2", "x-y", "owner-model", "candidate", "été"]
