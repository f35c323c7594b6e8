"""`ivideo finetune`: options and the report at the end; the work is `ivideo.finetune`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Unpack

import typer

from ivideo.cli import options as o
from ivideo.cli.output import Records, Reporter, format_seconds, known_errors, show_interval
from ivideo.config.fields import Panel
from ivideo.config.keywords import FinetuneKeywords
from ivideo.config.parts import REWARDS_HELP
from ivideo.config.presets import PresetName
from ivideo.config.settings import FinetuneSettings


class Captions(StrEnum):
    """How the file beside a video is read."""

    whole = "whole"
    lines = "lines"
    json = "json"


@known_errors
@o.with_settings(
    FinetuneSettings,
    evaluate="Skip the held-out clips before and after.",
    reward=f"{REWARDS_HELP} The first is trained on; give it again to see further ones on the held-out prompts "
    "before and after. Default: by model.",
)
def finetune_cli(
    context: typer.Context,
    prompts: Annotated[
        str | None,
        typer.Argument(
            metavar="PROMPTS",
            help="A prompt a line (# comments), JSON, JSONL, CSV or TSV; - is stdin. Or real videos with captions: "
            "lines video|||prompt, a table with video and prompt, or a folder of videos with a .txt beside each or a "
            "metadata.csv. --resume needs none.",
        ),
    ] = None,
    videos: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder that a list's paths of videos start at. Default: the list's own."),
    ] = None,
    captions: Annotated[
        Captions,
        typer.Option(help="How a file beside a video is read: whole; lines or a JSON list: several, one drawn a step."),
    ] = Captions.whole,
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
            rich_help_panel=Panel.RESUME,
        ),
    ] = None,
    heldout: Annotated[
        Path | None,
        typer.Option(
            "--eval-prompts",
            metavar="FILE",
            help="Held-out prompts. Default: the model's own, else a tenth of PROMPTS.",
        ),
    ] = None,
    clips: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN",
            help="Earlier run whose base clips are taken over, not generated again; model, size, steps must agree.",
        ),
    ] = None,
    preset: Annotated[PresetName | None, typer.Option(help="Which of the model's defaults: quick is shorter.")] = None,
    config: o.ConfigOpt = None,
    format: o.PathFormatOpt = None,
    quiet: o.QuietOpt = False,
    **settings: Unpack[FinetuneKeywords],
) -> None:
    """Train a LoRA that raises the preference score (InstructVideo).

    The base model makes each prompt's clip once, or real videos are given; training edits the clips and scores the
    result. Prints the run folder. Example: ivideo finetune examples/prompts.txt --model emoji-world
    """
    from ivideo.inputs.clip_lists import read_source
    from ivideo.inputs.prompts import read_prompts
    from ivideo.launch import is_first_process

    with Reporter(quiet or not is_first_process(), context) as reporter:
        source = read_source(prompts, videos, captions.value, reporter) if prompts is not None else None
        kept = read_prompts(heldout, reporter) if heldout else None
        from ivideo.api import finetune

        run = finetune(
            source,
            output,
            resume=resume,
            heldout=kept,
            clips=clips,
            preset=preset,
            config=config,
            progress=reporter,
            **settings,
        )
        if not is_first_process():
            return
        summary = find_results(run)
        for line in describe_run(summary):
            reporter.say(line)
        with Records(format, ("run", "model", "num_steps", "adapter"), bare="run") as records:
            records.add(summary)


def find_results(run: Path) -> dict[str, Any]:
    """What came out of a run, with its files where they lie now: it may have been moved since."""
    from ivideo.files.run_folder import RunFolder
    from ivideo.training.logs import read_summary

    folder = RunFolder(run)
    summary = read_summary(folder)
    videos = [str(folder.videos / Path(path).name) for path in summary["videos"]]
    return {**summary, "run": str(run), "adapter": str(folder.chosen), "curve": str(folder.curve), "videos": videos}


def describe_run(summary: dict[str, Any]) -> list[str]:
    """What the run changed and where everything is, for people."""
    lines = []
    if changes := summary["heldout"]:
        lines.append(f"{changes['reward']['n']} held-out prompts, reward: {summary['reward_label']}")
        lines.append(f"{'':10}{'before':>9}{'after':>9}{'change':>9}   95 % interval")
        further = {name: change for name, change in summary["heldout_rewards"].items() if name != summary["reward"]}
        for name, change in {"reward": changes["reward"], **further, "motion": changes["motion"]}.items():
            values = f"{change['mean_a']:9.4f}{change['mean_b']:9.4f}{change['difference']:+9.4f}"
            lines.append(f"{name:10}{values}   {show_interval(change)}")
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
    which = f"step {chosen}, the best held-out reward" if chosen else "the base: no step kept motion and other rewards"
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
