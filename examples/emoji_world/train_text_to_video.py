"""Trains the emoji world's text-to-video model on rendered clips, and saves the whole pipeline as a diffusers folder.

    python -m examples.emoji_world.train_text_to_video build/emoji_world

Needs the autoencoder of `train_vae.py` in the same folder. Stop it at any time: it goes on from its last checkpoint.
"""

from __future__ import annotations

import argparse
import copy
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ivideo.models.unet3d.blocks import arrange_for_cpu

from .captions import MOTIONS, PLACES, SUBJECTS, Scene, random_caption, random_scene
from .renderer import NUM_FRAMES, render
from .tokenizer import CONTEXT_LENGTH, make_tokenizer, save_tokenizer
from .training import Clock, Optimisers, autocast, learning_rate_factor, update_average

UNET = {
    "sample_size": 8,
    "in_channels": 8,
    "out_channels": 8,
    "block_out_channels": (80, 160),
    "down_block_types": ("CrossAttnDownBlock3D", "DownBlock3D"),
    "up_block_types": ("UpBlock3D", "CrossAttnUpBlock3D"),
    "layers_per_block": 1,
    "norm_num_groups": 16,
    "cross_attention_dim": 96,
    "attention_head_dim": 16,
}
TEXT = {
    "hidden_size": 96,
    "intermediate_size": 384,
    "projection_dim": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": CONTEXT_LENGTH,
}
SCHEDULE = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "prediction_type": "epsilon",
    "steps_offset": 1,
    "clip_sample": False,
    "set_alpha_to_one": False,
    # Eight steps from pure noise to t = 124 do as well as ten from 901 to 1, where little is left to do.
    "timestep_spacing": "trailing",
}
PREVIEW = [
    "a cat surfing",
    "a dog running on grass",
    "an elephant spinning at night",
    "a panda approaching in the snow",
    "a car running in the city",
    "a rocket",
    "a shark surfing on a wave",
    "an owl flying in space",
]


def world_words() -> list[str]:
    """Every word that a caption can contain."""
    return sorted({word for text in ("a an", *SUBJECTS, *MOTIONS, *PLACES) for word in text.split()})


def build_models(folder: Path, start_from: Path | None = None) -> dict:
    """The pipeline's parts by their names.

    Args:
        folder: holds the trained autoencoder.
        start_from: a saved pipeline that gives text encoder, U-Net and autoencoder; fresh ones and the autoencoder of
            `folder` when None.
    """
    from diffusers import AutoencoderKL, DDIMScheduler, UNet3DConditionModel
    from diffusers.models.attention_processor import AttnProcessor
    from transformers import CLIPTextConfig, CLIPTextModel

    tokenizer = make_tokenizer(world_words())
    ids = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    config = CLIPTextConfig(vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, **ids, **TEXT)
    if start_from is None:
        unet, text_encoder = UNet3DConditionModel(**UNET), CLIPTextModel(config)
    else:
        unet = UNet3DConditionModel.from_pretrained(start_from / "unet", torch_dtype=torch.float32)
        text_encoder = CLIPTextModel.from_pretrained(start_from / "text_encoder", dtype=torch.float32)
    unet.set_attn_processor(AttnProcessor())
    vae = AutoencoderKL.from_pretrained((start_from or folder) / "vae", torch_dtype=torch.float32)
    return {
        "unet": arrange_for_cpu(unet).eval(),
        "text_encoder": text_encoder.eval(),
        "tokenizer": tokenizer,
        "vae": vae.eval(),
        "scheduler": DDIMScheduler(**SCHEDULE),
    }


@torch.no_grad()
def encode_clips(vae: nn.Module, num_clips: int, seed: int, path: Path) -> tuple[list[Scene], Tensor]:
    """Scenes and their scaled latents (num_clips, 8, 16, 8, 8) in half precision, kept in a file."""
    rng = np.random.default_rng([seed, 2])
    drawn = [(random_scene(rng), int(rng.integers(1 << 30))) for _ in range(num_clips)]
    scenes = [scene for scene, _ in drawn]
    if path.exists() and len(kept := load_file(path)["latents"]) == num_clips:
        return scenes, kept
    latents = torch.empty(num_clips, 8, NUM_FRAMES, 8, 8, dtype=torch.float16)
    for index, (scene, clip_seed) in enumerate(drawn):
        frames = torch.from_numpy(render(scene, clip_seed)).permute(0, 3, 1, 2).float() / 127.5 - 1
        with autocast():
            mode = vae.encode(frames).latent_dist.mode()
        latents[index] = mode.float().mul(vae.config.scaling_factor).permute(1, 0, 2, 3)
    save_file({"latents": latents}, path)
    return scenes, latents


class Trainer:
    """One diffusion training: the models, what they learn from, and a step on clips or on single frames."""

    def __init__(self, parts: dict, scenes: list[Scene], latents: Tensor, arguments: argparse.Namespace) -> None:
        self.parts, self.scenes, self.latents, self.arguments = parts, scenes, latents, arguments
        self.model = nn.ModuleDict({"unet": parts["unet"], "text_encoder": parts["text_encoder"]})
        self.average = copy.deepcopy(self.model).requires_grad_(False)
        self.optimisers = Optimisers(
            self.model, 0.015, 2e-3, lambda name: any(part in name for part in ("embedding", "unet.conv_"))
        )
        self.alphas = parts["scheduler"].alphas_cumprod

    def draw(self, step: int) -> tuple[Tensor, list[str], torch.Generator]:
        """Latents (batch, 8, 1 or 16, 8, 8) and captions of one step; they depend on seed and step only."""
        rng = np.random.default_rng([self.arguments.seed, 3, step])
        generator = torch.Generator().manual_seed(int(rng.integers(1 << 40)))
        is_image = rng.random() < self.arguments.image_share
        size = self.arguments.image_batch if is_image else self.arguments.video_batch
        clips = rng.integers(len(self.latents), size=size)
        latents = self.latents[clips].float()
        if is_image:
            frames = torch.from_numpy(rng.integers(NUM_FRAMES, size=size))
            latents = latents[torch.arange(size), :, frames].unsqueeze(2)
        captions = ["" if rng.random() < 0.1 else random_caption(self.scenes[clip], rng) for clip in clips]
        return latents, captions, generator

    def train_step(self, step: int, num_steps: int) -> tuple[bool, float]:
        """One optimiser step; whether it was on clips, and its loss."""
        latents, captions, generator = self.draw(step)
        batch, channels = latents.shape[:2]
        noise = torch.randn(latents.shape, generator=generator)
        # One offset a clip and channel: else the colour of a place can still be read from the noisiest input.
        noise = noise + 0.1 * torch.randn((batch, channels, 1, 1, 1), generator=generator)
        strata = (torch.randperm(batch, generator=generator) + torch.rand(batch, generator=generator)) / batch
        timesteps = (strata * 1000).long().clamp(max=999)
        noisy = self.parts["scheduler"].add_noise(latents, noise, timesteps)
        with autocast():
            prediction = predict(self.model, self.parts["tokenizer"], noisy, timesteps, captions)
        # The weight makes the loss that of v-prediction.
        weights = (1 / self.alphas[timesteps]).clamp(max=100)
        loss = (weights * F.mse_loss(prediction.float(), noise, reduction="none").mean((1, 2, 3, 4))).mean()
        loss.backward()
        self.optimisers.step(learning_rate_factor(step, num_steps))
        update_average(self.average, self.model, min(0.995, step / (step + 20)))
        return latents.shape[2] > 1, loss.item() / weights.mean().item()


def predict(model: nn.ModuleDict, tokenizer, latents: Tensor, timesteps: Tensor, captions: list[str]) -> Tensor:
    """The U-Net's noise prediction under the captions."""
    ids = tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt").input_ids
    states = model["text_encoder"](ids).last_hidden_state
    return model["unet"](latents, timesteps, states).sample


@torch.no_grad()
def sample(
    model: nn.ModuleDict, parts: dict, prompts: list[str], seed: int = 0, num_steps: int = 20, guidance_scale: float = 5
) -> np.ndarray:
    """Clips of the prompts, uint8 (len(prompts), 16, 64, 64, 3)."""
    scheduler, vae = copy.deepcopy(parts["scheduler"]), parts["vae"]
    scheduler.set_timesteps(num_steps)
    noise = torch.randn((len(prompts), 8, NUM_FRAMES, 8, 8), generator=torch.Generator().manual_seed(seed))
    latents = noise
    for timestep in scheduler.timesteps:
        with autocast():
            both = predict(
                model, parts["tokenizer"], torch.cat([latents] * 2), timestep, [""] * len(prompts) + prompts
            ).float()
        uncond, text = both.chunk(2)
        latents = scheduler.step(uncond + guidance_scale * (text - uncond), timestep, latents).prev_sample
    clips = [vae.decode(clip.permute(1, 0, 2, 3) / vae.config.scaling_factor).sample.clamp(-1, 1) for clip in latents]
    return ((torch.stack(clips) + 1) * 127.5).round().byte().permute(0, 1, 3, 4, 2).numpy()


def save_preview(path: Path, clips: np.ndarray) -> None:
    """A sheet with every other frame of each clip, a clip a row."""
    from PIL import Image

    rows = [np.concatenate(list(clip[::2]), axis=1) for clip in clips]
    sheet = Image.fromarray(np.concatenate(rows))
    sheet.resize((sheet.width * 2, sheet.height * 2), Image.Resampling.NEAREST).save(path)


def save_snapshot(path: Path, model: nn.ModuleDict) -> None:
    """Write U-Net and text encoder as they are at one moment of the training, in half precision."""
    save_file({name: value.half().contiguous() for name, value in model.state_dict().items()}, path)


def save_pipeline(folder: Path, parts: dict, model: nn.ModuleDict) -> None:
    """Write the diffusers folder: U-Net and autoencoder in half precision, text encoder in float32."""
    import diffusers
    from diffusers import TextToVideoSDPipeline

    diffusers.logging.set_verbosity_error()
    unet, vae = (copy.deepcopy(part).half() for part in (model["unet"], parts["vae"]))
    for weight in unet.parameters():
        weight.data = weight.data.contiguous()  # no channels-last order in files
    for part in (unet, vae):
        part.register_to_config(_name_or_path="")  # else the folder that it was read from would be shipped
    pipeline = TextToVideoSDPipeline(
        vae=vae,
        text_encoder=model["text_encoder"],
        tokenizer=parts["tokenizer"],
        unet=unet,
        scheduler=parts["scheduler"],
    )
    pipeline.save_pretrained(folder)
    save_tokenizer(parts["tokenizer"], folder / "tokenizer")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=2600, help="the learning rate falls over the last 40 %%")
    parser.add_argument("--image-share", type=float, default=0.75, help="share of steps on single frames")
    parser.add_argument("--image-batch", type=int, default=112)
    parser.add_argument("--video-batch", type=int, default=8)
    parser.add_argument("--num-clips", type=int, default=4500)
    parser.add_argument("--save-every", type=int, default=100)
    parser.add_argument("--preview-every", type=int, default=500)
    parser.add_argument("--start-from", type=Path, help="a saved pipeline whose training goes on, with fresh clips")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    torch.manual_seed(arguments.seed)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    parts = build_models(arguments.folder, arguments.start_from)
    started = time.monotonic()
    scenes, latents = encode_clips(
        parts["vae"], arguments.num_clips, arguments.seed, arguments.folder / "latents.safetensors"
    )
    print(
        f"{len(latents)} clips encoded in {time.monotonic() - started:.0f} s, std {latents[::50].std():.3f}", flush=True
    )
    trainer = Trainer(parts, scenes, latents, arguments)
    clock = Clock(arguments.folder / "text_to_video.ckpt")
    first = 0
    if state := clock.load():
        trainer.model.load_state_dict(state["model"])
        trainer.average.load_state_dict(state["average"])
        trainer.optimisers.load_state_dict(state["optimisers"])
        first = state["step"]
    elif arguments.start_from:
        save_snapshot(arguments.folder / "model_00000.safetensors", trainer.average)
    losses: dict[bool, list[float]] = {False: [], True: []}
    for step in range(first, arguments.steps):
        is_video, loss = trainer.train_step(step, arguments.steps)
        losses[is_video].append(loss)
        if (step + 1) % 20 == 0:
            recent = {name: np.mean(losses[key][-40:] or [np.nan]) for name, key in (("image", False), ("video", True))}
            print(
                f"step {step + 1} image {recent['image']:.4f} video {recent['video']:.4f} {clock.seconds:.0f} s",
                flush=True,
            )
        if (step + 1) % arguments.save_every == 0 or step + 1 == arguments.steps:
            clock.save(
                model=trainer.model.state_dict(),
                average=trainer.average.state_dict(),
                optimisers=trainer.optimisers.state_dict(),
                step=step + 1,
            )
        if (step + 1) % arguments.preview_every == 0 or step + 1 == arguments.steps:
            save_preview(arguments.folder / f"preview_{step + 1:05d}.png", sample(trainer.average, parts, PREVIEW))
            save_snapshot(arguments.folder / f"model_{step + 1:05d}.safetensors", trainer.average)
    save_pipeline(arguments.folder / "text_to_video", parts, trainer.average)
    print(f"saved {arguments.folder / 'text_to_video'} after {clock.seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main()
