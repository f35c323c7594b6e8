"""One real training step and one real score at the size of the published models, on CPU, with random weights.

Writes ModelScopeT2V (U-Net of 1.41 B parameters, Stable Diffusion 2.1's autoencoder, OpenCLIP-H's text encoder with its
vocabulary) and HPSv2's ViT-H-14 in their published formats, and the clip of one prompt as an earlier run keeps it. Then
the ordinary commands run on them, and each one's seconds and peak memory are printed by phase:

    python -m examples.full_size build/full_size          # 7 GB of disk
    python -m examples.full_size build/wan --model wan2.1-1.3b                             # 17 GB of disk
    python -m examples.full_size build/tiny --tiny        # the same in a minute: small networks, the bundled reward

Wan 2.1 1.3B comes with UMT5-XXL and makes 17 frames of 256 x 256 here; one clip of 2 steps is also generated.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from examples import published_sizes as published
from ivideo.config.merge import write_toml
from ivideo.config.settings import FinetuneSettings
from ivideo.files.atomic import prepare_folder
from ivideo.files.run_folder import RunFolder, check_new_run
from ivideo.inputs.settings import resolve_settings
from ivideo.progress import Silence
from ivideo.video.writer import write_video

PROMPT = "a cat is surfing on a wave"
DTYPE = torch.bfloat16
GIB = 2**30
HPS_FILE = "HPS_v2_compressed.pt"
PIPELINE = {
    "_class_name": "TextToVideoSDPipeline",
    "scheduler": ["diffusers", "DDIMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet3DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}


WAN_PIPELINE = {
    "_class_name": "WanPipeline",
    "boundary_ratio": None,
    "expand_timesteps": False,
    "scheduler": ["diffusers", "UniPCMultistepScheduler"],
    "text_encoder": ["transformers", "UMT5EncoderModel"],
    "tokenizer": ["transformers", "T5Tokenizer"],
    "transformer": ["diffusers", "WanTransformer3DModel"],
    "transformer_2": [None, None],
    "vae": ["diffusers", "AutoencoderKLWan"],
}


@dataclass(frozen=True)
class Size:
    """The networks, the clip's shape and that of its latents, and the share of the chain that is edited through."""

    networks: published.Networks = published.PUBLISHED
    reward: str = "hpsv2"
    num_frames: int = 16
    side: int = 256
    latents: tuple[int, ...] = (4, 16, 32, 32)
    strength: float = 0.6
    wan: published.WanNetworks = published.WAN


SIZES = {
    "modelscope": Size(),
    "wan2.1-1.3b": Size(num_frames=17, latents=(16, 5, 32, 32), strength=0.4),
}
TINY_SIZES = {
    "modelscope": Size(published.TINY, "emoji-preference", num_frames=4, side=64, latents=(4, 4, 8, 8)),
    "wan2.1-1.3b": Size(published.TINY, "emoji-preference", 9, 64, (16, 3, 8, 8), strength=0.4, wan=published.TINY_WAN),
}
TINY = TINY_SIZES["modelscope"]


def draw_weights(network: nn.Module, seed: int, dtype: torch.dtype, device: str = "cpu") -> dict[str, Tensor]:
    """Random weights for a network on the meta device that keep its activations near 1: normal by fan-in, norms 1."""
    generator = torch.Generator(device).manual_seed(seed)
    weights = {}
    for name, empty in network.state_dict().items():
        if not empty.is_floating_point():
            weights[name] = torch.arange(empty.numel(), device=device).view(empty.shape)  # position ids
        elif empty.dim() >= 2:
            drawn = torch.randn(empty.shape, generator=generator, device=device)
            weights[name] = drawn.div_(empty[0].numel() ** 0.5).to(dtype)
        else:
            is_scale = ("norm" in name or "ln_" in name) and name.endswith("weight")
            weights[name] = torch.full(empty.shape, float(is_scale), dtype=dtype, device=device)
    return weights


def write_text_to_video(folder: Path, size: Size) -> None:
    """Write a diffusers folder, a part after the other."""
    from diffusers import AutoencoderKL, DDIMScheduler, UNet3DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    with torch.device("meta"):
        parts = {"unet": UNet3DConditionModel(**size.networks.unet), "vae": AutoencoderKL(**size.networks.vae)}
        text_encoder = CLIPTextModel(CLIPTextConfig(**size.networks.text))
    for seed, (name, part) in enumerate(parts.items()):
        part.save_config(folder / name)
        file = folder / name / "diffusion_pytorch_model.safetensors"
        save_file(draw_weights(part, seed, DTYPE), file, {"format": "pt"})
    text_encoder.config.save_pretrained(folder / "text_encoder")
    names = draw_weights(text_encoder, len(parts), DTYPE).items()
    old = {name if name.startswith("text_model.") else f"text_model.{name}": weight for name, weight in names}
    save_file(old, folder / "text_encoder" / "model.safetensors", {"format": "pt"})
    write_tokenizer(folder / "tokenizer")
    DDIMScheduler(**published.SCHEDULE).save_config(folder / "scheduler")
    (folder / "model_index.json").write_text(json.dumps(PIPELINE, indent=2))


def write_wan(folder: Path, size: Size) -> None:
    """Write a folder of Wan 2.1, a part after the other; its tokenizer knows a few words."""
    from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanTransformer3DModel
    from transformers import T5Tokenizer, UMT5Config, UMT5EncoderModel

    with torch.device("meta"):
        parts = {
            "transformer": WanTransformer3DModel(**size.wan.transformer),
            "vae": AutoencoderKLWan(**size.wan.vae),
            "text_encoder": UMT5EncoderModel(UMT5Config(**size.wan.text)),
        }
    for seed, (name, part) in enumerate(parts.items()):
        is_text = name == "text_encoder"
        part.config.save_pretrained(folder / name) if is_text else part.save_config(folder / name)
        weights = draw_weights(part, seed, DTYPE)
        if is_text:  # the embedding is one weight under two names
            weights.pop("encoder.embed_tokens.weight", None)
        file = "model.safetensors" if is_text else "diffusion_pytorch_model.safetensors"
        save_file(weights, folder / name / file, {"format": "pt"})
        del weights
    pieces = ["<pad>", "</s>", "<unk>", *(f"\u2581{word}" for word in PROMPT.split())]
    T5Tokenizer(vocab=[(piece, -1.0) for piece in pieces], extra_ids=0).save_pretrained(folder / "tokenizer")
    UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0).save_config(
        folder / "scheduler"
    )
    (folder / "model_index.json").write_text(json.dumps(WAN_PIPELINE, indent=2))


WRITERS = {"modelscope": write_text_to_video, "wan2.1-1.3b": write_wan}


def write_tokenizer(folder: Path) -> None:
    """Write CLIP's vocabulary, which open_clip brings, in the files of transformers' tokenizer."""
    from open_clip.tokenizer import SimpleTokenizer

    tokenizer = SimpleTokenizer()
    published_names = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
    vocabulary = {published_names.get(token, token): number for token, number in tokenizer.encoder.items()}
    folder.mkdir(parents=True)
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    merges = [" ".join(pair) for pair in sorted(tokenizer.bpe_ranks, key=tokenizer.bpe_ranks.__getitem__)]
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]), encoding="utf-8")
    special = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    config = {**special, "pad_token": "!", "model_max_length": 77, "tokenizer_class": "CLIPTokenizer"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2))


def write_reward_model(path: Path, config: Mapping[str, Any]) -> None:
    """Write a checkpoint as HPSv2's are: open_clip's names under `state_dict`."""
    import open_clip

    with torch.device("meta"):
        network = open_clip.CLIP(**config)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"state_dict": draw_weights(network, 7, torch.float16)}, path)


def write_earlier_run(path: Path, settings: FinetuneSettings, shape: tuple[int, ...]) -> None:
    """Write what an earlier run keeps of its base clip, here of noise."""
    run = RunFolder(prepare_folder(check_new_run(path)))
    run.config.write_text(write_toml(settings), encoding="utf-8")
    run.prompts.write_text(f"{PROMPT}\n")
    run.clips.mkdir()
    latents = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    save_file({"latents": latents}, run.clips / "00000.safetensors", {"prompt": PROMPT})


@dataclass
class Phase:
    """A part of a command, and the most memory that was resident in it: in all, and without pages of files."""

    name: str
    started: float
    seconds: float = 0.0
    resident: int = 0
    private: int = 0


def run_measured(arguments: list[str], environment: Mapping[str, str]) -> list[Phase]:
    """Run `ivideo` and measure it by phase: what it says on stderr ("training 0/1") tells where one begins and ends."""
    command = [sys.executable, "-m", "ivideo", *arguments]
    phases = [Phase("start and loading", time.monotonic())]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        sampler = threading.Thread(target=sample_memory, args=(process.pid, phases), daemon=True)
        sampler.start()
        for line in process.stderr or ():
            print(f"    {line}", end="", file=sys.stderr)
            if progress := re.match(r"(.+?) (\d+)/(\d+)", line):
                title, done, total = progress[1], int(progress[2]), int(progress[3])
                if done in (0, total):
                    phases.append(Phase(title if done == 0 else f"after {title}", time.monotonic()))
    sampler.join()
    if process.returncode:
        raise SystemExit(f"ivideo {arguments[0]} failed")
    ends = [*(phase.started for phase in phases[1:]), time.monotonic()]
    for phase, end in zip(phases, ends, strict=True):
        phase.seconds = end - phase.started
    return phases


def sample_memory(pid: int, phases: list[Phase]) -> None:
    """Note the memory of a process in its latest phase, ten times a second, until it ends."""
    while True:
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            return
        kilobytes = {name: int(value) for name, value in re.findall(r"^(VmRSS|RssAnon):\s+(\d+)", status, re.MULTILINE)}
        if not kilobytes:  # it has ended and waits to be asked for its result
            return
        phase = phases[-1]
        phase.resident = max(phase.resident, kilobytes["VmRSS"] * 1024)
        phase.private = max(phase.private, kilobytes["RssAnon"] * 1024)
        time.sleep(0.1)


def print_phases(title: str, phases: list[Phase]) -> None:
    """One command's table."""
    print(f"{title:28}{'seconds':>10}{'resident':>12}{'private':>12}")
    for phase in phases:
        print(f"  {phase.name:26}{phase.seconds:10.1f}{phase.resident / GIB:8.2f} GiB{phase.private / GIB:8.2f} GiB")
    seconds, resident = sum(phase.seconds for phase in phases), max(phase.resident for phase in phases)
    print(f"  {'all':26}{seconds:10.1f}{resident / GIB:8.2f} GiB{max(p.private for p in phases) / GIB:8.2f} GiB")


def main() -> None:
    """Write the models, run both commands, print what they took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="new or empty; models and runs go there")
    parser.add_argument("--tiny", action="store_true", help="small networks and the bundled reward model")
    parser.add_argument("--model", choices=list(WRITERS), default="modelscope")
    arguments = parser.parse_args()
    folder, size = arguments.folder, (TINY_SIZES if arguments.tiny else SIZES)[arguments.model]
    if folder.exists() and any(folder.iterdir()):
        parser.error(f"{folder} is not empty")
    started = time.monotonic()
    model = folder / arguments.model
    WRITERS[arguments.model](model, size)
    if size.reward == "hpsv2":
        write_reward_model(folder / "hps" / HPS_FILE, published.REWARD)
    print(f"models written in {time.monotonic() - started:.0f} s")

    shape = {"num_frames": size.num_frames, "height": size.side, "width": size.side}
    flags = {
        **{"model": str(model), "reward": size.reward, "device": "cpu", "dtype": "bfloat16", **shape},
        **{
            "strength": size.strength,
            "num_inference_steps": 20,
            "batch_size": 1,
            "gradient_accumulation": 1,
            "max_steps": 1,
        },
    }
    settings = resolve_settings(FinetuneSettings, config=None, flags=flags, progress=Silence())
    write_earlier_run(folder / "earlier", settings, size.latents)
    (folder / "prompts.txt").write_text(f"{PROMPT}\n")
    words = [word for name, value in flags.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    own = {"HPS_ROOT": str(folder / "hps"), "IVIDEO_CACHE": str(folder / "cache"), "HF_HUB_OFFLINE": "1"}
    environment = {**os.environ, **own}
    training = ["finetune", str(folder / "prompts.txt"), "--no-eval", *words, "--clips", str(folder / "earlier")]
    phases = run_measured([*training, "--output", str(folder / "run")], environment)
    print_phases("finetune, one step", phases)

    sizes = [word for name, value in shape.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    generating = ["generate", PROMPT, "--model", str(model), *sizes, "--num-inference-steps", "2", "--device", "cpu"]
    phases = run_measured([*generating, "--dtype", "bfloat16", "--output", str(folder / "videos")], environment)
    print_phases("generate, two steps", phases)

    noise = np.random.default_rng(0).integers(0, 256, (size.num_frames, size.side, size.side, 3), dtype=np.uint8)
    video = write_video(folder / "noise.mp4", noise, 8.0, {"prompt": PROMPT})
    phases = run_measured(["score", str(video), "--reward", size.reward, "--device", "cpu"], environment)
    print_phases("score, one video", phases)


if __name__ == "__main__":
    main()
