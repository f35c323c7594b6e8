"""Table 1: the base and several trainings on every split, measured by everything that we have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from examples.emoji_world.evaluate import SPLITS, plan_clips, read_splits
from examples.emoji_world.evaluation.report import pool_values, prompt_values
from examples.emoji_world.evaluation.sources import collect_clips, model_source
from ivideo.config.merge import read_run_settings
from ivideo.config.settings import generation_settings

from .plan import NUM_SCORED_FRAMES, Evaluation, all_trainings
from .provenance import describe_origin
from .trainings import Workspace, keep_values, measure


def evaluate_splits(evaluation: Evaluation, workspace: Workspace) -> dict[str, Any]:
    """The result of an evaluation.

    Returns:
        name, origin, num_inference_steps, num_seeds; by split the values by prompt (`keep_values`) of `base`, of each
        training by its name, and `pooled`, the mean over trainings.
    """
    trainings = all_trainings()
    settings = generation_settings(read_run_settings(workspace.run_of(evaluation.trainings[0]))).model_copy(
        update={
            "num_inference_steps": evaluation.num_inference_steps,
            "num_segments": NUM_SCORED_FRAMES,
            "seed": 0,
        }
    )
    adapters = {name: workspace.adapter_of(trainings[name]) for name in evaluation.trainings}
    sources = [model_source("base", settings)]
    sources += [model_source(name, settings, adapter) for name, adapter in adapters.items()]
    plans = {
        split: plan_clips(prompts[:: evaluation.prompt_stride], evaluation.num_seeds, 0)
        for split, prompts in read_splits(SPLITS, None).items()
    }
    splits: dict[str, dict[str, Any]] = {split: {} for split in plans}
    for source in sources:
        for split, plan in plans.items():
            clips = collect_clips(source, plan, workspace.cache, workspace.progress)
            splits[split][source.name] = prompt_values(measure(source.name, clips, plan, settings, workspace))
    return {
        "schema_version": 1,
        "name": evaluation.name,
        "origin": describe_origin(),
        "num_inference_steps": evaluation.num_inference_steps,
        "num_seeds": evaluation.num_seeds,
        "splits": {split: keep_split(values, evaluation.trainings) for split, values in splits.items()},
    }


def keep_split(values: Mapping[str, Any], trainings: Sequence[str]) -> dict[str, Any]:
    """The values of a split to be kept, and those of all trainings pooled."""
    pooled = pool_values([values[name] for name in trainings])
    return {name: keep_values(one) for name, one in {**values, "pooled": pooled}.items()}
