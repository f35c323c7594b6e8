"""What the scripts that train networks of CLIP's kind share: features, the loop, and what is saved."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import open_clip
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import CLIPTokenizer

from ivideo.rewards.cosine import preprocess

from .tokenizer import save_tokenizer
from .training import Clock, Optimisers, learning_rate_factor, update_average

Tokenize: TypeAlias = Callable[[list[str]], Tensor]
BY_ADAM = ("embedding", "visual.conv1", "attnpool", "logit_scale")
"""Parameters that AdamW trains: those with a row a token or a position, the first layer and the pooling."""


def build_network(config: dict) -> nn.Module:
    """A network with random weights, in the layout that CPUs like."""
    return open_clip.CLIP(**config).to(memory_format=torch.channels_last)


def padded_ids(tokenizer: CLIPTokenizer) -> Tokenize:
    """The tokenizer as the networks want it: captions to ids of one length."""

    def tokenize(captions: list[str]) -> Tensor:
        return tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt").input_ids

    return tokenize


def cosines(network: nn.Module, frames: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
    """Normalised features of frames and captions."""
    images = F.normalize(network.encode_image(preprocess(frames, 64)).float(), dim=-1)
    return images, F.normalize(network.encode_text(ids).float(), dim=-1)


def logit_scale(network: nn.Module) -> Tensor:
    """What cosines are multiplied by before the softmax: learned, 100 at most."""
    return network.logit_scale.exp().clamp(max=100)


def fit(
    network: nn.Module,
    average: nn.Module,
    loss_of: Callable[[int], Tensor],
    tell: Callable[[], str],
    clock: Clock,
    num_steps: int,
    learning_rate: float,
    save_every: int = 250,
) -> None:
    """Train from the last checkpoint on, with a moving average of the weights beside.

    Args:
        network: is trained.
        average: gets the average; starts with the same weights.
        loss_of: the loss of a step; its draws depend on the step alone.
        tell: what to print of the average with every checkpoint.
        clock: keeps the checkpoint.
        num_steps: of the whole training.
        learning_rate: Muon's.
        save_every: steps between checkpoints.
    """
    optimisers = Optimisers(network, learning_rate, 2e-3, lambda name: any(part in name for part in BY_ADAM))
    first = 0
    if state := clock.load():
        network.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        optimisers.load_state_dict(state["optimisers"])
        first = state["step"]
    for step in range(first, num_steps):
        loss = loss_of(step)
        loss.backward()
        optimisers.step(learning_rate_factor(step, num_steps, decay_share=0.6))
        update_average(average, network, min(0.99, step / (step + 10)))
        if (step + 1) % save_every == 0 or step + 1 == num_steps:
            print(f"step {step + 1} loss {loss.item():.3f} | {tell()} | {clock.seconds:.0f} s", flush=True)
            clock.save(
                model=network.state_dict(),
                average=average.state_dict(),
                optimisers=optimisers.state_dict(),
                step=step + 1,
            )


def print_shares(shares: dict[str, float], floors: dict[str, float]) -> None:
    """A line a kind, with a remark where it is below its floor."""
    for kind, share in shares.items():
        floor = floors.get(kind, 0.0)
        print(f"{kind:20} {share:.3f}{f'  below {floor}' if share < floor else ''}", flush=True)


def save_network(network: nn.Module, tokenizer: CLIPTokenizer, config: dict, folder: Path) -> None:
    """Write weights (matrices in half precision, open_clip's names), configuration and tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {k: (v.half() if v.ndim > 1 else v).contiguous() for k, v in network.state_dict().items()}
    save_file(state, folder / "model.safetensors")
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config}, indent=2) + "\n")
    save_tokenizer(tokenizer, folder)
