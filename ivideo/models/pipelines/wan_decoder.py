"""Wan's decoder, latent by latent: the frames that are wanted, exactly, in the memory of a small part at a time.

diffusers' decoder keeps its cache of features in the autoencoder, so that no step of it can be computed again. Here the
cache goes in and out of each step, and of each block inside a step, as arguments. Recomputed in the backward pass are:
tiles, if there are several; spans of steps, of which only the caches between them are kept; each step of a span; each
block of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ivideo.models.recomputing import again

BLOCKS = ("WanResidualBlock", "WanResample")  # of diffusers, those that use the cache


class RecomputedBlock:
    """A block's forward that keeps only its inputs while a graph is built; its part of the cache goes in and out."""

    def __init__(self, forward: Callable[..., Tensor]) -> None:
        """Wrap a bound `forward`."""
        self.forward = forward

    def __call__(self, states: Tensor, feat_cache: list[Any] | None = None, feat_idx: Sequence[int] = (0,)) -> Tensor:
        """What the forward gives; the cache and its place move on as if it had been called."""
        if feat_cache is None or not torch.is_grad_enabled():
            result: Tensor = self.forward(states, feat_cache=feat_cache, feat_idx=feat_idx)
            return result
        first, used = feat_idx[0], [0]

        def run(states: Tensor, *cache: Any) -> tuple[Any, ...]:
            features, used[0] = list(cache), 0
            return self.forward(states, feat_cache=features, feat_idx=used), *features

        states, *features = again(run, states, *feat_cache[first:])
        feat_cache[first : first + used[0]] = features[: used[0]]
        feat_idx[0] += used[0]  # type: ignore[index]
        return states


def recompute_blocks(decoder: nn.Module) -> None:
    """Let the decoder's blocks recompute in the backward pass; gradients stay as they are. Twice does no harm."""
    for block in decoder.modules():
        if type(block).__name__ in BLOCKS and not isinstance(block.forward, RecomputedBlock):
            block.forward = RecomputedBlock(block.forward)


def decode_latents(
    vae: Any, latents: Tensor, wanted: Sequence[int], *, recompute: bool, reach: int | None = None
) -> dict[int, Tensor]:
    """The frames of some latents, exactly as `vae.decode` has them, in tiles where the autoencoder is set to them.

    Args:
        vae: an AutoencoderKLWan.
        latents: (1, channels, num_latent_frames, height, width), denormalised.
        wanted: which latents' frames.
        recompute: in the backward pass, see above.
        reach: the gradient flows through so many of the latents that a frame needs, the latest; None: all.

    Returns:
        (1, 3, 1 or 4, height, width) in [-1, 1] by latent: the first one holds one frame.
    """
    from diffusers.models.autoencoders.autoencoder_kl_wan import unpatchify

    decode = partial(stream, vae, wanted=wanted, recompute=recompute, reach=reach)
    ratio, patch_size = vae.spatial_compression_ratio, vae.config.patch_size
    height, width = vae.tile_sample_min_height // ratio, vae.tile_sample_min_width // ratio
    if not vae.use_tiling or (latents.shape[-2] <= height and latents.shape[-1] <= width):
        found = decode(latents)
    else:
        strides = vae.tile_sample_stride_height, vae.tile_sample_stride_width
        decode_tile = partial(again, decode) if recompute else decode
        rows = [
            [decode_tile(part[..., left : left + width]) for left in range(0, latents.shape[-1], strides[1] // ratio)]
            for top in range(0, latents.shape[-2], strides[0] // ratio)
            for part in [latents[..., top : top + height, :]]
        ]
        scale = patch_size or 1
        size = [cells * ratio // scale for cells in latents.shape[-2:]]
        overlaps = vae.tile_sample_min_height - strides[0], vae.tile_sample_min_width - strides[1]
        join = partial(join_tiles, vae, [one // scale for one in strides], [one // scale for one in overlaps], size)
        found = {place: join([[tile[place] for tile in row] for row in rows]) for place in rows[0][0]}
    if patch_size is not None:
        found = {place: unpatchify(frames, patch_size=patch_size) for place, frames in found.items()}
    return {place: frames.clamp(-1, 1) for place, frames in found.items()}


def join_tiles(
    vae: Any, strides: Sequence[int], overlaps: Sequence[int], size: Sequence[int], rows: Sequence[Sequence[Tensor]]
) -> Tensor:
    """Frames of rows of tiles, each blended into the one above it and then the one to its left, as diffusers does it.

    Args:
        vae: has the blends, which change a tile in place.
        strides: from a tile to the next, along height and width.
        overlaps: what two of them share.
        size: height and width of the frames.
        rows: (1, channels, num_frames, height, width) each.
    """
    joined = []
    for above, row in zip([None, *rows], rows, strict=False):
        for place, tile in enumerate(row):
            if above is not None:
                vae.blend_v(above[place], tile, overlaps[0])
            if place:
                vae.blend_h(row[place - 1], tile, overlaps[1])
        joined.append(torch.cat([tile[..., : strides[0], : strides[1]] for tile in row], dim=-1))
    return torch.cat(joined, dim=-2)[..., : size[0], : size[1]]


def stream(
    vae: Any, latents: Tensor, *, wanted: Sequence[int], recompute: bool, reach: int | None = None
) -> dict[int, Tensor]:
    """What the decoder makes of one tile's latents, a latent after the other; see `decode_latents`.

    With recomputation about 2 sqrt(n) of n caches are kept at a time.
    """
    if recompute:
        recompute_blocks(vae.decoder)
    states = vae.post_quant_conv(latents[:, :, : max(wanted) + 1])
    num_latents = states.shape[2]
    with_graph = {place for end in wanted for place in range(max(0, end - (reach or num_latents) + 1), end + 1)}
    with_graph = with_graph if torch.is_grad_enabled() else set()

    def decode_one(part: Tensor, is_first: bool, *cache: Any) -> tuple[Any, ...]:
        features = list(cache)
        frames = vae.decoder(part, feat_cache=features, feat_idx=[0], first_chunk=is_first)
        return frames, *features

    def decode_span(parts: Tensor, first: int, *cache: Any) -> tuple[Any, ...]:
        """The wanted frames of some latents in their order, and the cache behind them."""
        given: list[Any] = []
        for place, part in enumerate(parts.split(1, dim=2), first):
            with torch.set_grad_enabled(place in with_graph):
                decode = partial(again, decode_one) if recompute and place in with_graph else decode_one
                frames, *cache = decode(part, place == 0, *cache)  # type: ignore[assignment]
            if place in wanted:
                given.append(frames)
        return *given, *cache

    length = math.isqrt(num_latents - 1) + 1 if recompute and len(with_graph) == num_latents else 1
    cache: list[Any] = [None] * vae._cached_conv_counts["decoder"]
    found: dict[int, Tensor] = {}
    for first in range(0, num_latents, length):
        parts = states[:, :, first : first + length]
        given = (partial(again, decode_span) if length > 1 else decode_span)(parts, first, *cache)
        places = [place for place in range(first, first + parts.shape[2]) if place in wanted]
        cache = list(given[len(places) :])
        found |= zip(places, given, strict=False)
    return found
