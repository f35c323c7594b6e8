"""`ivideo generate`: options; the work is `ivideo.generate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Unpack

import typer

from ivideo.cli import options as o
from ivideo.cli.output import Records, Reporter, known_errors
from ivideo.config.fields import Panel
from ivideo.config.keywords import GenerationKeywords
from ivideo.config.parts import REWARDS_HELP
from ivideo.config.settings import GenerationSettings
from ivideo.errors import UsageError
from ivideo.launch import joined
from ivideo.progress import Progress

if TYPE_CHECKING:
    from ivideo.generating import GeneratedVideo


@known_errors
@o.with_settings(GenerationSettings, reward=f"Also score each video, by one reward model or several: {REWARDS_HELP}")
def generate_cli(
    context: typer.Context,
    prompts: Annotated[
        list[str] | None, typer.Argument(metavar="PROMPT", help="What to show; - reads prompts from stdin.")
    ] = None,
    prompts_file: Annotated[
        Path | None, typer.Option("--prompts", metavar="FILE", help="A prompt a line, JSON, CSV, ...; - is stdin.")
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="PATH", help="Folder, or a .mp4 / .gif for a single video.")
    ] = Path("videos"),
    lora: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN",
            help="Run folder, PEFT adapter, .safetensors of kohya, diffusers or ComfyUI, emoji-world-instruct "
            "(bundled), or .pth of the authors. Default: what a file of weights brings.",
            rich_help_panel=Panel.CLIPS,
        ),
    ] = None,
    lora_scale: Annotated[
        float | None,
        typer.Option(
            help="Multiplies the adapter's effect; 0 is the base model. Default: 1.", rich_help_panel=Panel.CLIPS
        ),
    ] = None,
    num_videos: Annotated[
        int, typer.Option(min=1, help="Videos a prompt; video k uses seed + k.", rich_help_panel=Panel.CLIPS)
    ] = 1,
    overwrite: o.OverwriteOpt = False,
    config: o.ConfigOpt = None,
    format: o.PathFormatOpt = None,
    quiet: o.QuietOpt = False,
    **settings: Unpack[GenerationKeywords],
) -> None:
    """Make videos of prompts, with or without an adapter. Prints each path.

    A video that is there already and would be the same is kept; no other one is
    written over: the new one gets a number (x_2.mp4).

    Example: ivideo generate "a cat surfing" --lora runs/mine | ivideo score -
    """
    with_score = "reward" in settings
    columns = ("path", "prompt", "seed", *(("reward", "rewards", "judge") if with_score else ()))
    with joined() as launch, Reporter(quiet or not launch.is_first, context) as reporter:
        texts = launch.from_first(lambda: collect_prompts(prompts or [], prompts_file, reporter))
        from ivideo.api import generate

        with Records(format, columns, bare="path", is_silent=not launch.is_first) as records:
            generate(
                texts,
                output,
                lora=lora,
                lora_scale=lora_scale,
                num_videos=num_videos,
                with_score=with_score,
                overwrite=overwrite,
                each=lambda video: records.add(describe_video(video)),
                config=config,
                progress=reporter,
                launch=launch,
                **settings,
            )


def describe_video(video: GeneratedVideo) -> dict[str, Any]:
    """A video as a record; its rewards and what they are only if it was scored."""
    record: dict[str, Any] = {"path": str(video.path), "prompt": video.prompt, "seed": video.seed}
    if video.score is None:
        return record
    labels = {"judge": next(iter(video.labels.values())), "judges": video.labels}
    return {**record, "reward": video.score.reward, "rewards": video.score.rewards, **labels}


def collect_prompts(arguments: list[str], file: Path | None, progress: Progress) -> list[str]:
    """The prompts of arguments, file and stdin, in that order.

    Raises:
        UsageError: none, an empty one, or one that is the name of a file.
    """
    from ivideo.inputs.prompts import check_prompts, read_argument, read_prompts

    texts = []
    for argument in arguments:
        texts += read_prompts("-", progress) if argument == "-" else [read_argument(argument)]
    if file is not None:
        texts += read_prompts(file, progress)
    if not texts:
        raise UsageError('no prompt: give one, as in ivideo generate "a cat surfing", or a file by --prompts')
    check_prompts(texts)
    return texts
