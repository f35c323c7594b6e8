"""Memory that runs out, told in one line with what takes less of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ivideo.config.settings import FinetuneSettings, GenerationSettings, ScoreSettings, Settings
from ivideo.errors import IvideoError

CPU_MESSAGES = ("DefaultCPUAllocator: can't allocate memory", "not enough memory: you tried to allocate")
WANTED = re.compile(r"[Tt]ried to allocate ([\d.]+ \w+)")
Advice = list[tuple[bool, str]]
"""Whether something applies, and what it is in words."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocator of torch, or Python's own, found no memory."""
    is_told = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return is_told or (isinstance(error, RuntimeError) and any(message in str(error) for message in CPU_MESSAGES))


@contextmanager
def explain_out_of_memory(settings: Settings, num_processes: int = 1) -> Iterator[None]:
    """Turn an allocator's error into advice.

    Args:
        settings: of the command; they say what can be changed.
        num_processes: that share a training's batch.

    Raises:
        IvideoError: memory ran out inside the block.
    """
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        wanted = WANTED.search(str(error))
        size = f" ({wanted[1]} were wanted)" if wanted else ""
        raise IvideoError(f"out of memory{size}: {advise(settings, num_processes)}") from error


def advise(settings: Settings, num_processes: int = 1) -> str:
    """What takes memory and can be changed."""
    if isinstance(settings, FinetuneSettings):
        return _advise_training(settings, num_processes)
    if isinstance(settings, GenerationSettings):
        guides = settings.guidance_batching and settings.guidance_scale != 1
        return f"try {_list([(guides, '`guidance_batching` False'), *_advise_size(settings)])}"
    advice = [(len(settings.rewards) > 1, "one `reward` at a time"), (True, "smaller videos")]
    if isinstance(settings, ScoreSettings):
        advice.insert(0, (settings.batch_size > 1, f"`batch_size` below {settings.batch_size}"))
    return f"try {_list(advice)}"


def _advise_size(settings: GenerationSettings) -> Advice:
    return [
        (settings.dtype == "float32", "`dtype` bfloat16 (now float32)"),
        (settings.num_frames > settings.num_segments, f"`num_frames` below {settings.num_frames}"),
        (True, "a smaller `height` and `width`"),
    ]


def _advise_training(settings: FinetuneSettings, num_processes: int) -> str:
    """First what a run can be gone on with, then what needs a new one.

    The batch size counts only as far as several of its clips go through the network together.
    """
    own_clips = -(-settings.batch_size // num_processes)
    together = -(-own_clips // settings.gradient_accumulation)
    several_steps = settings.num_grad_steps > 1 and settings.gradient != "random"
    in_half, *size = _advise_size(settings)
    resumable = [
        (not settings.gradient_checkpointing, "`gradient_checkpointing` True"),
        (together > 1, f"`gradient_accumulation` {own_clips} (now {settings.gradient_accumulation})"),
        (settings.guidance_batching and settings.guidance_scale != 1, "`guidance_batching` False"),
    ]
    anew = [
        (together > 1, f"`batch_size` below {settings.batch_size}"),
        in_half,
        (several_steps, f"`num_grad_steps` below {settings.num_grad_steps}"),
        *size,
    ]
    first = _list(resumable)
    return f"{f'go on with {first}; or start anew with ' if first else 'start anew with '}{_list(anew)}"


def _list(advice: Advice) -> str:
    return ", ".join(words for applies, words in advice if applies)
