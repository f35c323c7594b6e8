"""Simulated preferences: pairs of pictures of which one is better for a caption by construction.

Nobody was asked. A clean render is better than the same render spoiled; the right subject or place better than a wrong
one; a render better than its round trip through the autoencoder, that better than what the text-to-video model makes of
it, what the model makes from noise better than what an early snapshot of it makes from the same noise; and anything of
the world better than a picture that shows nothing of it.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ivideo.core.sampler import edit, run_chain
from ivideo.models.devices import map_on_cores
from ivideo.models.unet3d.model import UNet3DModel

from .captions import Scene, random_caption, random_scene
from .degradations import change_brightness, change_contrast, degrade
from .renderer import NUM_FRAMES, SIZE, render
from .training import autocast

KINDS = {
    "degraded": 0.2,
    "degraded more": 0.12,
    "degraded sample": 0.08,
    "wrong subject": 0.12,
    "wrong place": 0.07,
    "foreign": 0.04,
    "round trip": 0.04,
    "edited": 0.09,
    "sample": 0.09,
    "decoded sample": 0.07,
    "worse sample": 0.08,
}
"""Share of each kind of pair in the training."""
FRAMES_A_CLIP = 4
CLIPS_A_FILE = 50
GUIDANCE_SCALES = (3.0, 9.0)
TRAINED_STRENGTHS = ((0.0, 0.2), (0.4, 0.6), (0.8, 1.0))
UNSEEN_STRENGTHS = ((0.2, 0.4), (0.6, 0.8))
"""Strengths at which pictures are spoiled, in training and in measuring; each pair of numbers is a range."""
Pair: TypeAlias = tuple[Tensor, Tensor, str]


@dataclass(frozen=True)
class Maker:
    """Who makes clips: a moment of the text-to-video training, and in how many steps it samples."""

    snapshot: Path
    num_steps: int = 8

    @property
    def name(self) -> str:
        return f"{self.snapshot.stem}_{self.num_steps}"


def load_snapshot(model: UNet3DModel, path: Path) -> UNet3DModel:
    """Put the weights of one moment of the text-to-video training into the model."""
    state = {name: value.float() for name, value in load_file(path).items()}
    torch.nn.ModuleDict({"unet": model.unet, "text_encoder": model.text_encoder}).load_state_dict(state)
    return model


@dataclass(frozen=True)
class Clip:
    """A scene, the seed of its render, and the frames of it that are looked at."""

    scene: Scene
    seed: int
    frame_indices: Tensor


class Pool:
    """Frames of rendered clips, and worse versions of the first clips' frames made by the models.

    Attributes:
        clips: what each clip shows.
        scenes: what each frame shows.
        frames: (num_frames, 3, 64, 64) uint8, clean renders, `FRAMES_A_CLIP` of each clip.
        edited: "round trip" and "edited" of the first frames, by the best maker.
        samples: by each maker, from the worst to the best, frames of clips of the same scenes made from noise.
    """

    def __init__(self, num_clips: int, seed: int, strengths: Sequence[tuple[float, float]] = TRAINED_STRENGTHS) -> None:
        """Render clips that the seed fixes; more clips leave the first ones as they are."""
        rng = np.random.default_rng([seed, 4])
        self.seed, self.strengths = seed, strengths
        self.clips: list[Clip] = []
        frames = []
        for _ in range(num_clips):
            length = NUM_FRAMES // FRAMES_A_CLIP
            indices = np.arange(FRAMES_A_CLIP) * length + rng.integers(0, length, FRAMES_A_CLIP)
            clip = Clip(random_scene(rng), int(rng.integers(1 << 30)), torch.from_numpy(indices))
            frames.append(render(clip.scene, clip.seed, indices.tolist()))
            self.clips.append(clip)
        self.scenes = [clip.scene for clip in self.clips for _ in range(FRAMES_A_CLIP)]
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
            "foreign": self._draw_foreign,
            "round trip": self._draw_round_trip,
            "edited": self._draw_edited,
            "sample": self._draw_sample,
            "decoded sample": self._draw_decoded_sample,
            "worse sample": self._draw_worse_sample,
        }

    def make_versions(self, model: UNet3DModel, makers: list[Maker], num_clips: int, folder: Path) -> None:
        """Let every maker (from the worst to the best) make the first clips anew, and the best one edit them.

        What is made is kept in `folder` by files of `CLIPS_A_FILE` clips, so that a second call goes on.
        """
        for maker in makers:
            self.samples.append(self._keep("sampled", self.sample_clip, model, maker, num_clips, folder)["sample"])
        self.edited = self._keep("edited", self.edit_clip, model, makers[-1], num_clips, folder)

    def _keep(
        self,
        what: str,
        make: Callable[[UNet3DModel, Maker, int], dict[str, Tensor]],
        model: UNet3DModel,
        maker: Maker,
        num_clips: int,
        folder: Path,
    ) -> dict[str, Tensor]:
        """Each frame of the first clips as the maker makes it, from files where they are there."""
        kept = defaultdict(list)
        for first in range(0, num_clips, CLIPS_A_FILE):
            path = folder / f"{what}_{self.seed}_{maker.name}_{first:05d}.safetensors"
            if not path.exists():
                load_snapshot(model, maker.snapshot)
                numbers = range(first, first + CLIPS_A_FILE)
                made = list(map_on_cores(lambda number: make(model, maker, number), numbers, model.num_workers))
                save_file({kind: torch.cat([one[kind] for one in made]) for kind in made[0]}, path.with_suffix(".tmp"))
                os.replace(path.with_suffix(".tmp"), path)
                print(f"made {path.name}", flush=True)
            for kind, frames in load_file(path).items():
                kept[kind].append(frames)
        return {kind: torch.cat(frames)[: num_clips * FRAMES_A_CLIP] for kind, frames in kept.items()}

    @torch.no_grad()
    def sample_clip(self, model: UNet3DModel, maker: Maker, number: int) -> dict[str, Tensor]:
        """The frames of a clip as they look when it is made from noise; every maker gets the same noise."""
        clip, rng = self.clips[number], np.random.default_rng([self.seed, 7, number])
        shape = (1, *model.latents_shape(NUM_FRAMES, SIZE, SIZE))
        noise = torch.from_numpy(rng.standard_normal(shape).astype(np.float32))
        stepper = model.stepper(maker.num_steps)
        with autocast():
            conditioning = model.encode_prompts([clip.scene.caption()])
            denoise = model.denoiser(rng.uniform(*GUIDANCE_SCALES))
            latents = run_chain(denoise, stepper, noise, stepper.timesteps, conditioning)
            return {"sample": self._look(model, clip, latents)}

    @torch.no_grad()
    def edit_clip(self, model: UNet3DModel, maker: Maker, number: int) -> dict[str, Tensor]:
        """The frames of a clip after the autoencoder's round trip, and after an edit at a strength from .2 to .8."""
        clip, rng = self.clips[number], np.random.default_rng([self.seed, 6, number])
        frames = torch.from_numpy(render(clip.scene, clip.seed)).permute(0, 3, 1, 2)
        with autocast():
            mode = model.vae.encode(frames.float() / 127.5 - 1).latent_dist.mode().float()
            latents = (mode * model.vae.config.scaling_factor).transpose(0, 1)[None]
            noise = torch.from_numpy(rng.standard_normal(latents.shape).astype(np.float32))
            edited = edit(
                model.denoiser(rng.uniform(*GUIDANCE_SCALES)),
                model.stepper(maker.num_steps),
                latents,
                noise,
                model.encode_prompts([clip.scene.caption()]),
                strength=float(rng.uniform(0.2, 0.8)),
                num_grad_steps=0,
            )
            return {"round trip": self._look(model, clip, latents), "edited": self._look(model, clip, edited)}

    def _look(self, model: UNet3DModel, clip: Clip, latents: Tensor) -> Tensor:
        return to_bytes(model.decode_frames(latents, clip.frame_indices[None])[0])

    def draw(self, kind: str, rng: np.random.Generator) -> Pair:
        """A better picture, a worse one (both (3, 64, 64) in [0, 1]) and the caption that both are scored with."""
        return self._drawers[kind](rng)

    def _draw_degraded(self, rng: np.random.Generator) -> Pair:
        index = int(rng.integers(len(self.frames)))
        better = as_float(self.frames[index])
        return better, degrade(better, self._strength(rng), rng), random_caption(self.scenes[index], rng)

    def _draw_degraded_more(self, rng: np.random.Generator) -> Pair:
        index, state = int(rng.integers(len(self.frames))), int(rng.integers(1 << 30))
        first, second = sorted(rng.choice(len(self.strengths), 2, replace=False).tolist())
        mild, heavy = (
            degrade(as_float(self.frames[index]), rng.uniform(*self.strengths[band]), np.random.default_rng(state))
            for band in (first, second)
        )
        return mild, heavy, random_caption(self.scenes[index], rng)

    def _draw_degraded_sample(self, rng: np.random.Generator) -> Pair:
        index = int(rng.integers(len(self.samples[-1])))
        better = as_float(self.samples[-1][index])
        return better, degrade(better, self._strength(rng), rng), random_caption(self.scenes[index], rng)

    def _draw_wrong_subject(self, rng: np.random.Generator) -> Pair:
        index, better = self._faithful(rng)
        scene = self.scenes[index]
        others = [i for i in self.by_place[scene.place] if self.scenes[i].subject != scene.subject]
        if not others:  # a small pool: another scene
            return self._draw_wrong_subject(rng)
        return better, as_float(self.frames[rng.choice(others)]), random_caption(scene, rng)

    def _draw_wrong_place(self, rng: np.random.Generator) -> Pair:
        index, better = self._faithful(rng)
        scene = self.scenes[index]
        others = [i for i in self.by_subject[scene.subject] if self.scenes[i].place != scene.place]
        if not others:
            return self._draw_wrong_place(rng)
        return better, as_float(self.frames[rng.choice(others)]), scene.caption(with_motion=bool(rng.random() < 0.85))

    def _draw_foreign(self, rng: np.random.Generator) -> Pair:
        index, better = self._faithful(rng)
        return better, foreign_picture(rng), random_caption(self.scenes[index], rng)

    def _draw_round_trip(self, rng: np.random.Generator) -> Pair:
        index = int(rng.integers(len(self.edited["round trip"])))
        caption = random_caption(self.scenes[index], rng)
        return as_float(self.frames[index]), as_float(self.edited["round trip"][index]), caption

    def _draw_edited(self, rng: np.random.Generator) -> Pair:
        index = int(rng.integers(len(self.edited["edited"])))
        better = self.edited["round trip"][index] if rng.random() < 0.5 else self.frames[index]
        return as_float(better), as_float(self.edited["edited"][index]), random_caption(self.scenes[index], rng)

    def _draw_sample(self, rng: np.random.Generator) -> Pair:
        index = int(rng.integers(len(self.samples[-1])))
        return as_float(self.frames[index]), as_float(self.samples[-1][index]), random_caption(self.scenes[index], rng)

    def _draw_decoded_sample(self, rng: np.random.Generator) -> Pair:
        """Render and sample both came out of the decoder: its marks must not be all that tells them apart."""
        index = int(rng.integers(len(self.samples[-1])))
        better = as_float(self.edited["round trip"][index])
        return better, as_float(self.samples[-1][index]), random_caption(self.scenes[index], rng)

    def _draw_worse_sample(self, rng: np.random.Generator) -> Pair:
        worse, best = self.samples[int(rng.integers(len(self.samples) - 1))], self.samples[-1]
        index = int(rng.integers(len(best)))
        return as_float(best[index]), as_float(worse[index]), random_caption(self.scenes[index], rng)

    def _strength(self, rng: np.random.Generator) -> float:
        return float(rng.uniform(*self.strengths[int(rng.integers(len(self.strengths)))]))

    def _faithful(self, rng: np.random.Generator) -> tuple[int, Tensor]:
        """A picture of the right scene: a render, or in a third of the cases the model's own work."""
        pictures = self.samples[-1] if rng.random() < 1 / 3 else self.frames
        index = int(rng.integers(len(pictures)))
        return index, as_float(pictures[index])


def foreign_picture(rng: np.random.Generator) -> Tensor:
    """A picture (3, 64, 64) that shows nothing of the world: a plain colour, a gradient, clouds or noise."""
    cells = int(rng.choice([1, 2, 4, 8, 16, SIZE]))
    coarse = torch.from_numpy(rng.random((1, 3, cells, cells)).astype(np.float32))
    mode = "nearest" if rng.random() < 0.3 else "bilinear"
    picture = torch.nn.functional.interpolate(coarse, size=(SIZE, SIZE), mode=mode)[0]
    change = change_contrast if rng.random() < 0.5 else change_brightness
    return change(picture, rng.random(), rng)


def to_bytes(images: Tensor) -> Tensor:
    """Pictures in [0, 1] as uint8."""
    return (images.float().clamp(0, 1) * 255).round().byte().contiguous()


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
