"""Writes study.md and its figures from the results that are there.

python -m examples.study.render
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ivideo.files.atomic import write_text

from .choice import ACCURACY_TITLES, Candidate, check_winner, list_candidates
from .claims import MISSING, SPLIT_NAMES, by_split, check_claims, final_change, show, show_points
from .figures import draw_cost, draw_strengths, draw_sweep
from .plan import (
    ACTING,
    ACTING_TRAININGS,
    DRAFT,
    EVALUATIONS,
    INSTRUCT,
    MODEL,
    PAPER_SPACING,
    PRESET_TABLES,
    SWEEPS,
    TABLE_1,
    TRAINED,
    UNTRAINED,
    Evaluation,
    Sweep,
    all_trainings,
)
from .results import TIMINGS, Results, by_prompt, climb, compare, read_results
from .schedules import measure_effects

HERE = Path(__file__).parent
INTRODUCTION = HERE / "introduction.md"
METRICS = {
    **ACCURACY_TITLES,
    "motion": "motion",
    "flicker": "flicker",
    "diversity": "diversity",
    "second_judge": "second reward",
}

NUM_SHOWN = 5  # steps of a chain; as many as an edit of strength .6 runs of 8
CHAINS = (
    ("the paper's (leading), 20 steps", PAPER_SPACING, 20),
    ("the paper's (leading), 8 steps", PAPER_SPACING, 8),
    ("the emoji world's (trailing), 20 steps", "trailing", 20),
    ("the emoji world's (trailing), 8 steps", "trailing", 8),
)
CHOICE_NOTE = """Each training against the usual one of its sweep, after the time of the one that ended earlier; where
their courses are of different frames, on straight lines from the base to their ends. One that is to take its place must
be better with its whole interval, keep 85 % of the base's motion, and lose nothing of what the classifier recognises
beyond chance, on held-out captions and on things. Of so many, one may win by chance: a winner is trained with two more
seeds before it is shipped. Rendered clips are no setting: a preset, which needs prompts only, cannot bring them."""
COST_NOTE = "Thin lines are the three training seeds, each watching clips of its own, thick ones their mean."
EFFECTS_NOTE = """Every step is linear in the network's prediction. Of each of the last steps: d x_prev / d noise_pred,
and d x_0 / d noise_pred along the rest of the chain, the network's later answers being as they were."""
ACTING_NOTE = """One adapter serves all steps of a chain, and its gradient comes from the last ones only. Held-out
captions again, with the adapter at all steps, at those that its gradient went through only, and at the others only."""
THINGS_METRICS = {"reward": "things: reward", "subject_accuracy": "things: subject"}


def render(results: Results, folder: Path) -> str:
    """The study's text; its figures are written beside it."""
    parts = [INTRODUCTION.read_text(encoding="utf-8").strip(), describe_progress(results), "## Findings", tell(results)]
    parts += ["## Table 1", *(table for one in TABLE_1 if (table := tabulate_splits(results, one)))]
    parts.append(tabulate_costs(results))
    if all(results.get(name) for name in (TIMINGS, *(one.name for one in (*INSTRUCT, *DRAFT)))):
        draw_cost(results, folder / "figures" / "cost.png")
        parts += ["## Cost", COST_NOTE, "![Reward over cost](figures/cost.png)"]
    parts += ["## What a step's prediction does", EFFECTS_NOTE, tabulate_effects()]
    for key, sweep in SWEEPS.items():
        if results.get(sweep.base) and sum(results.get(name) is not None for name in sweep.trainings.values()) > 1:
            parts += describe_sweep(results, key, sweep, folder / "figures")
        if key == "respaced" and results.get(ACTING):
            parts += ["## Where the adapter acts", ACTING_NOTE, tabulate_acting(results)]
    if candidates := list_candidates(results):
        parts += ["## Which preset", CHOICE_NOTE, tabulate_candidates(candidates), describe_winner(results)]
        parts += [tabulate_splits(results, one) for one in PRESET_TABLES]
    parts += ["## Where the numbers come from", list_origins(results)]
    return "\n\n".join(part for part in parts if part) + "\n"


def describe_progress(results: Results) -> str:
    """How much of the study is done."""
    names = [*all_trainings(), *(one.name for one in EVALUATIONS), ACTING]
    missing = [name for name in names if not results.get(name)]
    done = f"{len(names) - len(missing)} of {len(names)} trainings and evaluations are done"
    told = f"{done}; missing: {', '.join(missing)}." if missing else f"{done}."
    if results.get(TIMINGS):
        return told
    return f"{told} Seconds were not measured without other work yet: what needs them is left out."


def tell(results: Results) -> str:
    """The findings as a table."""
    findings = check_claims(results)
    rows = [(one.claim, f"**{one.word}**" if one.word != MISSING else one.word, one.evidence) for one in findings]
    return make_table(("claim", "finding", "difference [95 % interval]"), rows)


def tabulate_splits(results: Results, evaluation: Evaluation) -> str:
    """An evaluation: the base and the pooled trainings on every split."""
    found = results.get(evaluation.name)
    if found is None:
        return ""
    rows: list[Sequence[str]] = []
    for split, title in SPLIT_NAMES.items():
        kept = found["splits"][split]
        base, pooled = kept["base"], kept["pooled"]
        rows.append((title, "base", describe_mean(base["reward"]), "", *(describe(base, name) for name in METRICS)))
        changes = [describe_change(base, pooled, name) for name in METRICS]
        gain = show(compare(base, pooled, "reward"))
        rows.append(("", evaluation.label, describe_mean(pooled["reward"]), gain, *changes))
    head = ("", "", "reward, mean ± sd over prompts", "change", *METRICS.values())
    clips = "a clip" if found["num_seeds"] == 1 else f"{found['num_seeds']} clips"
    prompts = "every prompt" if evaluation.prompt_stride == 1 else f"one prompt in {evaluation.prompt_stride}"
    title = f"{evaluation.label}: {found['num_inference_steps']} steps, {clips} of {prompts}"
    return f"{title}, {len(evaluation.trainings)} training seeds pooled:\n\n{make_table(head, rows)}"


def describe_mean(kept: Mapping[str, Any]) -> str:
    """Mean and deviation over prompts."""
    values = [*by_prompt(kept).values()]
    return f"{np.mean(values):.4f} ± {np.std(values, ddof=1):.4f}"


def describe(kept: Mapping[str, Any], metric: str) -> str:
    """A metric's mean; an accuracy in per cent."""
    values = kept.get(metric, {}).get("values") or []
    if not values:
        return ""
    return f"{np.mean(values):.1%}" if metric in ACCURACY_TITLES else f"{np.mean(values):.3f}"


def describe_change(base: Mapping[str, Any], other: Mapping[str, Any], metric: str) -> str:
    """A metric's change with its interval; an accuracy's in points."""
    if not base.get(metric, {}).get("values"):
        return ""
    change = compare(base, other, metric)
    return show_points(change) if metric in ACCURACY_TITLES else show(change)


def tabulate_costs(results: Results) -> str:
    """What the trainings of Table 1 cost."""
    rows = []
    for training in (*DRAFT, *INSTRUCT):
        if (result := results.get(training.name)) is not None:
            cost, seconds = result["cost"], results.step_seconds(training.name)
            times = (f"{seconds:.1f}", f"{seconds * cost['num_steps']:.0f}") if seconds else ("", "")
            rows.append(
                (
                    training.name,
                    *times,
                    f"{cost['evaluations_a_step'] * cost['num_steps']}",
                    f"{cost['differentiated_a_step'] * cost['num_steps']}",
                    f"{cost['evaluations_of_base_clips']}",
                    f"{cost['peak_memory'] / 2**30:.2f}",
                )
            )
    if not rows:
        return ""
    head = ("training", "s a step", "s in all", "network evaluations", "differentiated", "for base clips", "peak GiB")
    return make_table(head, rows)


def tabulate_effects() -> str:
    """How strongly the predictions of a chain's last steps act, with the study's schedules and the paper's."""
    rows = []
    for title, spacing, num_steps in CHAINS:
        effects = measure_effects(MODEL, spacing, num_steps)[:NUM_SHOWN]
        rows.append((title, *(f"t = {one.timestep}: {one.on_next:.3f}, {one.on_clean:.3f}" for one in effects)))
    head = ("chain", "last step", *(f"{number} before" for number in range(1, NUM_SHOWN)))
    return make_table(head, rows)


def describe_sweep(results: Results, key: str, sweep: Sweep, figures: Path) -> list[str]:
    """A sweep's table and figure."""
    rows = []
    base = results.found[sweep.base]["final"]
    for label, name in sweep.trainings.items():
        result = results.get(name)
        if result is None:
            continue
        change = final_change(results, sweep.base, name, "reward")
        seconds = results.step_seconds(name) * result["cost"]["num_steps"]
        changes = (describe_change(base["heldout"], result["final"]["heldout"], metric) for metric in METRICS)
        things = (describe_change(base["things"], result["final"]["things"], metric) for metric in THINGS_METRICS)
        times = (f"{seconds:.0f}", f"{100 * change.difference / seconds:+.4f}") if seconds else ("", "")
        kept = describe_motion_kept(results, sweep.trainings[sweep.usual], name)
        rows.append((label, show(change), *times, kept, *changes, *things))
    against = f"motion against “{sweep.usual}” at equal reward"
    head = ("", "reward", "seconds", "gain in 100 s", against, *METRICS.values(), *THINGS_METRICS.values())
    draw_sweep(results, sweep, figures / f"{key}.png")
    parts = [f"## {sweep.title}", sweep.note, make_table(head, rows), f"![{sweep.title}](figures/{key}.png)"]
    if key == "strength" and all(results.get(name) for name in (TIMINGS, *sweep.trainings.values())):
        draw_strengths(results, figures / "strengths.png")
        parts.append("![Strength against time](figures/strengths.png)")
    return parts


def tabulate_acting(results: Results) -> str:
    """What adapters change against the base at all steps, and at a part of them only."""
    rows = []
    for label, training in ACTING_TRAININGS.items():
        base = results.found[training.base]["final"]["heldout"]
        parts = results.found[ACTING]["heldout"][training.name]
        everywhere = results.found[training.name]["final"]["heldout"]
        for part, kept in {"all": everywhere, TRAINED: parts[TRAINED], UNTRAINED: parts[UNTRAINED]}.items():
            changes = (describe_change(base, kept, metric) for metric in METRICS)
            rows.append((label if part == "all" else "", part, describe_change(base, kept, "reward"), *changes))
    return make_table(("trained through", "acts at", "reward", *METRICS.values()), rows)


def describe_motion_kept(results: Results, usual: str, name: str) -> str:
    """The motion of a training against the usual one's at equal reward; empty where that says nothing.

    It does not of the usual one itself, of different frames, and where one never rose above the base.
    """
    trainings = all_trainings()
    if name == usual or not results.get(usual) or trainings[usual].watched != trainings[name].watched:
        return ""
    if any(len(climb(results.course(one))) == 1 for one in (usual, name)):
        return ""
    return show(results.compare_at_equal_reward(usual, name, "motion")[1])


def tabulate_candidates(candidates: Sequence[Candidate]) -> str:
    """What could take the place of the usual settings, the best gain first."""
    rows = []
    for one in candidates:
        word = f"**{one.outcome}**" if one.wins else one.outcome
        rows.append((one.sweep, one.label, f"{one.seconds:.0f} s", show(one.gain), word))
    return make_table(("sweep", "training", "after", "reward over the usual one then", ""), rows)


def describe_winner(results: Results) -> str:
    """The winner's preset against the one before, on every split; empty before both are measured."""
    winner, before = PRESET_TABLES
    if not all(results.get(one.name) for one in PRESET_TABLES):
        return ""
    told = []
    for metric, title in {"reward": "Reward", "second_judge": "Second reward", "motion": "Motion"}.items():
        changes = by_split(results, (before.name, "pooled"), (winner.name, "pooled"), metric)
        told.append(
            f"{title}: {'; '.join(f'{SPLIT_NAMES[split]} {show(change)}' for split, change in changes.items())}"
        )
    trial = check_winner(results)
    told.append(f"After equal time, on straight lines again, held-out reward {show(trial.gain)}")
    kept = winner if trial.wins else before
    comparison = f"Three seeds each, {winner.label} against {before.label}. {'. '.join(told)}."
    return f"{comparison} It {trial.outcome}: the emoji world has {kept.label}."


def list_origins(results: Results) -> str:
    """Date, machine and commit of each result, and the command of each training."""
    rows = []
    for name, result in results.found.items():
        origin = result["origin"]
        command = f"`{result['command']}`" if "command" in result else ""
        rows.append((name, origin["date"], origin["machine"], origin["commit"], command))
    return make_table(("result", "date", "machine", "commit", "command"), rows)


def make_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=HERE / "results", help="where they are kept (%(default)s)")
    parser.add_argument("--output", type=Path, default=HERE, help="folder of study.md (%(default)s)")
    parsed = parser.parse_args(arguments)
    write_text(parsed.output / "study.md", render(read_results(parsed.results), parsed.output))
    print(parsed.output / "study.md")


if __name__ == "__main__":
    main()
