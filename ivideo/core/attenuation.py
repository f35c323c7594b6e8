"""Temporally attenuated reward: frames far from the centre of the clip count less, which keeps the motion."""

from __future__ import annotations

import torch
from torch import Tensor


def frame_weights(frame_indices: Tensor, num_frames: int, attenuation_rate: float | None) -> Tensor:
    """Weigh frames by their distance from the central frame: `w_i = exp(-lambda * |i - F // 2|)`.

    At rate 1 the frames 2, 6, 9, 13 of 16 weigh 0.0025, 0.1353, 0.3679 and 0.0067.

    Args:
        frame_indices: i, pixel-frame indices of any shape, integers in [0, num_frames).
        num_frames: F, pixel frames of the clip; its centre is frame `F // 2`.
        attenuation_rate: lambda, per frame, at least 0; None weighs every frame 1.

    Returns:
        Weights in (0, 1], float32, of the shape and on the device of `frame_indices`.

    Source: InstructVideo, "Temporally Attenuated Reward"; centre `F // 2` and float32, also where scores are float64,
    as in the authors' code.
    """
    if attenuation_rate is None:
        return torch.ones_like(frame_indices, dtype=torch.float32)
    distances = (frame_indices - num_frames // 2).abs().to(torch.float32)
    return torch.exp(-attenuation_rate * distances)


def attenuated_mean(frame_scores: Tensor, weights: Tensor) -> Tensor:
    """Average the weighted scores of each clip: `R = (1 / S) * sum_s w_s * r_s`, not divided by the sum of weights.

    Unit scores at frames 2, 6, 9, 13 of 16, rate 1, give 0.1281.

    Args:
        frame_scores: r, scores (batch_size, num_segments), any floating type.
        weights: w, weights of the same shape, from `frame_weights`.

    Returns:
        Rewards (batch_size,), in the wider of the two types: half-precision scores give float32.

    Raises:
        ValueError: If the shapes differ (broadcasting would silently score the wrong frames).

    Source: InstructVideo, "Temporally Attenuated Reward".
    """
    if frame_scores.shape != weights.shape:
        raise ValueError(f"one weight per score: scores {tuple(frame_scores.shape)}, weights {tuple(weights.shape)}")
    return (frame_scores * weights).mean(dim=-1)
