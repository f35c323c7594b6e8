"""`ivideo finetune`: options and the report at the end; the work is `ivideo.finetune`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from ivideo.cli import options as o
from ivideo.cli.output import Records, Reporter, format_seconds, known_errors


@known_errors
def finetune_cli(
    context: typer.Context,
    prompts: Annotated[
        str | None,
        typer.Argument(
            metavar="PROMPTS",
            help="Text file, a prompt a line (# comments); - is stdin. Or real videos with captions: lines "
            "video|||prompt, CSV or JSONL with video and prompt, or a folder of videos with a .txt beside each. "
            "--resume needs none.",
        ),
    ] = None,
    videos: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder that a list's paths of videos start at. Default: the list's own."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Run folder, new or empty. Default: runs/DATE_TIME."),
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(
            metavar="RUN",
            help="Go on with an interrupted run, or from one of its checkpoints (RUN/checkpoints/step_00008); auto: "
            "the run in --output, else the unfinished one under runs/ that was started last, else a new one.",
            rich_help_panel=o.RESUME,
        ),
    ] = None,
    save_every: Annotated[int | None, typer.Option(help="Steps between checkpoints.", rich_help_panel=o.RESUME)] = None,
    keep_checkpoints: Annotated[
        int | None,
        typer.Option(help="Newest checkpoints that are kept, beside the start and the best.", rich_help_panel=o.RESUME),
    ] = None,
    max_bad_steps: Annotated[
        int | None,
        typer.Option(
            help="End after so many steps in a row without a finite loss and gradient; each is left out.",
            rich_help_panel=o.RESUME,
        ),
    ] = None,
    preset: Annotated[o.Preset | None, typer.Option(help="Which of the model's defaults: quick is shorter.")] = None,
    max_steps: Annotated[int | None, typer.Option(help="Optimiser steps.")] = None,
    no_eval: Annotated[bool, typer.Option("--no-eval", help="Skip the held-out clips before and after.")] = False,
    eval_prompts: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Held-out prompts. Default: the model's own, else a tenth of PROMPTS."),
    ] = None,
    clips: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN",
            help="Earlier run whose base clips are taken over, not generated again; model, size, steps must agree.",
        ),
    ] = None,
    num_eval_prompts: Annotated[int | None, typer.Option(help="How many of them at most.")] = None,
    eval_every: Annotated[
        int | None,
        typer.Option(help="Steps between evaluations of held-out prompts; 0: none.", rich_help_panel=o.GUARD),
    ] = None,
    num_watched_prompts: Annotated[
        int | None, typer.Option(help="Held-out prompts that are generated then.", rich_help_panel=o.GUARD)
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(
            help="Stop after so many evaluations without a new best held-out reward; 0: never.", rich_help_panel=o.GUARD
        ),
    ] = None,
    min_motion: Annotated[
        float | None,
        typer.Option(help="Stop below this share of the base's motion; 0: never.", rich_help_panel=o.GUARD),
    ] = None,
    min_judge: Annotated[
        float | None,
        typer.Option(
            help="Stop where a judge that is not trained on falls below this share of the base's and by more than "
            "chance; 0: never.",
            rich_help_panel=o.GUARD,
        ),
    ] = None,
    compile: Annotated[bool | None, typer.Option("--compile/--no-compile", help="torch.compile for the U-Net.")] = None,
    profile: Annotated[
        bool | None, typer.Option("--profile/--no-profile", help="Tell where the time of the training went.")
    ] = None,
    tracker: Annotated[
        o.Tracker | None,
        typer.Option(help="Send the metrics there, too; its package must be installed."),
    ] = None,
    start: Annotated[
        o.Start | None,
        typer.Option(
            help="clip: edit clips; noise: run the whole chain from pure noise (DRaFT), without clips, --strength and "
            "--offset-noise. Default: clip.",
            rich_help_panel=o.METHOD,
        ),
    ] = None,
    strength: Annotated[
        float | None,
        typer.Option(help="tau: share of the chain that is run from a clip.", rich_help_panel=o.METHOD),
    ] = None,
    num_inference_steps: Annotated[
        int | None, typer.Option(help="D: DDIM steps of the chain that is edited through.", rich_help_panel=o.METHOD)
    ] = None,
    num_segments: o.SegmentsOpt = None,
    attenuation_rate: o.AttenuationOpt = None,
    frame_draw: Annotated[
        o.FrameDraw | None,
        typer.Option(
            help="Train on a random frame of each segment, or on its first. Default: random.", rich_help_panel=o.METHOD
        ),
    ] = None,
    gradient: Annotated[
        o.Gradient | None,
        typer.Option(
            help="Where it flows. last: through the last K steps; random: one of the last K, drawn each step, whose "
            "guess of the clean clip is scored (ReFL); drtune: K steps spread over the chain, never through the "
            "network's input (DRTune); draft-lv: the last step, on K copies noised anew (DRaFT-LV). Default: last.",
            rich_help_panel=o.METHOD,
        ),
    ] = None,
    num_grad_steps: Annotated[
        int | None,
        typer.Option(
            help="K: steps that the gradient flows through; random draws one of them; draft-lv: copies noised anew.",
            rich_help_panel=o.METHOD,
        ),
    ] = None,
    guidance_scale: Annotated[
        float | None, typer.Option(help="Guidance of the edit that is trained through.", rich_help_panel=o.METHOD)
    ] = None,
    generation_num_inference_steps: Annotated[
        int | None, typer.Option(help="DDIM steps of full generations.", rich_help_panel=o.CLIPS)
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
    lr_schedule: Annotated[
        o.Schedule | None, typer.Option(help="Learning rate after the warm-up.", rich_help_panel=o.METHOD)
    ] = None,
    max_grad_norm: Annotated[
        float | None,
        typer.Option(help="Longer gradients are shortened to this norm; 0: none are.", rich_help_panel=o.METHOD),
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="Clips a step, over all processes.", rich_help_panel=o.METHOD)
    ] = None,
    gradient_accumulation: Annotated[
        int | None, typer.Option(help="Parts that a batch goes through the network in.", rich_help_panel=o.METHOD)
    ] = None,
    gradient_checkpointing: Annotated[
        bool | None,
        typer.Option(
            "--gradient-checkpointing/--no-gradient-checkpointing",
            help="Recompute blocks of U-Net and decoder in the backward pass: less memory, more time.",
            rich_help_panel=o.METHOD,
        ),
    ] = None,
    num_frames: o.NumFramesOpt = None,
    height: o.HeightOpt = None,
    width: o.WidthOpt = None,
    fps: o.FpsOpt = None,
    guidance_batching: o.GuidanceBatchingOpt = None,
    negative_prompt: o.NegativeOpt = None,
    model: o.ModelOpt = None,
    unet: o.UnetOpt = None,
    reward: o.TrainedRewardOpt = None,
    seed: o.SeedOpt = None,
    device: o.DeviceOpt = None,
    dtype: o.DtypeOpt = None,
    config: o.ConfigOpt = None,
    format: o.PathFormatOpt = None,
    quiet: o.QuietOpt = False,
) -> None:
    """Train a LoRA that raises the preference score (InstructVideo).

    The base model makes each prompt's clip once, or real videos are given; training edits the clips and scores the
    result. Prints the run folder. Example: ivideo finetune examples/prompts.txt --model emoji-world
    """
    from ivideo.inputs.clip_lists import read_source
    from ivideo.inputs.prompts import read_prompts

    source = read_source(prompts, videos) if prompts is not None else None
    heldout = read_prompts(eval_prompts) if eval_prompts else None
    from ivideo.api import finetune
    from ivideo.processes import is_first_process

    flags = {**o.pick_settings(context.params), "preset": preset, "evaluate": False if no_eval else None}
    with Reporter(quiet or not is_first_process()) as reporter:
        run = finetune(
            *(source, output),
            resume=resume,
            heldout=heldout,
            clips=clips,
            config=config,
            progress=reporter,
            **flags,
        )
        if not is_first_process():
            return
        summary = json.loads((run / "summary.json").read_text(encoding="utf-8"))
        for line in describe_run(summary):
            reporter.say(line)
        with Records(format, ("run", "model", "num_steps", "adapter"), bare="run") as records:
            records.add(summary)


def describe_run(summary: dict[str, Any]) -> list[str]:
    """What the run changed and where everything is, for people."""
    lines = []
    if changes := summary["heldout"]:
        lines.append(f"{changes['reward']['n']} held-out prompts, reward: {summary['reward_label']}")
        lines.append(f"{'':10}{'before':>9}{'after':>9}{'change':>9}   95 % interval")
        further = {name: change for name, change in summary["heldout_rewards"].items() if name != summary["reward"]}
        for name, change in {"reward": changes["reward"], **further, "motion": changes["motion"]}.items():
            values = f"{change['mean_a']:9.4f}{change['mean_b']:9.4f}{change['difference']:+9.4f}"
            lines.append(f"{name:10}{values}   {change['ci_low']:+.4f} to {change['ci_high']:+.4f}")
        lines += [f"{name}: {summary['judges'][name]}" for name in further]
    if summary["evaluations"]:
        lines.append(f"{'chosen':10}{describe_choice(summary)}")
    lines += [f"{name:10}{summary[name]}" for name in ("adapter", "curve")]
    if summary["profile"]:
        lines += describe_profile(summary["profile"])
    if summary["videos"]:
        lines.append(f"{'videos':10}{Path(summary['videos'][0]).parent}")
    return [*lines, f"{'time':10}{format_seconds(summary['seconds'])}"]


def describe_choice(summary: dict[str, Any]) -> str:
    """Which step's adapter was chosen, and why training stopped if it did before its last step."""
    chosen = summary["chosen_step"]
    which = f"step {chosen}, the best held-out reward" if chosen else "the base: no step kept its motion and judges"
    reason = summary["stop_reason"]
    return which + (f"; stopped after step {summary['num_steps']}: {reason}" if reason else "")


def describe_profile(profile: dict[str, Any]) -> list[str]:
    """Where the time of the training went, a line a phase."""
    lines = [
        f"{name:22}{share:7.1%}  {format_seconds(profile['seconds'][name])}"
        for name, share in profile["shares"].items()
    ]
    lines.append(f"outside the networks, of the time without evaluations: {profile['outside_networks']:.1%}")
    if peak := profile.get("peak_gpu_memory"):
        lines.append(f"most memory of the GPU that was taken: {peak / 2**30:.1f} GiB")
    return lines
