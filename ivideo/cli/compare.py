"""`ivideo compare`: options and the tables; the work is `ivideo.compare`."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Unpack

import typer

from ivideo.cli import options as o
from ivideo.cli.output import Records, Reporter, chosen_format, known_errors, print_json, show_interval
from ivideo.cli.stdout import data
from ivideo.config.fields import Panel
from ivideo.config.keywords import GenerationKeywords
from ivideo.config.settings import GenerationSettings
from ivideo.launch import joined

COLUMNS = (
    "metric contestant baseline mean_a std_a mean_b std_b difference ci_low ci_high n num_left_out wins ties losses "
    "win_share sign_p sign_p_corrected wilcoxon_p wilcoxon_p_corrected effect_size judge"
).split()
CHANGES = ("change", "95 % interval", "w/t/l", "p sign", "p rank", "d_z")
KINDS = ("both_good", "same", "both_bad")
PAIRS = inspect.Parameter(
    "pairs",
    inspect.Parameter.KEYWORD_ONLY,
    default="first",
    annotation=Annotated[
        Literal["first", "all"],
        typer.Option(
            "--pairs",
            help="Whom people see on that page: each one beside the first, or every pair. Default: first.",
            show_default=False,
        ),
    ],
)


@known_errors
@o.with_settings(GenerationSettings, also=[PAIRS])
def compare_cli(
    context: typer.Context,
    candidates: Annotated[
        list[str],
        typer.Argument(
            metavar="CANDIDATE",
            help="Two or more, the one to beat first: base, a model, a run or adapter, emoji-world-instruct (bundled), "
            "a folder of videos, or a .pth (its LoRA).",
        ),
    ],
    prompts: Annotated[
        Path | None,
        typer.Option(
            "--prompts",
            metavar="FILE",
            help="A prompt a line, JSON, CSV, ...; - is stdin. Default: the run's held-out ones.",
        ),
    ] = None,
    num_seeds: Annotated[
        int | None,
        typer.Option("--seeds", metavar="N", help="Clips a prompt; they count as one observation. Default: 1."),
    ] = None,
    captions: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help='Prompts by names of ready videos, JSON: {"1.mp4": "a cat"}.'),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            help="Folder for report.html, results.json, results.csv, videos, side-by-side mp4s and a contact sheet; a "
            "later call with it makes only the videos that are missing.",
        ),
    ] = None,
    with_rating_page: Annotated[
        bool, typer.Option("--rate", help="Also write rate.html, on which people rate the clips blindly.")
    ] = False,
    ratings: Annotated[
        list[Path] | None,
        typer.Option(
            "--ratings",
            metavar="FILE",
            help="What people saved on that page, again for each, or a folder of them; also written as ratings.csv and "
            "as winners and losers for other trainers (rated_pairs).",
        ),
    ] = None,
    lora_scale: Annotated[
        list[float] | None,
        typer.Option(
            metavar="SCALE",
            help="Multiplies the effect of adapters; given again, each adapter takes part once a scale. Default: 1.",
            rich_help_panel=Panel.CLIPS,
        ),
    ] = None,
    config: o.ConfigOpt = None,
    format: o.FormatOpt = None,
    quiet: o.QuietOpt = False,
    **settings: Unpack[GenerationKeywords],
) -> None:
    """Hold candidates against the first one, and say how sure the differences are.

    Everyone gets the same prompts and seeds. For each metric: means, the paired
    difference with a 95 % interval over prompts (studentised bootstrap; bold
    where it leaves out zero, none below 5 prompts), prompts won, tied and lost
    with an exact sign test, Wilcoxon's test (rank), the effect size (d_z).
    Each p is corrected for the number of metrics and candidates (Holm).
    A frozen clip has perfect flicker: read it beside the motion.

    Example: ivideo compare base runs/mine runs/other --seeds 2 --output compared
    """
    from ivideo.inputs.prompts import read_prompts

    with joined() as launch, Reporter(quiet or not launch.is_first, context) as reporter:
        texts = launch.from_first(lambda: read_prompts(prompts, reporter) if prompts else None)
        from ivideo.api import compare

        results = compare(
            *candidates,
            prompts=texts,
            num_seeds=num_seeds,
            captions=captions,
            output=output,
            lora_scale=lora_scale or None,
            with_rating_page=with_rating_page,
            ratings=ratings or (),
            config=config,
            command=o.spell_command(context),
            progress=reporter,
            launch=launch,
            **settings,
        )
        if launch.is_first:
            print_results(results, format)
        if output is not None:
            reporter.say(f"videos, pictures and results: {output}")
            reporter.say(f"report: {output / 'report.html'}")
        if output is not None and with_rating_page:
            reporter.say(f"rating page: {output / 'rate.html'} (rating_key.json tells the sides: keep it from raters)")


def print_results(results: Mapping[str, Any], asked: o.Format | None) -> None:
    """Everything as JSON, the comparisons as records, or a table for each candidate."""
    chosen = chosen_format(asked)
    if chosen in (o.Format.json, o.Format.jsonl):
        print_json(results, indent=2 if chosen is o.Format.json else None)
    elif chosen is o.Format.table:
        print_tables(results)
    else:
        with Records(chosen, COLUMNS) as records:
            for comparison in results["comparisons"]:
                record = flatten(results, comparison)
                records.add(keep_small_p(record) if chosen is o.Format.tsv else record)


def flatten(results: Mapping[str, Any], comparison: Mapping[str, Any]) -> dict[str, Any]:
    """A comparison with names, deviations and what its numbers are by."""
    a, b, metric = comparison["a"], comparison["b"], comparison["metric"]
    means, names = results["means"][metric], [one["name"] for one in results["contestants"]]
    about = {"contestant": names[b], "baseline": names[a], "judge": results["judges"].get(metric, results["judge"])}
    return {**comparison, **about, "std_a": means[a]["std"], "std_b": means[b]["std"]}


def keep_small_p(record: Mapping[str, Any]) -> dict[str, Any]:
    """The same with each p as text, which four decimals would turn into 0."""
    return {**record, **{name: f"{value:.4g}" for name, value in record.items() if "_p" in name}}


def print_tables(results: Mapping[str, Any]) -> None:
    """Everyone's means, then a table for each one that is held against the first, and what the rewards are."""
    names = [one["name"] for one in results["contestants"]]
    labels = {metric: about["label"] for metric, about in results["metrics"].items()}
    means = {labels[metric]: [show_mean(mean) for mean in row] for metric, row in results["means"].items()}
    num_prompts = len({row["prompt"] for row in results["rows"]})
    counts = f"{num_prompts} prompt{'s'[: num_prompts > 1]}, clips of each: {len(results['rows'])}"
    print_block(f"means ± deviation over {counts}", names, means)
    for b in range(1, len(names)):
        compared = [one for one in results["comparisons"] if one["b"] == b]
        changes = {labels[one["metric"]]: describe_change(one) for one in compared}
        sure = [labels[one["metric"]] for one in compared if is_sure(one)]
        print_block(f"{names[b]} against {names[0]}", CHANGES, changes, bold=sure)
    if results["preference"]:
        print_preference(results["preference"], names)
    typer.echo(
        "w/t/l: prompts won, tied, lost; p of the sign and of Wilcoxon's test, after Holm; d_z: size of the effect",
        file=data(),
    )
    if any(one["ci_low"] is None for one in results["comparisons"]):
        typer.echo("none: there is no interval below 5 prompts, or where the differences do not vary", file=data())
    typer.echo(f"reward: {results['judge']}", file=data())
    for name, label in list(results["judges"].items())[1:]:
        typer.echo(f"{name}: {label}", file=data())


def print_block(
    title: str,
    columns: Sequence[str],
    lines: Mapping[str, Sequence[str]],
    *,
    head: str = "metric",
    bold: Collection[str] = (),
) -> None:
    """A table under a title, with a metric a line; where it is too narrow, names are folded and numbers are not."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column(head, overflow="fold")
    for column in columns:
        table.add_column(column, justify="right", no_wrap=column in CHANGES, overflow="fold")
    for metric, cells in lines.items():
        table.add_row(metric, *cells, style="bold" if metric in bold else None)
    console = Console(markup=False, highlight=False, file=data())
    console.print(title, style="bold")
    console.print(table)
    console.print()


def print_preference(preference: Mapping[str, Any], names: Sequence[str]) -> None:
    """What people liked better: each pair's shares, and everyone's strength where there are three or more."""
    for pair in preference["pairs"]:
        print_pair(pair, names, preference["num_raters"])
    typer.echo("g/s/b: ties because both are good, both are the same, both are bad\n")
    fitted = {name: strengths for name, strengths in preference["strengths"].items() if strengths}
    if len(names) > 2:
        lines = {name: [show_strength(one[i]) for one in fitted.values()] for i, name in enumerate(names)}
        title = f"Bradley-Terry strengths against {names[0]}, log of the odds"
        print_block(title, list(fitted), lines, head="candidate")


def print_pair(pair: Mapping[str, Any], names: Sequence[str], num_raters: int) -> None:
    """The shares of a pair's votes, each with its interval, how ties were meant, and how far people agreed."""
    a, b = names[pair["a"]], names[pair["b"]]
    lines = {
        name: [
            *(show_share(question["shares"][side], question["ci"][side]) for side in ("b", "tie", "a")),
            "/".join(str(question["counts"][kind]) for kind in KINDS),
            str(question["num_votes"]),
            "" if question["agreement"]["alpha"] is None else f"{question['agreement']['alpha']:.2f}",
        ]
        for name, question in pair["questions"].items()
        if question
    }
    columns = [b, "tie", a, "g/s/b", "votes", "alpha"]
    print_block(f"{b} against {a}, by {num_raters} people", columns, lines, head="question")


def show_share(share: float, interval: Sequence[float | None]) -> str:
    """A share with its interval, in percent: "70 % (60 to 80)"; without one "70 %"."""
    ends = [f"{100 * end:.0f}" for end in interval if end is not None]
    return f"{100 * share:.0f} %" + (f" ({' to '.join(ends)})" if ends else "")


def show_strength(one: Mapping[str, float | None]) -> str:
    """A strength with its interval: "+0.69 (+0.21 to +1.20)"; nothing where no votes link it with the first one."""
    ends = [f"{one[end]:+.2f}" for end in ("ci_low", "ci_high") if one[end] is not None]
    shown = "" if one["strength"] is None else f"{one['strength']:+.2f}"
    return shown + (f" ({' to '.join(ends)})" if ends else "")


def is_sure(one: Mapping[str, Any]) -> bool:
    """Whether a comparison has an interval that leaves out zero."""
    return one["ci_low"] is not None and (one["ci_low"] > 0 or one["ci_high"] < 0)


def describe_change(one: Mapping[str, Any]) -> list[str]:
    """A comparison as the cells of `CHANGES`."""
    return [
        f"{one['difference']:+.4f}",
        show_interval(one),
        f"{one['wins']}/{one['ties']}/{one['losses']}",
        show_p(one["sign_p_corrected"]),
        show_p(one["wilcoxon_p_corrected"]),
        "" if one["effect_size"] is None else f"{one['effect_size']:+.2f}",
    ]


def show_mean(mean: Mapping[str, float | None]) -> str:
    """A mean with its deviation: "0.712 ±0.083"; nothing where nothing was measured."""
    if mean["mean"] is None:
        return ""
    return f"{mean['mean']:.3f}" + ("" if mean["std"] is None else f" ±{mean['std']:.3f}")


def show_p(p: float) -> str:
    """A probability: "0.012", "<0.001"."""
    return "<0.001" if p < 0.001 else f"{p:.3f}"
