"""Options that several commands share. None means "not given": the default then comes from file, run or model."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer


class Format(StrEnum):
    """How data is printed."""

    table = "table"
    tsv = "tsv"
    csv = "csv"
    json = "json"
    jsonl = "jsonl"


class Dtype(StrEnum):
    """The U-Net's type."""

    auto = "auto"
    float32 = "float32"
    bfloat16 = "bfloat16"
    float16 = "float16"


class Schedule(StrEnum):
    """How the learning rate goes after the warm-up."""

    constant = "constant"
    linear = "linear"
    cosine = "cosine"


class Start(StrEnum):
    """What the chains that are trained through start from."""

    clip = "clip"
    noise = "noise"


class Gradient(StrEnum):
    """Where the gradient flows in a chain."""

    last = "last"
    random = "random"
    drtune = "drtune"
    draft_lv = "draft-lv"


class FrameDraw(StrEnum):
    """Which frame of a segment is trained on."""

    random = "random"
    first = "first"


class Tracker(StrEnum):
    """Where metrics go beside the run folder."""

    tensorboard = "tensorboard"
    wandb = "wandb"


class Preset(StrEnum):
    """Which of the model's defaults."""

    default = "default"
    quick = "quick"


SHARED = "Everywhere"
CLIPS = "Clips"
METHOD = "Method"
GUARD = "When to stop"
RESUME = "To go on later"

ModelOpt = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        metavar="NAME",
        help="emoji-world (bundled), modelscope, zeroscope, a diffusers folder, or a hub id. Default: the run's own, "
        "else IVIDEO_MODEL, else auto (modelscope with CUDA, emoji-world without).",
        rich_help_panel=SHARED,
    ),
]
UnetOpt = Annotated[
    str | None,
    typer.Option(
        "--unet",
        metavar="FILE",
        help="Take the model's U-Net from a .pth of the authors (VGen, ModelScope); none: its own. Default: the run's.",
        rich_help_panel=SHARED,
    ),
]
REWARDS_HELP = (
    "emoji-preference (bundled, simulated preferences), emoji-clip (bundled, fit of frame and prompt), hpsv2, "
    "hpsv2.1, hpsv2:FILE, pickscore, clip, clip:ARCH/TAG, FILE.py:function, or a weighted sum: "
    "hpsv2=1,pickscore=0.5. All but the last two are cosines of image and text, to be compared only for the same "
    "prompt and the same judge and version."
)
RewardOpt = Annotated[
    list[str] | None,
    typer.Option(
        metavar="JUDGE",
        help=f"{REWARDS_HELP} Give it again to see further judges beside the first. Default: by model.",
        rich_help_panel=SHARED,
    ),
]
TrainedRewardOpt = Annotated[
    list[str] | None,
    typer.Option(
        metavar="JUDGE",
        help=f"{REWARDS_HELP} The first is trained on; give it again to see further judges on the held-out prompts "
        "before and after. Default: by model.",
        rich_help_panel=SHARED,
    ),
]
SeedOpt = Annotated[int | None, typer.Option(help="Fixes every draw. Default: 0.", rich_help_panel=SHARED)]
DeviceOpt = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="auto, cpu, cuda, cuda:1, mps. Default: auto.", rich_help_panel=SHARED),
]
DtypeOpt = Annotated[
    Dtype | None,
    typer.Option(help="Type of the U-Net. Default: auto (float32 on CPU, half on CUDA).", rich_help_panel=SHARED),
]
QuietOpt = Annotated[bool, typer.Option("--quiet", "-q", help="Nothing on stderr but errors.", rich_help_panel=SHARED)]
FormatOpt = Annotated[
    Format | None,
    typer.Option(
        "--format",
        "-f",
        help="Of what stdout gets. Default: a table on a terminal, JSON lines in a pipe.",
        rich_help_panel=SHARED,
    ),
]
PathFormatOpt = Annotated[
    Format | None,
    typer.Option("--format", "-f", help="Of what stdout gets. Default: bare paths.", rich_help_panel=SHARED),
]
ConfigOpt = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        help="TOML file of settings, named as the options; flags win.",
        rich_help_panel=SHARED,
    ),
]
SegmentsOpt = Annotated[
    int | None, typer.Option(help="Segments a clip; one frame of each is scored.", rich_help_panel=METHOD)
]
AttenuationOpt = Annotated[
    str | None,
    typer.Option(
        metavar="RATE", help="lambda of the attenuated reward, per frame; none switches it off.", rich_help_panel=METHOD
    ),
]
NumFramesOpt = Annotated[int | None, typer.Option(help="Frames a clip.", rich_help_panel=CLIPS)]
HeightOpt = Annotated[int | None, typer.Option(help="Pixels from top to bottom.", rich_help_panel=CLIPS)]
WidthOpt = Annotated[int | None, typer.Option(help="Pixels from left to right.", rich_help_panel=CLIPS)]
FpsOpt = Annotated[float | None, typer.Option(help="Frames a second.", rich_help_panel=CLIPS)]
StepsOpt = Annotated[int | None, typer.Option(help="DDIM steps of a full chain.", rich_help_panel=CLIPS)]
GuidanceOpt = Annotated[float | None, typer.Option(help="Classifier-free guidance; 1 is none.", rich_help_panel=CLIPS)]
NegativeOpt = Annotated[
    str | None, typer.Option(metavar="TEXT", help="What clips should not show.", rich_help_panel=CLIPS)
]
GuidanceBatchingOpt = Annotated[
    bool | None,
    typer.Option(
        "--guidance-batching/--no-guidance-batching",
        help="Both branches of the guidance in one forward, or one after the other: less memory. Default: in one.",
        rich_help_panel=CLIPS,
    ),
]
LoraScaleOpt = Annotated[
    float | None,
    typer.Option(help="Multiplies the adapter's effect; 0 is the base model. Default: 1.", rich_help_panel=CLIPS),
]


def pick_settings(options: Mapping[str, Any]) -> dict[str, Any]:
    """Those of a command's options (`context.params`) that are settings: they have the settings' names."""
    from ivideo.config.settings import FinetuneSettings, ScoreSettings

    known = {*FinetuneSettings.model_fields, *ScoreSettings.model_fields}
    settings = {name: value for name, value in options.items() if name in known}
    # What may be given several times is empty where it was not given.
    return {name: value for name, value in settings.items() if value not in ([], ())}


def spell_command(context: typer.Context) -> str:
    """The command as it could be typed again, with every argument and option that was given."""
    words = ["ivideo", str(context.info_name)]
    for parameter in context.command.params:
        value = context.params.get(parameter.name or "")
        if value == parameter.get_default(context) or value is None:
            continue
        several = list(value) if isinstance(value, list | tuple) else [value]
        if parameter.param_type_name == "argument":
            words += map(str, several)
        elif isinstance(value, bool):
            words.append(parameter.opts[0] if value else parameter.secondary_opts[0])
        else:
            words += [word for one in several for word in (parameter.opts[0], str(one))]
    return shlex.join(words)
