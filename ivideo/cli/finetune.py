"""`ivideo finetune`: options and the report at the end; the work is `ivideo.finetune`."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from ivideo.cli import options as o
from ivideo.cli.output import Reporter, format_seconds, known_errors, print_table


@known_errors
def finetune_cli(
    prompts: Annotated[str, typer.Argument(metavar="PROMPTS", help="Text file, a prompt a line (# comments); - is stdin.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="Run folder, new or empty. Default: runs/MODEL-TIME.")
    ] = None,
    preset: Annotated[o.Preset | None, typer.Option(help="Which of the model's defaults: quick is shorter.")] = None,
    max_steps: Annotated[int | None, typer.Option(help="Optimiser steps.")] = None,
    no_eval: Annotated[bool, typer.Option("--no-eval", help="Skip the held-out clips before and after.")] = False,
    eval_prompts: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Held-out prompts. Default: the model's own, else a tenth of PROMPTS.")
    ] = None,
    num_eval_prompts: Annotated[int | None, typer.Option(help="How many of them at most.")] = None,
    strength: Annotated[float | None, typer.Option(help="tau: share of the chain that is run.", rich_help_panel=o.METHOD)] = None,
    num_inference_steps: o.StepsOpt = None,
    num_segments: o.SegmentsOpt = None,
    attenuation_rate: o.AttenuationOpt = None,
    num_grad_steps: Annotated[
        int | None, typer.Option(help="K: last steps that the gradient flows through.", rich_help_panel=o.METHOD)
    ] = None,
    guidance_scale: Annotated[
        float | None, typer.Option(help="Guidance of the edit that is trained through.", rich_help_panel=o.METHOD)
    ] = None,
    generation_guidance_scale: Annotated[
        float | None, typer.Option(help="Guidance of full generations.", rich_help_panel=o.CLIPS)
    ] = None,
    offset_noise: Annotated[
        float | None, typer.Option(help="Weight of the noise that a frame's pixels share.", rich_help_panel=o.METHOD)
    ] = None,
    lora_rank: Annotated[int | None, typer.Option(help="Inner width of the adapter.", rich_help_panel=o.METHOD)] = None,
    lora_alpha: Annotated[
        float | None, typer.Option(help="The adapter is scaled by alpha / rank.", rich_help_panel=o.METHOD)
    ] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Of AdamW.", rich_help_panel=o.METHOD)] = None,
    num_warmup_steps: Annotated[
        int | None, typer.Option(help="Linear learning-rate warm-up.", rich_help_panel=o.METHOD)
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Clips a step.", rich_help_panel=o.METHOD)] = None,
    gradient_accumulation: Annotated[
        int | None, typer.Option(help="Parts that a batch goes through the network in.", rich_help_panel=o.METHOD)
    ] = None,
    num_frames: o.NumFramesOpt = None,
    height: o.HeightOpt = None,
    width: o.WidthOpt = None,
    fps: o.FpsOpt = None,
    negative_prompt: o.NegativeOpt = None,
    model: o.ModelOpt = None,
    reward: o.RewardOpt = None,
    seed: o.SeedOpt = None,
    device: o.DeviceOpt = None,
    dtype: o.DtypeOpt = None,
    config: o.ConfigOpt = None,
    format: o.FormatOpt = None,
    quiet: o.QuietOpt = False,
) -> None:
    """Train a LoRA that raises the preference score (InstructVideo).

    The base model makes each prompt's clip once; training edits those clips and scores the result. Prints the run
    folder. Example: ivideo finetune examples/prompts.txt --model emoji-world
    """
    flags = {
        "preset": preset,
        "max_steps": max_steps,
        "evaluate": False if no_eval else None,
        "num_eval_prompts": num_eval_prompts,
        "strength": strength,
        "num_inference_steps": num_inference_steps,
        "num_segments": num_segments,
        "attenuation_rate": attenuation_rate,
        "num_grad_steps": num_grad_steps,
        "guidance_scale": guidance_scale,
        "generation_guidance_scale": generation_guidance_scale,
        "offset_noise": offset_noise,
        "lora_rank": lora_rank,
        "lora_alpha": lora_alpha,
        "learning_rate": learning_rate,
        "num_warmup_steps": num_warmup_steps,
        "batch_size": batch_size,
        "gradient_accumulation": gradient_accumulation,
        "num_frames": num_frames,
        "height": height,
        "width": width,
        "fps": fps,
        "negative_prompt": negative_prompt,
        "model": model,
        "reward": reward,
        "seed": seed,
        "device": device,
        "dtype": dtype,
    }
    from ivideo.io.prompts import read_prompts

    texts = read_prompts(prompts)
    heldout = read_prompts(eval_prompts) if eval_prompts else None
    reporter = Reporter(quiet)
    try:
        run = run_finetune(texts, output, heldout, config, flags, reporter)
    finally:
        reporter.stop()
    summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
    if not quiet:
        report(summary)
    if format is None:
        typer.echo(str(run))
    else:
        from ivideo.cli.output import Records

        records = Records(format, ("run", "model", "num_steps", "adapter"))
        records.add(summary)
        records.close()


def run_finetune(
    texts: list[str],
    output: Path | None,
    heldout: list[str] | None,
    config: Path | None,
    flags: dict[str, Any],
    reporter: Reporter,
) -> Path:
    """Resolve the settings, name the run, and train."""
    import ivideo

    folder = output or Path("runs") / f"{datetime.now():%Y-%m-%d_%H-%M-%S}"
    return ivideo.finetune(texts, folder, heldout=heldout, config=config, progress=reporter, **flags)


def report(summary: dict[str, Any]) -> None:
    """Tell people what the run changed and where everything is."""
    changes = summary["heldout"]
    if changes:
        n = changes["reward"]["n"]
        typer.echo(f"\n{n} held-out prompts, reward: {summary['reward_label']}", err=True)
        rows = []
        for name in ("reward", "motion"):
            change = changes[name]
            interval = f"{change['ci_low']:+.4f} .. {change['ci_high']:+.4f}"
            rows.append(
                [name, f"{change['mean_a']:.4f}", f"{change['mean_b']:.4f}", f"{change['difference']:+.4f}", interval]
            )
        print_table(("", "before", "after", "change", "95 % interval"), rows, err=True)
    typer.echo(f"adapter  {summary['adapter']}", err=True)
    typer.echo(f"curve    {summary['curve']}", err=True)
    if summary["videos"]:
        typer.echo(f"videos   {Path(summary['videos'][0]).parent}", err=True)
    typer.echo(f"time     {format_seconds(summary['seconds'])}", err=True)
