"""Options that several commands share. None means "not given": the default then comes from file, run or model."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer


class Format(StrEnum):
    """How data is printed."""

    table = "table"
    tsv = "tsv"
    json = "json"
    jsonl = "jsonl"


class Dtype(StrEnum):
    """The U-Net's type."""

    auto = "auto"
    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"


class Preset(StrEnum):
    """Which of the model's defaults."""

    default = "default"
    quick = "quick"


SHARED = "Everywhere"
CLIPS = "Clips"
METHOD = "Method"

ModelOpt = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        metavar="NAME",
        help="emoji-world (bundled), modelscope, a diffusers folder, or a hub id. Default: the run's own, "
        "IVIDEO_MODEL, else auto (modelscope with CUDA, emoji-world without).",
        rich_help_panel=SHARED,
    ),
]
RewardOpt = Annotated[
    str | None,
    typer.Option(
        help="Judge: emoji-preference (bundled, trained on simulated preferences), hpsv2, hpsv2.1. Default: by model.",
        rich_help_panel=SHARED,
    ),
]
SeedOpt = Annotated[int | None, typer.Option(help="Fixes every draw. Default: 0.", rich_help_panel=SHARED)]
DeviceOpt = Annotated[
    str | None, typer.Option(help="auto, cpu, cuda, cuda:1, mps. Default: auto.", rich_help_panel=SHARED)
]
DtypeOpt = Annotated[
    Dtype | None, typer.Option(help="Type of the U-Net. Default: auto.", rich_help_panel=SHARED)
]
QuietOpt = Annotated[
    bool, typer.Option("--quiet", "-q", help="Nothing on stderr but errors.", rich_help_panel=SHARED)
]
FormatOpt = Annotated[
    Format | None,
    typer.Option("--format", "-f", help="Of the data on stdout.", show_default=False, rich_help_panel=SHARED),
]
ConfigOpt = Annotated[
    Path | None,
    typer.Option(
        "--config", metavar="FILE", help="TOML file of settings, named as the options; flags win.", rich_help_panel=SHARED
    ),
]
SegmentsOpt = Annotated[
    int | None, typer.Option(help="Segments a clip; one frame of each is scored.", rich_help_panel=METHOD)
]
AttenuationOpt = Annotated[
    str | None,
    typer.Option(metavar="RATE", help="lambda of the attenuated reward, per frame; 'none' for off.", rich_help_panel=METHOD),
]
NumFramesOpt = Annotated[int | None, typer.Option(help="Frames a clip.", rich_help_panel=CLIPS)]
HeightOpt = Annotated[int | None, typer.Option(help="Pixels.", rich_help_panel=CLIPS)]
WidthOpt = Annotated[int | None, typer.Option(help="Pixels.", rich_help_panel=CLIPS)]
FpsOpt = Annotated[float | None, typer.Option(help="Frames a second.", rich_help_panel=CLIPS)]
StepsOpt = Annotated[int | None, typer.Option(help="DDIM steps of a full chain.", rich_help_panel=CLIPS)]
GuidanceOpt = Annotated[
    float | None, typer.Option(help="Classifier-free guidance; 1 is none.", rich_help_panel=CLIPS)
]
NegativeOpt = Annotated[str | None, typer.Option(help="What clips should not show.", rich_help_panel=CLIPS)]
LoraScaleOpt = Annotated[
    float, typer.Option(help="Multiplies the adapter's effect; 0 is the base model.", rich_help_panel=CLIPS)
]
