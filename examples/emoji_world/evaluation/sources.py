"""Where clips come from: the renderer, the autoencoder's round trip of its renders, and the model with its adapters.

A clip is uint8 (num_frames, height, width, 3). Clips are kept in a cache whose folders are named by what decides them,
so that an evaluation goes on where it was stopped and a later one makes only what is new.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias
from zipfile import BadZipFile

import numpy as np
import torch

from examples.emoji_world import captions, renderer
from examples.emoji_world.evaluation import named_words
from ivideo.config.presets import find_location
from ivideo.config.settings import GenerationSettings
from ivideo.errors import IvideoError
from ivideo.files.atomic import atomic_path, explain_os_error
from ivideo.generating import generate_clip, open_model
from ivideo.inputs.adapters import Adapter
from ivideo.models.devices import choose_device, choose_dtype, map_on_cores
from ivideo.models.lora import CONFIG_FILE, WEIGHTS_FILE
from ivideo.progress import Progress
from ivideo.scoring.clips import frames_to_tensor
from ivideo.video.names import file_stem

Wanted: TypeAlias = tuple[str, int]  # prompt and seed
Maker: TypeAlias = Callable[[str, int], np.ndarray]


@dataclass(frozen=True)
class Source:
    """Makes clips.

    Attributes:
        name: how a person calls it.
        key: names its folder in the cache; differs where its clips differ.
        open: gives what makes the clip of a prompt and seed; called only if a clip is missing.
        num_workers: clips that are made at once.
    """

    name: str
    key: str
    open: Callable[[], Maker]
    num_workers: int = 1


def fingerprint(files: Sequence[Path], **settings: Any) -> str:
    """Hash of what the files hold, in their order, and of the settings.

    Raises:
        IvideoError: a file cannot be read.
    """
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for path in files:
        try:
            digest.update(hashlib.sha256(path.read_bytes()).digest())
        except OSError as error:
            raise explain_os_error("read", path, error) from error
    return digest.hexdigest()[:16]


def clean_source() -> Source:
    """Renders of scenes that fit the captions.

    Raises:
        IvideoError: the emoji font is missing.
    """
    if not renderer.FONT_PATH.exists():
        raise IvideoError(f"{renderer.FONT_PATH} is missing: apt-get install fonts-noto-color-emoji, or set EMOJI_FONT")
    files = [Path(str(module.__file__)) for module in (captions, renderer, named_words)]
    return Source("clean renders", f"clean-{fingerprint([*files, renderer.FONT_PATH])}", lambda: render_caption)


def render_caption(prompt: str, seed: int) -> np.ndarray:
    """A clean clip of a caption."""
    return renderer.render(named_words.draw_scene(named_words.read_caption(prompt), seed), seed)


def round_trip_source(model: str) -> Source:
    """Clean renders that went through the autoencoder of a model (name or folder), in float32."""
    folder = Path(find_location(model)) / "vae"

    def open_vae() -> Maker:
        from diffusers import AutoencoderKL

        vae = AutoencoderKL.from_pretrained(folder, torch_dtype=torch.float32).eval()
        return lambda prompt, seed: round_trip(vae, render_caption(prompt, seed))

    key = fingerprint(files_in(folder), clean=clean_source().key)
    return Source("round trips", f"round-trip-{key}", open_vae)


def files_in(folder: Path) -> list[Path]:
    """All files of a folder, in a fixed order."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


@torch.no_grad()
def round_trip(vae: Any, clip: np.ndarray) -> np.ndarray:
    """A clip through an autoencoder, frame by frame, by way of the mode of the posterior."""
    latents = vae.encode(frames_to_tensor(clip) * 2 - 1).latent_dist.mode()
    images = vae.decode(latents).sample / 2 + 0.5
    decoded: np.ndarray = (images.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    return decoded


def model_source(name: str, settings: GenerationSettings, adapter: Adapter | None = None) -> Source:
    """The settings' model, with an adapter if one is given."""
    files = files_in(Path(find_location(settings.model)))
    if settings.unet:
        files.append(Path(settings.unet))
    if adapter:
        files += [adapter.path / CONFIG_FILE, adapter.path / WEIGHTS_FILE]
    device = choose_device(settings.device)
    key = fingerprint(
        files,
        **settings.model_dump(include={"num_frames", "height", "width", "num_inference_steps", "guidance_scale"}),
        negative_prompt=settings.negative_prompt,
        dtype=str(choose_dtype(settings.dtype, device)),
        device=device.type,
    )
    return Source(
        name,
        f"{'run' if adapter else 'base'}-{key}",
        lambda: partial(generate_clip, open_model(settings, adapter), settings),
        num_workers=torch.get_num_threads() if device.type == "cpu" else 1,
    )


def collect_clips(source: Source, wanted: Sequence[Wanted], cache: Path, progress: Progress) -> np.ndarray:
    """A source's clip of each prompt and seed, from the cache where it is there, else made and kept.

    Returns:
        uint8 (len(wanted), num_frames, height, width, 3).

    Raises:
        IvideoError: a clip cannot be made, kept or read.
    """
    paths = {clip: cache / source.key / f"{file_stem(clip[0])}-{clip[1]}.npz" for clip in wanted}
    missing = [clip for clip, path in paths.items() if not path.exists()]
    progress.start(f"clips of {source.name}", len(missing))
    started = time.monotonic()
    if missing:
        make = source.open()

        def make_and_keep(clip: Wanted) -> None:
            with atomic_path(paths[clip]) as temporary:
                np.savez_compressed(temporary, frames=make(*clip))

        for _ in map_on_cores(make_and_keep, missing, source.num_workers):
            progress.advance()
        seconds = time.monotonic() - started
        progress.say(
            f"clips of {source.name}: {len(missing)} made in {seconds:.0f} s, {seconds / len(missing):.2f} s each"
        )
    return np.stack([read_clip(paths[clip]) for clip in wanted])


def read_clip(path: Path) -> np.ndarray:
    """A clip of the cache.

    Raises:
        IvideoError: it is damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as content:
            clip: np.ndarray = content["frames"]
    except (OSError, ValueError, EOFError, KeyError, BadZipFile):
        raise IvideoError(f"cached clip {path} is damaged: remove it") from None
    return clip
