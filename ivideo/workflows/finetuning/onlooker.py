"""Who watches a training and changes nothing of it: curve, grids and trackers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ivideo.io.files import read_json_lines
from ivideo.io.run_folder import RunFolder
from ivideo.models.judges import labels_of
from ivideo.workflows.finetuning.guard import Record
from ivideo.workflows.finetuning.heldout import Evaluation
from ivideo.workflows.finetuning.pictures import draw_curve, write_grid
from ivideo.workflows.finetuning.tracking import Track, open_tracker
from ivideo.workflows.finetuning.workshop import Workshop


class Onlooker:
    """Shows a run as it goes on; only the main process has anything to show."""

    def __init__(self, run: RunFolder, shop: Workshop, track: Track) -> None:
        """Look on.

        Args:
            run: where pictures are kept.
            shop: what the run is worked on with.
            track: gets every record.
        """
        self.run, self.shop, self.track = run, shop, track

    def see_step(self, record: Record) -> None:
        """A step is done."""
        self.track(record, "train")

    def keep_grid(self, before: Evaluation, now: Evaluation) -> None:
        """An evaluation has clips."""
        write_grid(self.run, self.shop.kept, before, now, self.shop.settings)

    def see_evaluation(self, evaluations: Sequence[Record], best_step: int) -> None:
        """An evaluation is judged; it is the last one of those so far."""
        self.track(evaluations[-1], "heldout")
        self.draw_curve(evaluations, best_step)

    def draw_curve(self, evaluations: Sequence[Record], chosen_step: int) -> None:
        """Draw the run as far as its logs go."""
        shop = self.shop
        title = f"{shop.settings.model}: {len(shop.training)} prompts"
        metrics = read_json_lines(self.run.metrics)
        draw_curve(self.run, metrics, evaluations, shop.settings, title, labels_of(shop.judge), chosen_step)


@contextmanager
def open_onlooker(run: RunFolder, shop: Workshop) -> Iterator[Onlooker]:
    """Lend an onlooker, with the tracker that the settings name.

    Raises:
        IvideoError: the tracker cannot be opened.
    """
    with open_tracker(shop.settings if shop.processes.is_main_process else None, run) as track:
        yield Onlooker(run, shop, track)
