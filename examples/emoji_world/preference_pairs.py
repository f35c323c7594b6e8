"""Simulated preferences: pairs of pictures of which one is better for a caption by construction.

Nobody was asked. A clean render is better than the same render spoiled; the right subject or place better than a wrong
one; a render better than its round trip through the autoencoder, that better than what the text-to-video model makes of
it, and what it makes from noise better than what an early or a hasty maker makes from the same noise.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ivideo.core.sampler import edit, run_chain
from ivideo.models.text_to_video import TextToVideoModel

from .captions import Scene, random_caption, random_scene
from .degradations import degrade
from .renderer import NUM_FRAMES, render
from .training import autocast

KINDS = {
    "degraded": 0.18,
    "degraded more": 0.08,
    "degraded sample": 0.12,
    "wrong subject": 0.12,
    "wrong place": 0.08,
    "round trip": 0.06,
    "edited": 0.14,
    "sample": 0.17,
    "worse sample": 0.05,
}
"""Share of each kind of pair in the training."""
Pair: TypeAlias = tuple[Tensor, Tensor, str]


@dataclass(frozen=True)
class Maker:
    """Who makes pictures: a moment of the text-to-video training, and how it samples."""

    snapshot: Path
    num_steps: int = 8
    guidance_scale: float = 5.0

    @property
    def name(self) -> str:
        return f"{self.snapshot.stem}_{self.num_steps}_{self.guidance_scale:g}"


def load_snapshot(model: TextToVideoModel, path: Path) -> TextToVideoModel:
    """Put the weights of one moment of the text-to-video training into the model."""
    state = {name: value.float() for name, value in load_file(path).items()}
    torch.nn.ModuleDict({"unet": model.unet, "text_encoder": model.text_encoder}).load_state_dict(state)
    return model


class Pool:
    """Rendered frames with their scenes, and worse versions of them made by the models.

    Attributes:
        scenes: what each frame shows; two frames a scene.
        frames: (num_frames, 3, 64, 64) uint8, clean renders.
        edited: "round trip" and "edited" of the first frames, by the best maker.
        samples: by each maker, from the worst to the best, pictures of the same scenes made from noise.
    """

    def __init__(self, num_frames: int, seed: int) -> None:
        rng = np.random.default_rng([seed, 4])
        self.seed = seed
        self.scenes: list[Scene] = []
        frames = []
        for _ in range(num_frames // 2):
            scene = random_scene(rng)
            frames.append(render(scene, int(rng.integers(1 << 30)), rng.integers(0, NUM_FRAMES, 2).tolist()))
            self.scenes += [scene, scene]
        self.frames = torch.from_numpy(np.concatenate(frames)).permute(0, 3, 1, 2).contiguous()
        self.by_subject, self.by_place = defaultdict(list), defaultdict(list)
        for index, scene in enumerate(self.scenes):
            self.by_subject[scene.subject].append(index)
            self.by_place[scene.place].append(index)
        self.edited: dict[str, Tensor] = {}
        self.samples: list[Tensor] = []
        self._drawers: dict[str, Callable[[np.random.Generator], Pair]] = {
            "degraded": self._draw_degraded,
            "degraded more": self._draw_degraded_more,
            "degraded sample": self._draw_degraded_sample,
            "wrong subject": self._draw_wrong_subject,
            "wrong place": self._draw_wrong_place,
            "round trip": self._draw_round_trip,
            "edited": self._draw_edited,
            "sample": self._draw_sample,
            "worse sample": self._draw_worse_sample,
        }

    def make_versions(
        self, model: TextToVideoModel, makers: list[Maker], num_edited: int, num_samples: int, folder: Path
    ) -> None:
        """Let the best maker edit the first frames, and every maker (from the worst to the best) make the scenes anew.

        What is made is kept in `folder`, so that a second call goes on.
        """
        best = makers[-1]
        edited = folder / f"edited_{self.seed}_{num_edited}_{best.name}.safetensors"
        self.edited = self._keep(edited, model, best, partial(self.edit_frames, model, best, num_edited))
        for maker in makers:
            path = folder / f"sampled_{self.seed}_{num_samples}_{maker.name}.safetensors"
            made = self._keep(path, model, maker, partial(self.sample_frames, model, maker, num_samples))
            self.samples.append(made["sample"])

    def _keep(
        self, path: Path, model: TextToVideoModel, maker: Maker, make: Callable[[], dict[str, Tensor]]
    ) -> dict[str, Tensor]:
        if not path.exists():
            load_snapshot(model, maker.snapshot)
            save_file(make(), path.with_suffix(".tmp"))
            os.replace(path.with_suffix(".tmp"), path)
            print(f"made {path.name}", flush=True)
        return load_file(path)

    @torch.no_grad()
    def edit_frames(self, model: TextToVideoModel, maker: Maker, count: int) -> dict[str, Tensor]:
        """The first `count` frames' round trips, and edits of them at a strength between .2 and .8."""
        scale = model.vae.config.scaling_factor
        made: dict[str, list[Tensor]] = {"round trip": [], "edited": []}
        for number, rows in enumerate(torch.arange(count).split(32)):
            rng = np.random.default_rng([self.seed, 6, number])
            with autocast():
                latents = model.vae.encode(self.frames[rows].float() / 127.5 - 1).latent_dist.mode().float() * scale
                made["round trip"].append(to_bytes(model.vae.decode(latents / scale).sample))
                noise = torch.from_numpy(rng.standard_normal(latents.shape).astype(np.float32))
                edited = edit(
                    model.denoiser(maker.guidance_scale),
                    model.stepper(maker.num_steps),
                    latents[:, :, None],
                    noise[:, :, None],
                    model.encode_prompts([self.scenes[row].caption() for row in rows.tolist()]),
                    strength=float(rng.uniform(0.2, 0.8)),
                    num_grad_steps=0,
                )
                made["edited"].append(to_bytes(model.vae.decode(edited[:, :, 0] / scale).sample))
        return {kind: torch.cat(images) for kind, images in made.items()}

    @torch.no_grad()
    def sample_frames(self, model: TextToVideoModel, maker: Maker, count: int) -> dict[str, Tensor]:
        """Pictures made from noise under the captions of the first `count` frames."""
        stepper, images = model.stepper(maker.num_steps), []
        for number, rows in enumerate(torch.arange(count).split(32)):
            rng = np.random.default_rng([self.seed, 7, number])
            shape = (len(rows), *model.latents_shape(1, 64, 64))
            noise = torch.from_numpy(rng.standard_normal(shape).astype(np.float32))
            with autocast():
                conditioning = model.encode_prompts([self.scenes[row].caption() for row in rows.tolist()])
                latents = run_chain(
                    model.denoiser(maker.guidance_scale), stepper, noise, stepper.timesteps, conditioning
                )
                images.append(to_bytes(model.vae.decode(latents[:, :, 0] / model.vae.config.scaling_factor).sample))
        return {"sample": torch.cat(images)}

    def draw(self, kind: str, rng: np.random.Generator) -> Pair:
        """A better picture, a worse one (both (3, 64, 64) in [0, 1]) and the caption that they are judged by."""
        return self._drawers[kind](rng)

    def _draw_degraded(self, rng: np.random.Generator) -> Pair:
        index = int(rng.integers(len(self.frames)))
        better = as_float(self.frames[index])
        return better, degrade(better, rng.random(), rng), random_caption(self.scenes[index], rng)

    def _draw_degraded_more(self, rng: np.random.Generator) -> Pair:
        index, strength, state = int(rng.integers(len(self.frames))), rng.uniform(0, 0.6), int(rng.integers(1 << 30))
        mild, heavy = (
            degrade(as_float(self.frames[index]), value, np.random.default_rng(state))
            for value in (strength, strength + 0.4)
        )
        return mild, heavy, random_caption(self.scenes[index], rng)

    def _draw_degraded_sample(self, rng: np.random.Generator) -> Pair:
        index = int(rng.integers(len(self.samples[-1])))
        better = as_float(self.samples[-1][index])
        return better, degrade(better, rng.random(), rng), random_caption(self.scenes[index], rng)

    def _draw_wrong_subject(self, rng: np.random.Generator) -> Pair:
        index, better = self._faithful(rng)
        scene = self.scenes[index]
        other = rng.choice([i for i in self.by_place[scene.place] if self.scenes[i].subject != scene.subject])
        return better, as_float(self.frames[other]), random_caption(scene, rng)

    def _draw_wrong_place(self, rng: np.random.Generator) -> Pair:
        index, better = self._faithful(rng)
        scene = self.scenes[index]
        other = rng.choice([i for i in self.by_subject[scene.subject] if self.scenes[i].place != scene.place])
        return better, as_float(self.frames[other]), scene.caption(with_motion=bool(rng.random() < 0.85))

    def _draw_round_trip(self, rng: np.random.Generator) -> Pair:
        index = int(rng.integers(len(self.edited["round trip"])))
        caption = random_caption(self.scenes[index], rng)
        return as_float(self.frames[index]), as_float(self.edited["round trip"][index]), caption

    def _draw_edited(self, rng: np.random.Generator) -> Pair:
        index = int(rng.integers(len(self.edited["edited"])))
        caption = random_caption(self.scenes[index], rng)
        return self._original(index, rng), as_float(self.edited["edited"][index]), caption

    def _draw_sample(self, rng: np.random.Generator) -> Pair:
        samples = self.samples[int(rng.integers(len(self.samples)))]
        index = int(rng.integers(len(samples)))
        return self._original(index, rng), as_float(samples[index]), random_caption(self.scenes[index], rng)

    def _draw_worse_sample(self, rng: np.random.Generator) -> Pair:
        worse, best = self.samples[int(rng.integers(len(self.samples) - 1))], self.samples[-1]
        index = int(rng.integers(len(best)))
        return as_float(best[index]), as_float(worse[index]), random_caption(self.scenes[index], rng)

    def _original(self, index: int, rng: np.random.Generator) -> Tensor:
        """A render, or mostly its round trip: what sets it apart from a model's work is then not the decoder."""
        return as_float(self.edited["round trip"][index] if rng.random() < 0.7 else self.frames[index])

    def _faithful(self, rng: np.random.Generator) -> tuple[int, Tensor]:
        """A picture of the right scene: a render, or in a third of the cases the model's own work."""
        pictures = self.samples[-1] if rng.random() < 1 / 3 else self.frames
        index = int(rng.integers(len(pictures)))
        return index, as_float(pictures[index])


def to_bytes(images: Tensor) -> Tensor:
    """Pictures in [-1, 1] as uint8."""
    return ((images.float() / 2 + 0.5).clamp(0, 1) * 255).round().byte().contiguous()


def as_float(image: Tensor) -> Tensor:
    """A uint8 picture in [0, 1]."""
    return image.float() / 255


def pair_batch(
    pool: Pool, size: int, rng: np.random.Generator, kinds: dict[str, float] | None = None
) -> tuple[Tensor, list[str]]:
    """Frames (2 * size, 3, 64, 64), the better half first, and the captions of the pairs."""
    shares = kinds or KINDS
    names, weights = list(shares), np.array(list(shares.values()))
    drawn = [pool.draw(str(rng.choice(names, p=weights / weights.sum())), rng) for _ in range(size)]
    return torch.stack([pair[0] for pair in drawn] + [pair[1] for pair in drawn]), [pair[2] for pair in drawn]
