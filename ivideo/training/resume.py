"""Resuming: which run is gone on with, from which checkpoint, and that it computes what it would have computed."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from ivideo.config.fields import Resume, names_by_resume
from ivideo.config.merge import merge_settings, read_run_settings, read_settings_file
from ivideo.config.presets import choose_model, preset_for
from ivideo.config.settings import FinetuneSettings
from ivideo.errors import IvideoError, UsageError
from ivideo.files.atomic import remove_folder, sweep_temporaries
from ivideo.files.reading import check_file
from ivideo.files.records import write_json_lines
from ivideo.files.run_folder import RunFolder, open_run_folder
from ivideo.inputs.clip_lists import Source
from ivideo.inputs.prompts import are_same, read_prompts, unique_prompts
from ivideo.inputs.settings import shown
from ivideo.processes import tell_all
from ivideo.progress import Progress
from ivideo.rewards.registry import runs_code
from ivideo.training.checkpoints import (
    NAME,
    Checkpoint,
    binding_settings,
    checkpoint_path,
    digest_prompts,
    list_checkpoints,
    read_checkpoint,
    step_of,
)
from ivideo.training.heldout import decide, split_heldout
from ivideo.training.logs import read_evaluations, read_metrics, read_summary
from ivideo.training.loop import is_evaluated
from ivideo.training.real_clips import split_source

AUTO = "auto"
RUNS = Path("runs")  # where runs lie that were given no output


@dataclass(frozen=True)
class Resumable:
    """What was named to be resumed.

    Attributes:
        run: the run.
        checkpoint: the checkpoint that was named; None for the newest.
        falls_back: whether an older one may take its place where the newest is damaged, since nobody named any.
    """

    run: RunFolder
    checkpoint: Path | None = None
    falls_back: bool = False


def find_resumable(resume: str | Path, output: Path | None, progress: Progress) -> Resumable | None:
    """The run to go on with; None if `auto` finds none and a new one is to be started.

    Args:
        resume: a run folder, one of its checkpoints, or `auto`: the run in `output`, finished or not; without `output`
            the unfinished one under runs/ that was started last.
        output: the folder that was asked for, if any.
        progress: is told what `auto` found.

    Raises:
        UsageError: `output` is another folder than the run.
        IvideoError: no run there, or its configuration is damaged.
    """
    path = Path(resume)
    if str(resume) == AUTO:
        return _find_newest(output, progress)
    named = path if NAME.fullmatch(path.name) and path.parent.name == RunFolder(path).checkpoints.name else None
    run = open_run_folder(named.parent.parent if named else path)
    if output is not None and output.resolve() != run.root.resolve():
        raise UsageError(f"`output` {output} is not the run {run.root} that is gone on with: leave it out")
    return Resumable(run, named)


def _find_newest(output: Path | None, progress: Progress) -> Resumable | None:
    configs = [RunFolder(output).config] if output else list(RUNS.glob("*/config.toml"))
    runs = [RunFolder(config.parent) for config in sorted(configs, key=_modified) if config.is_file()]
    unfinished = runs if output else [run for run in runs if not is_finished(run, read_run_settings(run))]
    if not unfinished:
        progress.say(f"no run to go on with in {output or RUNS}: a new one is started")
        return None
    progress.say(f"going on with {unfinished[-1].root}")
    return Resumable(unfinished[-1], falls_back=True)


def _modified(path: Path) -> float:
    return path.stat().st_mtime if path.is_file() else 0.0


def is_finished(run: RunFolder, settings: FinetuneSettings) -> bool:
    """Whether a run reached its last step, or a reason to stop, and its summary is written.

    Raises:
        IvideoError: the summary is damaged.
    """
    if not os.path.lexists(run.summary):
        return False
    summary = read_summary(run, only_end=True)
    return bool(summary["num_steps"] >= settings.max_steps or summary.get("stop_reason"))


def resumed_settings(run: RunFolder, flags: Mapping[str, Any], config: Path | None) -> FinetuneSettings:
    """The run's settings with those that were given now, which may only differ in what does not change the run.

    Args:
        run: the run.
        flags: by field name; None means not given. `preset` names a preset.
        config: TOML file of settings.

    Raises:
        UsageError: one would change what the run computes; or its reward is code and was not named again.
        IvideoError: the run's configuration or the file cannot be read.
    """
    own = read_run_settings(run)
    given = {name: value for name, value in flags.items() if value is not None}
    file = read_settings_file(config, FinetuneSettings) if config else {}
    preset = given.pop("preset", None) or file.pop("preset", None)
    file = {**(preset_for(own.model, preset) if preset else {}), **file}
    if "model" in given:
        given["model"] = choose_model(given["model"])
    if runs_code(own.rewards) and not given.get("reward"):
        raise UsageError(f"the run's reward {shown(own.reward)} is code: it is run only if `reward` names it again")
    asked = merge_settings(FinetuneSettings, own.model_dump(), file, given)
    if own.rewards[: len(asked.rewards)] == asked.rewards:  # a second one may have been found when it began
        asked = asked.model_copy(update={"reward": own.reward})
    _check_same(run, own, asked)
    return asked


def _check_same(run: RunFolder, own: FinetuneSettings, asked: FinetuneSettings) -> None:
    old, new = own.model_dump(), asked.model_dump()
    changed = [name for name in new if new[name] != old[name]]
    longer = names_by_resume(type(asked), Resume.LONGER)
    grown = [name for name in longer if own.lr_schedule == "constant" and new[name] > old[name]]
    free = [*names_by_resume(type(asked), Resume.FREE), *grown]
    if bound := [f"`{name}` {new[name]} (the run has {old[name]})" for name in changed if name not in free]:
        rule = "; steps can only be added, and only to a constant learning rate"
        reason = rule if {*changed} & {*longer} else ""
        raise UsageError(f"`resume` {run.root}: {', '.join(bound)} would change what it computes{reason}")


def read_run_prompts(run: RunFolder) -> tuple[list[str], list[str]]:
    """The prompts that a run trains on, and its held-out ones.

    Raises:
        IvideoError: they cannot be read.
    """
    training, kept = (
        read_prompts(path) if check_file(path).stat().st_size else [] for path in (run.prompts, run.heldout)
    )
    return training, kept


def check_same_prompts(
    run: RunFolder, settings: FinetuneSettings, source: Source | None, heldout: Sequence[str] | None
) -> None:
    """Hold prompts, or the captions of clips, that were given again against the run's.

    Args:
        run: the run.
        settings: its own; they say which prompts are held out.
        source: prompts or clips that were given; None: none were.
        heldout: held-out prompts, likewise.

    Raises:
        UsageError: they are others.
    """
    training, kept = read_run_prompts(run)
    prompts = None if source is None else split_source(source)[0]
    if prompts is not None and not any(
        are_same(training, given)
        for given in (unique_prompts(chain(*prompts)), split_heldout(prompts, settings, heldout)[0])
    ):
        raise UsageError(f"`resume` {run.root}: `prompts` are not those in {run.prompts}: leave them out")
    if heldout is not None and not are_same(split_heldout(training, settings, heldout)[1], kept):
        raise UsageError(f"`resume` {run.root}: the held-out prompts are not those in {run.heldout}: leave them out")


def open_checkpoint(
    found: Resumable, settings: FinetuneSettings, prompts: Sequence[str | Sequence[str]]
) -> Checkpoint | None:
    """The checkpoint to go on from; None if the run was cut off before its first one.

    Args:
        found: the run, and the checkpoint that was named.
        settings: of the run as it goes on.
        prompts: that it trains on, those of each clip where clips are real.

    Raises:
        IvideoError: it is missing, damaged, or does not belong to the run's settings and prompts.
    """
    run, paths = found.run, list_checkpoints(found.run)
    if found.checkpoint is None and not paths:
        if done := read_metrics(run):
            raise IvideoError(f"run {run.root} did {len(done)} steps but has no checkpoint any more: start anew")
        return None
    checkpoint = read_checkpoint(found.checkpoint or paths[-1])
    if checkpoint.prompts != digest_prompts(prompts):
        raise IvideoError(f"checkpoint {checkpoint.path} was made with other prompts than {run.prompts} has now")
    wanted = binding_settings(settings)
    others = [name for name, value in checkpoint.settings.items() if name in wanted and wanted[name] != value]
    if others:
        named = ", ".join(others)
        raise IvideoError(f"checkpoint {checkpoint.path} was made with another {named} than {run.config} has")
    return checkpoint


def pass_over_damage(
    run: RunFolder, settings: FinetuneSettings, processes: Accelerator, progress: Progress
) -> Resumable:
    """The run with its newest whole checkpoint, as the main process finds it; see `find_whole_checkpoint`."""
    whole = find_whole_checkpoint(run, settings, progress) if processes.is_main_process else None
    return Resumable(run, tell_all(whole, processes))


def find_whole_checkpoint(run: RunFolder, settings: FinetuneSettings, progress: Progress) -> Path | None:
    """The newest checkpoint that is whole, as are the logs and the best checkpoint before it; None without any.

    Args:
        run: whose checkpoints.
        settings: of the run as it goes on.
        progress: is warned of newer ones that are passed over.

    Raises:
        IvideoError: there are some, and all are damaged; tells of the newest.
    """
    paths = list_checkpoints(run)
    troubles: list[IvideoError] = []
    for path in reversed(paths):
        try:
            read_checkpoint(path, advice="")
            read_logs(run, settings, step_of(path), advice="")
        except IvideoError as error:
            troubles.append(error)
            continue
        for trouble in troubles:
            progress.warn(f"{trouble}; going on from {path} instead")
        return path
    if troubles:
        raise IvideoError(f"{troubles[0]}; it has none older that is whole: start anew")
    return None


def read_logs(
    run: RunFolder, settings: FinetuneSettings, step: int, advice: str | None = None
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], int]:
    """Metrics, evaluations and the best step as they were when a step's checkpoint was written.

    Args:
        run: whose logs.
        settings: of the run; they say which steps were evaluated.
        step: of the checkpoint; 0 without one.
        advice: what an error ends with; by default what can be done.

    Raises:
        IvideoError: metrics, an evaluation or the best checkpoint before the step are missing.
    """
    ending = ": the run cannot be gone on with; start anew" if advice is None else advice
    metrics = [record for record in read_metrics(run) if record["step"] <= step]
    if [record["step"] for record in metrics] != list(range(1, step + 1)):
        raise IvideoError(f"{run.metrics} lacks steps before {step}{ending}")
    found = [record for record in read_evaluations(run) if record["step"] <= step]
    evaluations = [record for record in found if is_evaluated(record["step"], settings)]
    due = [earlier for earlier in range(step) if is_evaluated(earlier, settings)]
    if [record["step"] for record in evaluations if record["step"] < step] != due:
        raise IvideoError(f"{run.evaluations} lacks one before step {step}{ending}")
    best = decide(evaluations, settings).best_step if evaluations else 0
    if evaluations:
        read_checkpoint(checkpoint_path(run, best), advice)
    return metrics, evaluations, best


def cut_back(run: RunFolder, settings: FinetuneSettings, step: int) -> None:
    """Make the run's folder what it was when a step's checkpoint was written, which training then goes on from.

    Metrics and evaluations of later steps and later checkpoints go, as do half-written files.

    Args:
        run: the run; nobody else may be writing there.
        settings: of the run; they say which steps were evaluated.
        step: of the checkpoint; 0 without one.

    Raises:
        IvideoError: metrics, an evaluation or the best checkpoint before the step are missing.
    """
    metrics, evaluations, best = read_logs(run, settings, step)
    run.summary.unlink(missing_ok=True)  # it says that the run is finished
    sweep_temporaries(run.root)
    for path in list_checkpoints(run):
        if step_of(path) > step:
            remove_folder(path)
    if run.best.is_dir() and not best:
        remove_folder(run.best)
    write_json_lines(run.metrics, metrics)
    if settings.evaluate:
        write_json_lines(run.evaluations, evaluations)
