"""The training objective: edit a clip, decode only the drawn frames, score them, attenuate, average."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from ivideo.core.attenuation import attenuated_mean, frame_weights
from ivideo.core.sampler import Denoise, RunSteps, Stepper, start_chain

DecodeFrames: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""`decode_frames(latents, frame_indices) -> frames`: (B, C, F, H, W) and pixel frames (B, S) -> (B, S, 3, h, w)."""

ScoreFrames: TypeAlias = Callable[[Tensor], Tensor]
"""`score_frames(frames) -> frame_scores`: (B, S, 3, h, w) in [0, 1] -> (B, S); each clip against its own prompt."""


@dataclass(frozen=True)
class Objective:
    """What one batch gives: the loss to minimise and the rewards behind it.

    Attributes:
        loss: Scalar, `1 - mean(video_rewards)`.
        video_rewards: Attenuated reward of each clip (batch_size,).
        frame_scores: Score of each drawn frame (batch_size, num_segments), not attenuated.
    """

    loss: Tensor
    video_rewards: Tensor
    frame_scores: Tensor


def segmental_objective(
    latents: Tensor,
    frame_indices: Tensor,
    *,
    num_frames: int,
    decode_frames: DecodeFrames,
    score_frames: ScoreFrames,
    attenuation_rate: float | None,
) -> Objective:
    """Score the drawn frames of each clip: `loss = 1 - mean_b (1 / S) * sum_s w(i_bs) * r(frame i_bs)`.

    Unit scores at frames 2, 6, 9, 13 of 16, rate 1, give the reward 0.1281 and the loss 0.8719. Rewards and
    loss are float32 where the scores have half precision.

    Args:
        latents: Clean latents (B, C, F, H, W).
        frame_indices: Drawn pixel frames (B, S), int64, see `draw_frame_indices`.
        num_frames: Pixel frames of the whole clip (a latent frame may hold several).
        decode_frames: Decodes the drawn frames and no others.
        score_frames: Differentiable reward model.
        attenuation_rate: lambda, per frame; None for no attenuation.

    Returns:
        The objective; its gradient is exactly 0 on latents that no drawn frame needs.

    Raises:
        ValueError: If `score_frames` does not give one score per drawn frame.

    Source: InstructVideo, "Segmental Video Reward" and "Temporally Attenuated Reward". The authors' code decodes all
    frames and then keeps S of them: same loss, same gradient, F / S times the work.
    """
    frame_scores = score_frames(decode_frames(latents, frame_indices))
    weights = frame_weights(frame_indices.to(frame_scores.device), num_frames, attenuation_rate)
    video_rewards = attenuated_mean(frame_scores, weights)
    return Objective(loss=1 - video_rewards.mean(), video_rewards=video_rewards, frame_scores=frame_scores)


def editing_objective(
    *,
    latents: Tensor | None,
    noise: Tensor,
    frame_indices: Tensor,
    conditioning: Any,
    denoise: Denoise,
    stepper: Stepper,
    decode_frames: DecodeFrames,
    score_frames: ScoreFrames,
    num_frames: int,
    strength: float,
    attenuation_rate: float | None,
    run: RunSteps,
) -> Objective:
    """Edit one batch of clips and score what comes out: `segmental_objective(run(corrupt(latents)))`.

    Where `run` gives several samples of the batch, loss, rewards and scores are means over them; all are scored at the
    same frames.

    Args:
        latents: Clean latents of the clips (B, C, F, H, W); None for whole chains from `noise`.
        noise: Noise (B, C, F, H, W) on the same device, offset noise included where clips are edited.
        frame_indices: Drawn pixel frames (B, S), int64.
        conditioning: Handed to `denoise` as it is.
        denoise: Guided network; the parameters that it closes over get the gradient.
        stepper: Schedule and update rule.
        decode_frames: Decodes the drawn frames and no others.
        score_frames: Differentiable reward model.
        num_frames: Pixel frames of the whole clip.
        strength: tau, share of the chain that is run, in (0, 1]; not used without `latents`.
        attenuation_rate: lambda, per frame; None for no attenuation.
        run: Runs the chain and decides where the gradient flows: `run_chain`, or a way of `core/gradients.py`.

    Raises:
        ValueError: If `strength` or what `run` was bound to is out of its range, or the reward model's scores have a
            wrong shape.
    """
    noisy_latents, timesteps = start_chain(stepper, latents, noise, strength)
    clean_latents = run(denoise, stepper, noisy_latents, timesteps, conditioning)
    objectives = [
        segmental_objective(
            sample,
            frame_indices,
            num_frames=num_frames,
            decode_frames=decode_frames,
            score_frames=score_frames,
            attenuation_rate=attenuation_rate,
        )
        for sample in clean_latents.split(len(noise))
    ]
    return Objective(
        loss=torch.stack([one.loss for one in objectives]).mean(0),
        video_rewards=torch.stack([one.video_rewards for one in objectives]).mean(0),
        frame_scores=torch.stack([one.frame_scores for one in objectives]).mean(0),
    )
