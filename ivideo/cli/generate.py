"""`ivideo generate`: options; the work is `ivideo.generate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ivideo.cli import options as o
from ivideo.cli.output import Records, Reporter, known_errors
from ivideo.errors import UsageError

if TYPE_CHECKING:
    from ivideo.generating import GeneratedVideo


@known_errors
def generate_cli(
    context: typer.Context,
    prompts: Annotated[
        list[str] | None, typer.Argument(metavar="PROMPT", help="What to show; - reads prompts from stdin, one a line.")
    ] = None,
    prompts_file: Annotated[
        Path | None, typer.Option("--prompts", metavar="FILE", help="Text file, a prompt a line; - is stdin.")
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="PATH", help="Folder, or a .mp4 / .gif for a single video.")
    ] = Path("videos"),
    lora: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN",
            help="Run folder, PEFT adapter, emoji-world-instruct (bundled), or .pth of the authors. Default: what "
            "--unet brings.",
            rich_help_panel=o.CLIPS,
        ),
    ] = None,
    lora_scale: o.LoraScaleOpt = None,
    num_videos: Annotated[
        int, typer.Option(min=1, help="Videos a prompt; video k uses seed + k.", rich_help_panel=o.CLIPS)
    ] = 1,
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
    reward: Annotated[
        list[str] | None,
        typer.Option(
            metavar="JUDGE",
            help=f"Also score each video, by one judge or several: {o.REWARDS_HELP}",
            rich_help_panel=o.SHARED,
        ),
    ] = None,
    seed: o.SeedOpt = None,
    device: o.DeviceOpt = None,
    dtype: o.DtypeOpt = None,
    config: o.ConfigOpt = None,
    format: o.PathFormatOpt = None,
    quiet: o.QuietOpt = False,
) -> None:
    """Make videos of prompts, with or without an adapter. Prints each path.

    Example: ivideo generate "a cat surfing" --lora runs/mine | ivideo score -
    """
    texts = collect_prompts(prompts or [], prompts_file)
    from ivideo.api import generate

    columns = ("path", "prompt", "seed", *(("reward", "rewards", "judge") if reward else ()))

    with Reporter(quiet) as reporter, Records(format, columns, bare="path") as records:
        generate(
            texts,
            output,
            lora=lora,
            lora_scale=lora_scale,
            num_videos=num_videos,
            with_score=bool(reward),
            each=lambda video: records.add(describe_video(video)),
            config=config,
            progress=reporter,
            **o.pick_settings(context.params),
        )


def describe_video(video: GeneratedVideo) -> dict[str, Any]:
    """A video as a record; its rewards and their judges only if it was scored."""
    record: dict[str, Any] = {"path": str(video.path), "prompt": video.prompt, "seed": video.seed}
    if video.score is None:
        return record
    reward_model = next(iter(video.judges.values()))
    scored = {
        "reward": video.score.reward,
        "rewards": video.score.rewards,
        "judge": reward_model,
        "judges": video.judges,
    }
    return {**record, **scored}


def collect_prompts(arguments: list[str], file: Path | None) -> list[str]:
    """The prompts of arguments, file and stdin, in that order.

    Raises:
        UsageError: none, or an empty one.
    """
    from ivideo.inputs.prompts import read_prompts

    texts = []
    for argument in arguments:
        texts += read_prompts("-") if argument == "-" else [argument.strip()]
    if file is not None:
        texts += read_prompts(file)
    if not texts:
        raise UsageError('no prompt: give one, as in ivideo generate "a cat surfing", or a file by --prompts')
    if not all(texts):
        raise UsageError("empty prompt: say what the video should show")
    return texts
