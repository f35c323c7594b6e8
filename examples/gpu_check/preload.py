"""What every part imports, in the process that the parts of a rehearsal are forked off."""

import accelerate
import open_clip
import peft
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet3DConditionModel
from peft import LoraConfig

import ivideo.training.step

__all__ = [
    "AutoencoderKL",
    "DDIMScheduler",
    "LoraConfig",
    "UNet3DConditionModel",
    "accelerate",
    "ivideo",
    "open_clip",
    "peft",
    "torch",
]
