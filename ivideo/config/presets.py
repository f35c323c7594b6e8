"""Short names of models: where each is, and its defaults.

The paper's for ModelScope; for the emoji world those that its size and its reward model call for; for the models of
today those of their documentation, with the paper's method.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from ivideo.errors import UsageError

_MODELS = Path(__file__).parents[1] / "models"
_EMOJI_WORLD = _MODELS / "emoji_world"
MODEL_SOURCES: dict[str, str] = {
    "emoji-world": str(_MODELS / "unet3d" / "emoji_world"),
    "modelscope": "damo-vilab/text-to-video-ms-1.7b",
    "zeroscope": "cerspense/zeroscope_v2_576w",
    "animatediff": "stable-diffusion-v1-5/stable-diffusion-v1-5",  # with motion modules
    "wan2.1-1.3b": "Wan-AI/Wan2.1-T2V-1.3B-Diffusers",
    "wan2.1-14b": "Wan-AI/Wan2.1-T2V-14B-Diffusers",
    "wan2.2-5b": "Wan-AI/Wan2.2-TI2V-5B-Diffusers",
    "wan2.2-a14b": "Wan-AI/Wan2.2-T2V-A14B-Diffusers",
    "cogvideox-2b": "THUDM/CogVideoX-2b",
    "cogvideox-5b": "THUDM/CogVideoX-5b",
    "cogvideox-1.5": "THUDM/CogVideoX1.5-5B",
    "ltx-video": "Lightricks/LTX-Video",
    "hunyuan-video": "hunyuanvideo-community/HunyuanVideo",
    "hunyuan-video-1.5": "hunyuanvideo-community/HunyuanVideo-1.5-Diffusers-480p_t2v",
    "mochi": "genmo/mochi-1-preview",
}
ADAPTERS: dict[str, Path] = {"emoji-world-instruct": _EMOJI_WORLD / "instruct"}

MODELS_HELP = (
    f"emoji-world (bundled), {', '.join(list(MODEL_SOURCES)[1:])}, a diffusers folder, or a hub id. Default: the run's "
    "own, else IVIDEO_MODEL, else auto (wan2.1-1.3b with CUDA, emoji-world without)."
)

# InstructVideo, section 5.1 and the authors' configuration of this task.
PAPER: dict[str, Any] = {
    "reward": "hpsv2",
    "num_frames": 16,
    "height": 256,
    "width": 256,
    "fps": 8.0,
    "num_inference_steps": 20,
    "guidance_scale": 3.0,
    "generation_num_inference_steps": 20,
    "generation_guidance_scale": 9.0,
    "strength": 0.6,
    "num_segments": 4,
    "attenuation_rate": 1.0,
    "num_grad_steps": 1,
    "offset_noise": 0.1,
    "lora_rank": 4,
    "lora_alpha": 4.0,
    "learning_rate": 1e-5,
    "num_warmup_steps": 10,
    "lr_schedule": "constant",
    "batch_size": 8,
    "gradient_accumulation": 8,
    "gradient_checkpointing": True,
    "max_steps": 20_000,
    "eval_every": 250,
    "patience": 8,
}
# Chosen by experiment on CPU: 8 steps that end at t = 124 (the model's schedule is "trailing"), where the last step's
# gradient is not nearly zero as it is at t = 1, and a gradient through the last two; a mild attenuation, so that all
# drawn frames of a clip count. With steps of 4 clips instead of 8 (36 of them) some seeds forgot things, which no
# training prompt names. A frame of each of 8 segments gains a little more than one of 4, in nearly the same time
# (examples/study). A clip is a part of the batch, which keeps a run under 3 GB.
EMOJI_WORLD: dict[str, Any] = {
    **PAPER,
    "reward": "emoji-preference",
    "height": 64,
    "width": 64,
    "num_inference_steps": 8,
    "generation_num_inference_steps": 8,
    "guidance_scale": 7.5,
    "generation_guidance_scale": 7.5,
    "num_segments": 8,
    "attenuation_rate": 0.1,
    "num_grad_steps": 2,
    "learning_rate": 3e-3,
    "num_warmup_steps": 5,
    "lr_schedule": "linear",
    "gradient_checkpointing": False,
    "max_steps": 30,
    "save_every": 5,
    "num_eval_prompts": 28,
    "eval_every": 10,
    "num_watched_prompts": 12,
    "patience": 3,
}
# The model card: 24 frames of 576 x 320, 40 steps; guidance 9 and 8 frames a second are diffusers' for this pipeline.
# It was trained on from ModelScope's weights, so that the method keeps the paper's settings.
ZEROSCOPE: dict[str, Any] = {
    **PAPER,
    "num_frames": 24,
    "height": 320,
    "width": 576,
    "generation_num_inference_steps": 40,
    "guidance_batching": False,  # fits a 16 GB card (examples/memory_budget.py)
}
# An evening on one GPU: fewer, larger steps on smaller batches; the method is unchanged.
EVENING: dict[str, Any] = {
    "learning_rate": 1e-4,
    "batch_size": 4,
    "gradient_accumulation": 4,
    "max_steps": 600,
    "eval_every": 50,
    "patience": 4,
}
MINUTES: dict[str, Any] = {
    "batch_size": 4,
    "gradient_accumulation": 4,
    "max_steps": 15,
    "num_eval_prompts": 8,
    "eval_every": 5,
    "num_watched_prompts": 8,
}


def _flow(num_frames: int, height: int, width: int, fps: float, steps: int, guidance: float, strength: float) -> Any:
    """The defaults of a video model of today.

    Frames, size, rate, steps and guidance are its documentation's. Adapter and optimiser are those of the reward
    training in VideoX-Fun (scripts/wan2.1_fun/train_reward_lora.sh: rank 32, alpha 16, learning rate 1e-5, gradients
    cut at .3). The strength starts the edit where the paper's does, at sigma / (alpha + sigma) = .66, by the model's
    own schedule of 20 steps; the attenuation rate has the same effect on a clip of any length.
    """
    return {
        **PAPER,
        "num_frames": num_frames,
        "height": height,
        "width": width,
        "fps": fps,
        "generation_num_inference_steps": steps,
        "guidance_scale": guidance,
        "generation_guidance_scale": guidance,
        "guidance_batching": False,
        "strength": strength,
        "attenuation_rate": round(16 / num_frames, 3),
        "lora_rank": 32,
        "lora_alpha": 16.0,
        "max_grad_norm": 0.3,
    }


TODAY: dict[str, dict[str, Any]] = {
    "wan2.1-1.3b": _flow(81, 480, 832, 16.0, 50, 5.0, 0.4),
    "wan2.1-14b": _flow(81, 480, 832, 16.0, 50, 5.0, 0.4),
    "wan2.2-5b": _flow(121, 704, 1280, 24.0, 50, 5.0, 0.3),
    "wan2.2-a14b": _flow(81, 480, 832, 16.0, 40, 4.0, 0.4),
    "cogvideox-2b": _flow(49, 480, 720, 8.0, 50, 6.0, 0.35),
    "cogvideox-5b": _flow(49, 480, 720, 8.0, 50, 6.0, 0.55),
    "cogvideox-1.5": _flow(81, 768, 1360, 16.0, 50, 6.0, 0.55),
    "ltx-video": _flow(161, 512, 704, 24.0, 50, 3.0, 0.15),
    "hunyuan-video": _flow(61, 320, 512, 15.0, 30, 6.0, 0.2),
    "hunyuan-video-1.5": _flow(121, 480, 848, 24.0, 50, 6.0, 0.3),
    "mochi": _flow(85, 480, 848, 30.0, 64, 4.5, 0.2),
    "animatediff": _flow(16, 512, 512, 8.0, 25, 7.5, 0.5),
}
PresetName = Literal["default", "quick"]
FALLBACK = "modelscope"  # whose defaults models take that have none
PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "emoji-world": {"default": EMOJI_WORLD, "quick": {**EMOJI_WORLD, **MINUTES}},
    "modelscope": {"default": PAPER, "quick": {**PAPER, **EVENING}},
    "zeroscope": {"default": ZEROSCOPE, "quick": {**ZEROSCOPE, **EVENING}},
    **{name: {"default": preset, "quick": {**preset, **EVENING}} for name, preset in TODAY.items()},
}


def preset_for(model: str, preset: str = "default", like: str = FALLBACK) -> Mapping[str, Any]:
    """The defaults of a model; models without their own get those of another one, at their own size.

    Args:
        model: the resolved model name (not `auto`).
        preset: `default` or `quick`.
        like: the short name of the other one.

    Raises:
        UsageError: no preset of that name.
    """
    own = PRESETS.get(model)
    named = own or PRESETS[like]
    if preset not in named:
        raise UsageError(f"unknown preset {preset!r}: one of {', '.join(named)}")
    return named[preset] if own else {**named[preset], "height": None, "width": None}


def choose_model(name: str) -> str:
    """The model that `auto` means on this machine: Wan 2.1 1.3B where CUDA is there, else the bundled emoji world."""
    if name != "auto":
        return name
    import torch

    return "wan2.1-1.3b" if torch.cuda.is_available() else "emoji-world"


def find_location(name: str) -> str:
    """Where a model is: a local folder, else a hub id.

    Raises:
        UsageError: the name can be neither.
    """
    source = MODEL_SOURCES.get(name, name)
    folder = Path(source).expanduser()
    if folder.is_dir():
        return str(folder)
    if folder.exists() or source.count("/") != 1 or source.startswith((".", "~", "/")):
        known = ", ".join(MODEL_SOURCES)
        raise UsageError(f"unknown model {name!r}: not one of {known}, not a folder, not a hub id like owner/name")
    return source


def heldout_prompts_path(name: str) -> Path | None:
    """The prompts that a bundled model brings for evaluation; None for every other model."""
    return _EMOJI_WORLD / "prompts" / "heldout.txt" if name == "emoji-world" else None
