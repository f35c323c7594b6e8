"""`ivideo compare`: options and the table; the work is `ivideo.compare`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from ivideo.cli import options as o
from ivideo.cli.output import Records, Reporter, chosen_format, known_errors, shorten

COLUMNS = ("metric", "mean_a", "mean_b", "difference", "ci_low", "ci_high", "win_share", "n")


@known_errors
def compare_cli(
    a: Annotated[str, typer.Argument(metavar="A", help="base, a model, a run folder, or a folder of videos.")],
    b: Annotated[str, typer.Argument(metavar="B", help="The other side, likewise.")],
    prompts: Annotated[
        Path | None, typer.Option("--prompts", metavar="FILE", help="Prompts. Default: the run's held-out ones.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Folder for side-by-side mp4s, contact sheet, results.json."),
    ] = None,
    lora_scale: o.LoraScaleOpt = 1.0,
    num_segments: o.SegmentsOpt = None,
    attenuation_rate: o.AttenuationOpt = None,
    negative_prompt: o.NegativeOpt = None,
    num_frames: o.NumFramesOpt = None,
    height: o.HeightOpt = None,
    width: o.WidthOpt = None,
    fps: o.FpsOpt = None,
    num_inference_steps: o.StepsOpt = None,
    guidance_scale: o.GuidanceOpt = None,
    model: o.ModelOpt = None,
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
    flags = {
        "num_segments": num_segments,
        "attenuation_rate": attenuation_rate,
        "negative_prompt": negative_prompt,
        "num_frames": num_frames,
        "height": height,
        "width": width,
        "fps": fps,
        "num_inference_steps": num_inference_steps,
        "guidance_scale": guidance_scale,
        "model": model,
        "reward": reward,
        "seed": seed,
        "device": device,
        "dtype": dtype,
    }
    from ivideo.io.prompts import read_prompts

    texts = read_prompts("-" if str(prompts) == "-" else prompts) if prompts else None
    import ivideo

    reporter = Reporter(quiet)
    try:
        result = ivideo.compare(
            a, b, prompts=texts, output=output, lora_scale=lora_scale, config=config, progress=reporter, **flags
        )
    finally:
        reporter.stop()
    print_result(result, format)
    if output is not None:
        reporter.say(f"pictures and results: {output}")


def print_result(result: dict[str, Any], asked: o.Format | None) -> None:
    """The whole result as JSON, or its metrics as a table."""
    chosen = chosen_format(asked)
    if chosen in (o.Format.json, o.Format.jsonl):
        indent = 2 if chosen is o.Format.json else None
        typer.echo(json.dumps(result, ensure_ascii=False, indent=indent))
        return
    records = Records(chosen, COLUMNS)
    for name, metric in result["metrics"].items():
        records.add({"metric": name, **{key: shorten(value) for key, value in metric.items()}})
    records.close()
