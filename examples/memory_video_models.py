"""What a gradient step of the video models of today needs of a GPU's memory, counted without a GPU and without weights.

As `examples.memory_budget`, on torch's meta device: one step with a graph, its four frames decoded (the last one among
them, the most that a draw can need), scored by HPSv2 in float32, and both halves of the backward pass. Networks have
the released sizes, in bfloat16 but for what diffusers keeps in float32.

    python -m examples.memory_video_models                       # what fits which card, and the rows behind it
    python -m examples.memory_video_models wan2.1-1.3b --clip 33 480 832 --decoder-gradient 1
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.fx.experimental import _config as meta_settings

from examples.memory_budget import GIB, META, OTHER, EmptyUpdate, LiveMemory, build_reward_model, fused_attention
from examples.released_models import RELEASES, build, make_embeds
from ivideo.config.presets import PRESETS
from ivideo.core.sampler import run_chain
from ivideo.models.lora import lora_parameters
from ivideo.models.pipelines.model import LARGE, PromptConditioning
from ivideo.rewards.cosine import CosineReward
from ivideo.training.step import CutGraph

NUM_DRAWN = 4
CARDS = (16, 24, 80)
TILE = 256 * 256  # pixels of most autoencoders' tiles


@dataclass(frozen=True)
class Row:
    """A model, a clip, and what a step of it takes.

    Attributes:
        name: of the release.
        clip: frames, height, width.
        vae_tiling: as the setting; None is its default.
        gib: by part.
    """

    name: str
    clip: tuple[int, int, int]
    vae_tiling: bool | None
    gib: dict[str, float]

    @property
    def together(self) -> float:
        """GiB of a card, with what is set aside."""
        return self.gib["weights"] + self.gib["peak"] + OTHER

    @property
    def clip_in_words(self) -> str:
        """As frames x width x height, marked where tiles are asked for."""
        num_frames, height, width = self.clip
        return f"{num_frames} x {width} x {height}" + (" *" if self.vae_tiling else "")


@contextmanager
def as_on_a_device() -> Iterator[None]:
    """Let Mochi run on the meta device: it asks for a type there, and for the places of what a mask lets through."""
    usual: Any = torch.autocast
    own = lambda kind, *rest, **options: nullcontext() if kind == META.type else usual(kind, *rest, **options)  # noqa: E731
    with patch.object(torch, "autocast", own), patch.object(meta_settings, "meta_nonzero_assume_all_nonzero", True):
        yield


def measure(
    name: str,
    clip: tuple[int, int, int],
    *,
    decoder_gradient: int | None = None,
    vae_tiling: bool | None = None,
    reward_model: CosineReward | None = None,
    num_drawn: int = NUM_DRAWN,
    is_small: bool = False,
) -> dict[str, float]:
    """GiB of weights, of the highest point of a step above them, and of what each part holds, by name.

    Args:
        name: of a release.
        clip: frames, height and width in pixels.
        decoder_gradient: as the setting; None for exact.
        vae_tiling: as the setting.
        reward_model: on the meta device; HPSv2's if it isn't given.
        num_drawn: frames that are scored.
        is_small: as in `build`.
    """
    model = build(name, META, torch.bfloat16, is_small=is_small, vae_tiling=vae_tiling)
    reward_model = reward_model or build_reward_model()
    if decoder_gradient is not None:
        model.limit_decoder_gradient(decoder_gradient)
    model.recompute_blocks()
    networks = [part for part in model.pipeline.components.values() if isinstance(part, torch.nn.Module)]
    memory = LiveMemory(*networks, reward_model.network)
    peaks: dict[str, int] = {}
    num_frames, height, width = clip
    with as_on_a_device(), fused_attention(), memory:
        latents = torch.empty(1, *model.latents_shape(num_frames, height, width), device=META)
        embeds = model.to_network(make_embeds(name, META))
        negative = embeds if model.has_negative else None
        denoise = model.denoiser(PRESETS[name]["default"]["guidance_scale"], batched=False, fps=16.0)
        run: Callable[..., Tensor] = partial(run_chain, denoise, EmptyUpdate(), checkpoint=False)
        cut = CutGraph()
        with memory.phase(peaks, "network, forward"):
            clean = run(latents, torch.tensor([1]), PromptConditioning(embeds, negative), num_grad_steps=1)
        drawn = torch.linspace(0, num_frames - 1, num_drawn).round().long()[None]
        leaf = cut.before_decoding(clean)
        with memory.phase(peaks, "decoder, forward"):
            frames = model.decode_frames(leaf, drawn, recompute=True)
        with memory.phase(peaks, "reward model"):
            loss = reward_model.score(frames, ["prompt"], torch.zeros(1, num_drawn)).sum()
        del frames
        with memory.phase(peaks, "decoder, backward"):
            (gradient,) = torch.autograd.grad(loss, leaf)
        del loss
        with memory.phase(peaks, "network, backward"):
            torch.autograd.grad(clean, lora_parameters(model.network), gradient)
    adapter = sum(parameter.nbytes for parameter in lora_parameters(model.network))
    weights = sum(
        weight.nbytes
        for part in (*networks, reward_model.network)
        for path, weight in part.named_parameters()
        if ".lora_" not in path
    )
    return {
        "weights": (weights + 4 * adapter) / GIB,
        **{phase: peak / GIB for phase, peak in peaks.items()},
        "peak": max(peaks.values()) / GIB,
    }


def list_rows(name: str) -> Iterator[Row]:
    """Every clip of a release, largest first; with tiles, too, where they are smaller than it and not the default."""
    for clip in RELEASES[name].clips:
        asks = (None, True) if TILE < clip[1] * clip[2] <= LARGE else (None,)
        for vae_tiling in asks:
            yield Row(name, clip, vae_tiling, measure(name, clip, vae_tiling=vae_tiling))


def print_fitting(rows: Sequence[Row]) -> None:
    """Which clip of each model fits which card: the largest, with an exact gradient where that fits, too."""
    print(f"| model | {' | '.join(f'{card} GB' for card in CARDS)} |\n|{' --- |' * (len(CARDS) + 1)}")
    for name in dict.fromkeys(row.name for row in rows):
        fitting = (
            next((row.clip_in_words for row in rows if row.name == name and row.together <= card), "none of these")
            for card in CARDS
        )
        print(f"| `{name}` | {' | '.join(fitting)} |")


def print_rows(rows: Sequence[Row]) -> None:
    """What each clip takes."""
    parts = ("weights", "network, backward", "decoder, backward", "peak")
    print(f"| model | clip | {' | '.join(parts)} | together |\n|{' --- |' * (len(parts) + 3)}")
    for row in rows:
        numbers = " | ".join(f"{row.gib[part]:.1f}" for part in parts)
        print(f"| `{row.name}` | {row.clip_in_words} | {numbers} | {row.together:.1f} |")


def main() -> None:
    """Print both tables, or one row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", choices=list(RELEASES))
    parser.add_argument("--clip", nargs=3, type=int, metavar=("FRAMES", "HEIGHT", "WIDTH"), help="of this model")
    parser.add_argument("--decoder-gradient", type=int, metavar="N", help="with --clip")
    parser.add_argument("--vae-tiling", action=argparse.BooleanOptionalAction, help="with --clip")
    arguments = parser.parse_args()
    if arguments.clip:
        if not arguments.model:
            parser.error("--clip: say the model, too")
        clip = tuple(arguments.clip)
        ways = {"decoder_gradient": arguments.decoder_gradient, "vae_tiling": arguments.vae_tiling}
        print_rows([Row(arguments.model, clip, arguments.vae_tiling, measure(arguments.model, clip, **ways))])
        return
    rows = [row for name in ([arguments.model] if arguments.model else RELEASES) for row in list_rows(name)]
    print_fitting(rows)
    print()
    print_rows(rows)


if __name__ == "__main__":
    main()
