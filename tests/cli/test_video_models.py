"""The commands on the video models of today: tiny pipelines of the real classes, as a user names them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from ivideo.video.reader import read_video
from tests.models.pipelines import tiny

TRAINING = (
    *("--generation-num-inference-steps", 2, "--batch-size", 2, "--gradient-accumulation", 2, "--save-every", 1),
    *("--learning-rate", 0.01, "--strength", 0.5, "--lora-rank", 2, "--lora-alpha", 1, "--num-grad-steps", 1),
    *("--reward", "emoji-preference", "--num-segments", 2, "--dtype", "float32", "--quiet"),
)


def size_of(name: str) -> tuple[Any, ...]:
    num_frames, height, width = tiny.SIZES[name]
    return ("--num-frames", num_frames, "--height", height, "--width", width, "--num-inference-steps", 4)


@pytest.fixture(scope="session")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    root = tmp_path_factory.mktemp("pipelines")
    return lambda name: root / name if (root / name).is_dir() else tiny.write(name, root / name)


@pytest.fixture(autouse=True)
def prompts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("IVIDEO_CACHE", str(tmp_path / "cache"))
    (tmp_path / "prompts.txt").write_text("a red cat\na blue dog\n")
    return tmp_path / "prompts.txt"


def adapter_of(run: Path) -> bytes:
    return (run / "adapter" / "adapter_model.safetensors").read_bytes()


@pytest.mark.parametrize("name", tiny.EVERY)
def test_a_run_trains_and_resumes_bit_for_bit(
    name: str, ivideo: Any, folder_of: Any, prompts: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    train = ("finetune", prompts, "--model", folder_of(name), *size_of(name), *TRAINING)
    done = ivideo(*train, "--no-eval", "--max-steps", 2, "-o", run)
    assert done.exit_code == 0, done.stderr
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [record["num_skipped"] for record in records] == [0, 0]
    assert all(record["gradient_norm"] > 0 for record in records)
    whole = adapter_of(run)
    moved = [
        weight for key, weight in load_file(run / "adapter" / "adapter_model.safetensors").items() if "lora_B" in key
    ]
    assert sum(float(weight.abs().sum()) for weight in moved) > 0
    resumed = ivideo("finetune", "--resume", run / "checkpoints" / "step_00001", "--quiet")
    assert resumed.exit_code == 0, resumed.stderr
    assert adapter_of(run) == whole


def test_held_out_clips_guard_and_comparison(ivideo: Any, folder_of: Any, prompts: Path, tmp_path: Path) -> None:
    (tmp_path / "heldout.txt").write_text("an owl\na pig\n")
    model, run = folder_of("wan-a14b"), tmp_path / "run"
    train = ("finetune", prompts, "--model", model, *size_of("wan-a14b"), *TRAINING, "--max-steps", 2, "-o", run)
    done = ivideo(*train, "--eval-prompts", tmp_path / "heldout.txt")
    assert done.exit_code == 0, done.stderr
    summary = json.loads((run / "summary.json").read_text())
    assert summary["heldout"]["reward"]["n"] == 2
    files = {path.name for path in (run / "adapter").iterdir()}
    assert {"adapter_model.safetensors", "pytorch_lora_weights.safetensors", "comfyui_lora.safetensors"} <= files
    compared = ivideo("compare", "base", run, "-o", tmp_path / "compared", "--format", "json", "--quiet")
    assert compared.exit_code == 0, compared.stderr
    assert len(json.loads(compared.stdout)["rows"]) == 2


@pytest.mark.parametrize(
    "flags",
    [
        ("--start", "noise"),
        ("--gradient", "random", "--num-grad-steps", 2),
        ("--gradient", "drtune", "--num-grad-steps", 2),
        ("--gradient", "draft-lv", "--num-grad-steps", 2),
        ("--decoder-gradient", 1, "--profile"),
    ],
)
def test_every_way_of_the_gradient(
    flags: tuple[Any, ...], ivideo: Any, folder_of: Any, prompts: Path, tmp_path: Path
) -> None:
    train = ("finetune", prompts, "--model", folder_of("wan"), *size_of("wan"), *TRAINING, *flags)
    done = ivideo(*train, "--no-eval", "--max-steps", 1, "-o", tmp_path / "run")
    assert done.exit_code == 0, done.stderr
    record = json.loads((tmp_path / "run" / "metrics.jsonl").read_text())
    assert record["gradient_norm"] > 0


def test_real_clips_are_encoded_by_the_models_own_autoencoder(ivideo: Any, folder_of: Any, tmp_path: Path) -> None:
    model, size = folder_of("ltx"), size_of("ltx")
    made = ivideo("generate", "a cat", "a dog", "--model", model, *size, "-o", tmp_path / "clips", "--quiet")
    assert made.exit_code == 0, made.stderr
    listed = "".join(f"{path}|||a cat\n" for path in made.stdout.splitlines())
    (tmp_path / "list.txt").write_text(listed)
    train = ("finetune", tmp_path / "list.txt", "--model", model, *size, *TRAINING, "--no-eval", "--max-steps", 1)
    done = ivideo(*train, "-o", tmp_path / "run")
    assert done.exit_code == 0, done.stderr


def test_generate_gives_further_arguments_to_the_pipeline(ivideo: Any, folder_of: Any, tmp_path: Path) -> None:
    generate = ("generate", "a cat", "--model", folder_of("wan-a14b"), *size_of("wan-a14b"), "--quiet", "-o")
    plain = ivideo(*generate, tmp_path / "a")
    other = ivideo(*generate, tmp_path / "b", "--set", "guidance_scale_2=1.5")
    assert (plain.exit_code, other.exit_code) == (0, 0), other.stderr
    clips = [read_video(Path(result.stdout.strip())) for result in (plain, other)]
    assert clips[1].metadata["call_arguments"] == ["guidance_scale_2=1.5"]
    assert "call_arguments" not in clips[0].metadata
    for flags, message in {
        ("--set", "foo=1"): "error: --set foo: WanPipeline has none; it has guidance_scale_2, ",
        ("--set", "num_frames=5"): "error: --set num_frames: that is a setting, --num-frames",
        ("--set", "foo"): "error: --set ['foo']: give name=value",
        ("--set", "attention_kwargs=3"): "error: model ",
    }.items():
        refused = ivideo(*generate, tmp_path / "c", *flags)
        assert refused.exit_code != 0
        assert refused.stderr.splitlines()[-1].startswith(message), refused.stderr
    assert not (tmp_path / "c").exists()


def test_a_pipeline_that_no_family_knows_is_called_as_it_is(
    ivideo: Any, folder_of: Any, prompts: Path, tmp_path: Path
) -> None:
    from diffusers import LTXConditionPipeline, LTXPipeline

    parts = LTXPipeline.from_pretrained(folder_of("ltx")).components
    parts["scheduler"] = parts["scheduler"].from_config(parts["scheduler"].config, use_dynamic_shifting=False)
    LTXConditionPipeline(**parts).save_pretrained(tmp_path / "model")
    size = ("--num-frames", 9, "--height", 64, "--width", 64, "--num-inference-steps", 2, "--dtype", "float32")
    made = ivideo("generate", "a cat", "--model", tmp_path / "model", *size, "--seed", 3, "-o", tmp_path / "out")
    assert made.exit_code == 0, made.stderr
    assert "has no preset: what nobody set is as its pipeline has it" in made.stderr
    pipeline = LTXConditionPipeline.from_pretrained(tmp_path / "model")
    pipeline.set_progress_bar_config(disable=True)
    frames = pipeline(
        prompt="a cat",
        negative_prompt="",
        num_frames=9,
        height=64,
        width=64,
        num_inference_steps=2,
        guidance_scale=read_video(Path(made.stdout.strip())).metadata["guidance_scale"],
        frame_rate=8.0,
        generator=torch.Generator().manual_seed(3),
        output_type="pt",
    ).frames[0]
    from ivideo.models.contract import ClipRequest
    from ivideo.models.families import load_model

    model = load_model(str(tmp_path / "model"), torch.device("cpu"), torch.float32)
    clip = model.make_clip(ClipRequest("a cat", 3, 9, 64, 64, 2, 3.0))
    assert torch.equal(clip, (frames * 255).round().to(torch.uint8).permute(0, 2, 3, 1))
    refused = ivideo("finetune", prompts, "--model", tmp_path / "model", "--quiet", "-o", tmp_path / "run")
    assert refused.exit_code == 1
    assert "is a LTXConditionPipeline, which can be generated with, not trained; known are" in refused.stderr
    assert not (tmp_path / "run").exists()


def lose_a_weight(folder: Path) -> None:
    from safetensors.torch import save_file

    path = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    del weights["blocks.1.attn2.to_q.weight"]
    save_file(weights, path, {"format": "pt"})


def rename_class(part: str, name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        index = json.loads((folder / "model_index.json").read_text())
        index[part] = ["diffusers", name]
        (folder / "model_index.json").write_text(json.dumps(index))

    return change


def set_scheduler(**changes: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "scheduler" / "scheduler_config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return change


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: shutil.rmtree(folder / "transformer"), "its transformer is damaged or incomplete: "),
        (lambda folder: shutil.rmtree(folder / "vae"), "its vae is damaged or incomplete: "),
        (lambda folder: shutil.rmtree(folder / "text_encoder"), "its text_encoder is damaged or incomplete: "),
        (lambda folder: shutil.rmtree(folder / "tokenizer"), "its tokenizer is damaged or incomplete: "),
        (lose_a_weight, "its transformer is incomplete: blocks.1.attn2.to_q.weight is one of 1 missing weights"),
        (
            rename_class("transformer", "LTXVideoTransformer3DModel"),
            "has the transformer LTXVideoTransformer3DModel; a ",
        ),
        (rename_class("scheduler", "LCMScheduler"), "scheduler LCMScheduler is not supported here; supported: "),
        (set_scheduler(use_flow_sigmas=False), "is not set to flow matching, which this model was trained by"),
    ],
)
def test_bad_folders_are_told_in_one_line(
    damage: Any, message: str, ivideo: Any, folder_of: Any, prompts: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(folder_of("wan"), folder)
    damage(folder)
    refused = ivideo("finetune", prompts, "--model", folder, *size_of("wan"), *TRAINING, "-o", tmp_path / "run")
    assert refused.exit_code == 1
    assert len(refused.stderr.splitlines()) == 1, refused.stderr
    assert message in refused.stderr
    assert not (tmp_path / "run").exists()
