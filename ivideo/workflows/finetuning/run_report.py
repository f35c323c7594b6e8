"""The end of a run: what training changed on the held-out prompts, as a picture, videos and numbers."""

from __future__ import annotations

import time
from typing import Any

from ivideo.io.files import write_json
from ivideo.io.run_folder import RunFolder
from ivideo.models.judges import labels_of
from ivideo.models.lora import restore_lora
from ivideo.workflows.finetuning.checkpoints import checkpoint_path, copy_adapter
from ivideo.workflows.finetuning.heldout import Evaluation, write_before_after
from ivideo.workflows.finetuning.loop import TrainingLoop
from ivideo.workflows.finetuning.workshop import Workshop
from ivideo.workflows.scoring import compare_rewards, compare_scores

SCHEMA_VERSION = 1


def report_run(run: RunFolder, shop: Workshop, loop: TrainingLoop, num_steps: int, started: float) -> None:
    """Write the last adapter, curve, videos and, last of all, the summary, which says that the run is finished.

    Before is the base, after is the chosen adapter: the best by held-out reward, else the last step's.

    Args:
        run: its folder.
        shop: what it was worked on with; its model is left with the chosen adapter.
        loop: the training that is done.
        num_steps: optimiser steps that were done.
        started: `time.monotonic()` at the beginning.
    """
    copy_adapter(checkpoint_path(run, num_steps), run.adapter)
    chosen = loop.verdict.best_step if loop.evaluations else num_steps
    changes: dict[str, Any] = {"heldout": {}, "heldout_rewards": {}, "videos": []}
    if shop.kept:
        before, after = (evaluate_fully(run, shop, loop, step) for step in (0, chosen))
        videos = write_before_after(run, shop.kept, before, after, shop.settings, shop.start)
        changes = {
            "heldout": compare_scores(shop.kept, before.scores, after.scores),
            "heldout_rewards": compare_rewards(shop.kept, before.scores, after.scores),
            "videos": [str(path) for path in videos],
        }
    loop.onlooker.draw_curve(loop.evaluations, chosen)
    summary = summarise(run, shop, loop, num_steps, chosen)
    write_json(run.summary, {**summary, **changes, "seconds": round(time.monotonic() - started, 1)})


def evaluate_fully(run: RunFolder, shop: Workshop, loop: TrainingLoop, step: int) -> Evaluation:
    """All held-out prompts with a checkpoint's adapter; clips that training saw already are not made again."""
    restore_lora(shop.model.unet, checkpoint_path(run, step))
    return shop.evaluate(step, watched_only=False, known=loop.seen.get(step))


def summarise(run: RunFolder, shop: Workshop, loop: TrainingLoop, num_steps: int, chosen: int) -> dict[str, Any]:
    """The run in one JSON object, but for its changes."""
    return {
        "schema_version": SCHEMA_VERSION,
        "run": str(run.root),
        "model": shop.settings.model,
        "unet": shop.settings.unet,
        "reward": shop.judge.name,
        "reward_label": shop.judge.label,
        "judges": labels_of(shop.judge),
        "num_steps": num_steps,
        "num_skipped": loop.trainer.num_skipped,
        "chosen_step": chosen,
        "stop_reason": loop.verdict.stop_reason,
        "evaluations": [{"step": record["step"], **record["values"]} for record in loop.evaluations],
        "profile": loop.profile,
        "adapter": str(run.chosen),
        "curve": str(run.curve),
    }
