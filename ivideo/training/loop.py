"""Training from a step to its end: steps, logs, checkpoints and evaluations, in an order that bears being cut off."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np

from ivideo.config.settings import FinetuneSettings
from ivideo.errors import IvideoError
from ivideo.files.records import JsonLines
from ivideo.files.run_folder import RunFolder
from ivideo.models.lora import restore_lora
from ivideo.processes import StopRequested, StopSignals, is_true_anywhere, tell_all
from ivideo.progress import Progress
from ivideo.training.checkpoints import checkpoint_path, copy_adapter, prune_checkpoints, write_checkpoint
from ivideo.training.heldout import Decision, Evaluation, decide
from ivideo.training.logs import read_evaluations
from ivideo.training.profile import EVALUATION, KEEPING
from ivideo.training.record import Recorder
from ivideo.training.step import StepMetrics, Trainer

Evaluate = Callable[[int], Evaluation]
"""`evaluate(step) -> Evaluation` of the held-out prompts with the adapter as it stands after that step."""


def is_evaluated(step: int, settings: FinetuneSettings) -> bool:
    """Whether the held-out prompts are looked at after a step: at the base, every `eval_every` steps and at the end."""
    is_between = settings.eval_every > 0 and step % settings.eval_every == 0
    return settings.evaluate and (step in (0, settings.max_steps) or is_between)


class TrainingLoop:
    """One run's training, from where the trainer stands.

    A step's checkpoint is written before its evaluation, and what an evaluation leads to is decided by the lines of
    evaluations.jsonl alone: wherever training is cut off, it goes on from its newest checkpoint as if it never was.
    Only the main process writes.
    """

    def __init__(
        self,
        trainer: Trainer,
        run: RunFolder,
        evaluate: Evaluate,
        recorder: Recorder,
        signals: StopSignals,
        progress: Progress,
    ) -> None:
        """Read the evaluations so far from the run's folder.

        Args:
            trainer: where it stands when the loop begins.
            run: keeps logs, checkpoints and the best adapter.
            evaluate: makes and scores the held-out clips.
            recorder: is shown every step and evaluation.
            signals: end the loop after a step.
            progress: is told what happens.
        """
        self.trainer, self.run, self.evaluate, self.recorder = trainer, run, evaluate, recorder
        self.signals, self.progress = signals, progress
        self.settings, self.processes = trainer.settings, trainer.accelerator
        self.is_main = self.processes.is_main_process
        self.evaluations: list[dict[str, Any]] = read_evaluations(run)
        self.seen: dict[int, Evaluation] = {}  # the base's and the best's, with their clips
        self.num_skipped = trainer.num_skipped
        self.recent: list[StepMetrics] = []
        self.profile: dict[str, Any] | None = None

    @property
    def decision(self) -> Decision:
        """What the evaluations so far say."""
        return decide(self.evaluations, self.settings) if self.evaluations else Decision(0, None)

    def train(self, step: int) -> int:
        """Train on after `step` steps, to the last one or to a reason to stop; gives the number of steps done.

        Raises:
            StopRequested: a signal came; where training stands is saved.
            IvideoError: too many steps in a row without a finite loss and gradient; the last good state is saved.
        """
        self._save(step)
        self._keep_best()
        with JsonLines(self.run.metrics) if self.is_main else nullcontext() as lines:
            with self.trainer.timer.phase(EVALUATION):
                self._evaluate_if_due(step)
            self.progress.start("training", self.settings.max_steps, step)
            while step < self.settings.max_steps and self.decision.stop_reason is None:
                metrics = self.trainer.train_step(step)
                step = metrics.step
                with self.trainer.timer.phase(KEEPING):
                    self._log(metrics, lines)
                    self._save_if_due(step, lines)
                with self.trainer.timer.phase(EVALUATION):
                    self._evaluate_if_due(step)
                self.progress.advance(self._describe_progress())
            self.progress.finish()
        self.profile = self.trainer.timer.report()
        return step

    def _log(self, metrics: StepMetrics, lines: JsonLines | None) -> None:
        if lines is not None:
            lines.write(metrics.record())
            self.recorder.see_step(metrics.record())
        if metrics.num_skipped > self.num_skipped:
            self.num_skipped = metrics.num_skipped
            self.progress.warn(f"step {metrics.step} is left out: its loss or gradient is no finite number")
        self.recent = [*self.recent[-9:], metrics]

    def _describe_progress(self) -> str:
        """How the last ten steps went, and the newest evaluation."""
        reward, seconds = (np.mean([getattr(m, name) for m in self.recent]) for name in ("reward", "seconds"))
        heldout = f", held-out {self.evaluations[-1]['values']['reward']:.4f}" if self.evaluations else ""
        return f"reward {reward:.4f}{heldout}, {seconds:.1f} s a step"

    def _save_if_due(self, step: int, lines: JsonLines | None) -> None:
        is_stopped = is_true_anywhere(self.signals.received is not None, self.processes)
        is_hopeless = self.trainer.num_bad_in_row >= self.settings.max_bad_steps
        is_due = step % self.settings.save_every == 0 or step == self.settings.max_steps
        if is_due or is_stopped or is_hopeless or is_evaluated(step, self.settings):
            if lines is not None:
                lines.sync()
            self._save(step)
        if is_hopeless:
            raise IvideoError(self._explain_bad_steps(step))
        if is_stopped:
            raise StopRequested

    def _save(self, step: int) -> None:
        if self.is_main:
            write_checkpoint(self.run, step, self.trainer)
            prune_checkpoints(self.run, self.settings, self.evaluations)

    def _explain_bad_steps(self, step: int) -> str:
        settings = self.settings
        clip = "" if settings.max_grad_norm else " or set `max_grad_norm`"
        return (
            f"{settings.max_bad_steps} steps in a row, up to step {step}, had no finite loss and gradient: lower "
            f"`learning_rate` (now {settings.learning_rate:g}){clip} and start anew; the last good state is kept in "
            f"{checkpoint_path(self.run, step)}"
        )

    def _evaluate_if_due(self, step: int) -> None:
        if not is_evaluated(step, self.settings) or any(record["step"] == step for record in self.evaluations):
            return
        record = tell_all(self._evaluate(step) if self.is_main else None, self.processes)
        if record is None:
            raise StopRequested
        self.evaluations.append(record)
        self.seen = {known: self.seen[known] for known in {0, self.decision.best_step} & self.seen.keys()}
        if self.is_main:
            with JsonLines(self.run.evaluations) as lines:
                lines.write(record)
                lines.sync()
            prune_checkpoints(self.run, self.settings, self.evaluations)
            self.recorder.see_evaluation(self.evaluations, self.decision.best_step)
        self._keep_best()

    def _evaluate(self, step: int) -> dict[str, Any] | None:
        """A line of evaluations.jsonl; None if a signal came."""
        try:
            with self.signals.safe_points():
                self.seen[step] = self.evaluate(step)
                if step:
                    self.recorder.keep_grid(self._base(step), self.seen[step])
                return self.seen[step].record()
        except StopRequested:
            return None
        except IvideoError as error:
            raise IvideoError(
                f"held-out clips after step {step}: {error}; it is kept in {self.run.checkpoints}"
            ) from error

    def _base(self, step: int) -> Evaluation:
        """The base's evaluation; a run that is gone on with after a step makes its clips again."""
        if 0 not in self.seen:
            restore_lora(self.trainer.model.network, checkpoint_path(self.run, 0))
            self.seen[0] = self.evaluate(0)
            restore_lora(self.trainer.model.network, checkpoint_path(self.run, step))
        return self.seen[0]

    def _keep_best(self) -> None:
        """Keep the best adapter so far; the base's only where training ends without a better one."""
        if self.is_main and self.evaluations and (self.decision.best_step or self.decision.stop_reason):
            copy_adapter(checkpoint_path(self.run, self.decision.best_step), self.run.best, self.trainer.model)
