"""Memory that ran out: one line that says which settings to change, from what they are now."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ivideo.config.settings import FinetuneSettings
from ivideo.errors import IvideoError

CPU_MESSAGES = ("DefaultCPUAllocator: can't allocate memory", "not enough memory: you tried to allocate")


@contextmanager
def explain_out_of_memory(settings: FinetuneSettings, num_processes: int = 1) -> Iterator[None]:
    """Turn an allocator's error into advice.

    Raises:
        IvideoError: memory ran out inside the block.
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise IvideoError(f"out of memory: {advise(settings, num_processes)}") from error
    except RuntimeError as error:
        if not any(message in str(error) for message in CPU_MESSAGES):
            raise
        raise IvideoError(f"out of memory: {advise(settings, num_processes)}") from error


def advise(settings: FinetuneSettings, num_processes: int = 1) -> str:
    """What takes memory and can be changed: first what a run can be gone on with, then what needs a new one.

    The batch size counts only as far as several of its clips go through the network together.
    """
    own_clips = -(-settings.batch_size // num_processes)
    together = -(-own_clips // settings.gradient_accumulation)
    resumable = [
        (not settings.gradient_checkpointing, "--gradient-checkpointing"),
        (together > 1, f"--gradient-accumulation {own_clips} (now {settings.gradient_accumulation})"),
        (settings.guidance_batching and settings.guidance_scale != 1, "--no-guidance-batching"),
    ]
    anew = [
        (together > 1, f"--batch-size below {settings.batch_size}"),
        (settings.dtype == "float32", "--dtype bfloat16 (now float32)"),
        (
            settings.num_grad_steps > 1 and settings.gradient != "random",
            f"--num-grad-steps below {settings.num_grad_steps}",
        ),
        (settings.num_frames > settings.num_segments, f"--num-frames below {settings.num_frames}"),
        (True, "a smaller --height and --width"),
    ]
    first, second = (", ".join(words for applies, words in advice if applies) for advice in (resumable, anew))
    return f"{'go on with ' + first + '; or start anew with ' if first else 'start anew with '}{second}"
