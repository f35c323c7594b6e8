"""Rendered clips of the prompts, as a list of videos that `ivideo finetune` trains on."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

from examples.emoji_world.evaluation.sources import render_caption
from ivideo.files.atomic import atomic_folder
from ivideo.video.writer import write_video

LIST = "clips.csv"


def render_clips(prompts: Sequence[str], folder: Path, fps: float = 8.0) -> Path:
    """Render a clip of each prompt, once, into a new folder.

    Returns:
        The list, CSV with `video` and `prompt`.

    Raises:
        IvideoError: the folder cannot be written, or a prompt is no caption of the emoji world.
    """
    if not folder.is_dir():
        with atomic_folder(folder) as new:
            names = [f"{number:03d}.mp4" for number in range(len(prompts))]
            for number, (name, prompt) in enumerate(zip(names, prompts, strict=True)):
                write_video(new / name, render_caption(prompt, number), fps, {"prompt": prompt})
            with (new / LIST).open("w", encoding="utf-8", newline="") as file:
                csv.writer(file).writerows([("video", "prompt"), *zip(names, prompts, strict=True)])
    return folder / LIST
