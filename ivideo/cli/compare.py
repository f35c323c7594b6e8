"""`ivideo compare`: options and the table; the work is `ivideo.compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ivideo.cli import options as o
from ivideo.cli.output import Records, Reporter, chosen_format, known_errors, print_json

COLUMNS = ("metric", "mean_a", "mean_b", "difference", "ci_low", "ci_high", "win_share", "n", "judge")


@known_errors
def compare_cli(
    context: typer.Context,
    a: Annotated[
        str, typer.Argument(metavar="A", help="base, a model, a run, a folder of videos, or a .pth (its LoRA).")
    ],
    b: Annotated[str, typer.Argument(metavar="B", help="The other side, likewise.")],
    prompts: Annotated[
        Path | None,
        typer.Option(
            "--prompts",
            metavar="FILE",
            help="Text file, a prompt a line; - is stdin. Default: the run's held-out ones.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="DIR", help="Folder for side-by-side mp4s, contact sheet, results.json."
        ),
    ] = None,
    lora_scale: o.LoraScaleOpt = None,
    num_segments: o.SegmentsOpt = None,
    attenuation_rate: o.AttenuationOpt = None,
    negative_prompt: o.NegativeOpt = None,
    num_frames: o.NumFramesOpt = None,
    height: o.HeightOpt = None,
    width: o.WidthOpt = None,
    fps: o.FpsOpt = None,
    num_inference_steps: o.StepsOpt = None,
    guidance_scale: o.GuidanceOpt = None,
    guidance_batching: o.GuidanceBatchingOpt = None,
    model: o.ModelOpt = None,
    unet: o.UnetOpt = None,
    reward: o.RewardOpt = None,
    seed: o.SeedOpt = None,
    device: o.DeviceOpt = None,
    dtype: o.DtypeOpt = None,
    config: o.ConfigOpt = None,
    format: o.FormatOpt = None,
    quiet: o.QuietOpt = False,
) -> None:
    """Compare B with A on the same prompts and seeds: paired differences with 95 % bootstrap intervals.

    Example: ivideo compare base runs/mine --output compared
    """
    from ivideo.io.prompts import read_prompts

    texts = read_prompts(prompts) if prompts else None
    from ivideo.api import compare

    with Reporter(quiet) as reporter:
        result = compare(
            a,
            b,
            prompts=texts,
            output=output,
            lora_scale=lora_scale,
            config=config,
            progress=reporter,
            **o.pick_settings(context.params),
        )
        print_result(result, format)
        if output is not None:
            reporter.say(f"videos, contact sheet and results: {output}")


def print_result(result: dict[str, Any], asked: o.Format | None) -> None:
    """The whole result as JSON, or its metrics as a table."""
    chosen = chosen_format(asked)
    if chosen in (o.Format.json, o.Format.jsonl):
        print_json(result, indent=2 if chosen is o.Format.json else None)
        return
    with Records(chosen, COLUMNS) as records:
        for name, metric in result["metrics"].items():
            records.add({"metric": name, **metric, "judge": result["judge"], "judges": result["judges"]})
        for name, metric in list(result["rewards"].items())[1:]:
            records.add({"metric": name, **metric, "judge": result["judges"][name], "judges": result["judges"]})
