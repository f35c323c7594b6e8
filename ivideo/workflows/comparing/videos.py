"""The videos that a comparison's models make: what lies there already is kept, the rest is made, model by model."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from ivideo.config.settings import GenerationSettings
from ivideo.errors import IvideoError
from ivideo.io.video import default_suffix, write_video
from ivideo.io.video_reader import open_video
from ivideo.models.lora import adapter_off
from ivideo.models.text_to_video import TextToVideoModel
from ivideo.workflows.comparing.contestants import Contestant
from ivideo.workflows.comparing.pairing import Row
from ivideo.workflows.comparing.recipes import Recipe
from ivideo.workflows.generation import describe_generation, generate_clip, open_model, warn_of_prompts
from ivideo.workflows.progress import Progress


@dataclass(frozen=True)
class VideoMaker:
    """A contestant that makes videos.

    Attributes:
        contestant: a model, with or without an adapter.
        settings: its own.
        recipe: what its clips depend on.
        folder: where they lie.
    """

    contestant: Contestant
    settings: GenerationSettings
    recipe: Recipe
    folder: Path

    def path_of(self, row: Row) -> Path:
        """The file of a row's clip; of one kind for all, so that mp4s of another machine are no match for GIFs."""
        return self.folder / f"{row.name}{default_suffix()}"

    @property
    def base(self) -> tuple[object, ...]:
        """Which weights it needs in memory, whatever the adapter."""
        settings = self.settings
        return settings.model, settings.unet, settings.device, settings.dtype

    def find_missing(self, rows: Sequence[Row]) -> list[Row]:
        """The rows whose video is not there, or was made otherwise."""
        return [row for row in rows if not self._is_made(row)]

    def _is_made(self, row: Row) -> bool:
        try:
            said = open_video(self.path_of(row)).metadata
        except IvideoError:
            return False
        return (said.get("prompt"), said.get("seed"), said.get("recipe")) == (row.prompt, row.seed, self.recipe.digest)

    def make(self, row: Row, model: TextToVideoModel) -> Path:
        """Make a row's video and write it, with what it says of itself."""
        assert row.seed is not None, "only ready videos have no seed"
        values, settings = self.recipe.values, self.settings
        frames = generate_clip(model, settings, row.prompt, row.seed)
        about = describe_generation(settings, row.prompt, row.seed, frames, self.contestant.adapter)
        made = {"device": values["device"], "dtype": values["dtype"], "ivideo_version": values["ivideo_version"]}
        hashes = {"adapter_hash": self.recipe.adapter_hash, "recipe": self.recipe.digest}
        return write_video(self.path_of(row), frames, settings.fps, {**about, **made, **hashes})


def make_videos(makers: Sequence[VideoMaker], rows: Sequence[Row], progress: Progress) -> None:
    """Make every video that is missing; each is written as soon as it is made, and none is kept in memory.

    Models are opened one after the other. Adapters go first, so that bad ones show before long work, and the base of an
    adapter is the same model with the adapter switched off; there is no second copy of it.

    Args:
        makers: who makes them.
        rows: what each of them makes.
        progress: is told what happens.

    Raises:
        IvideoError: a model or an adapter cannot be loaded, or a file cannot be written.
    """
    missing = {maker.folder: maker.find_missing(rows) for maker in makers}
    for maker in makers:
        if kept := len(rows) - len(missing[maker.folder]):
            progress.say(f"videos of {maker.contestant.name}: {kept} of {len(rows)} are there already")
    model: TextToVideoModel | None = None
    opened: tuple[object, ...] = ()
    for maker in _order([maker for maker in makers if missing[maker.folder]]):
        if model is None or maker.contestant.adapter or maker.base != opened:
            model = None  # the first one goes before the second comes
            model, opened = open_model(maker.settings, maker.contestant.adapter), maker.base
        with nullcontext() if maker.contestant.adapter else adapter_off(model.unet):
            _make_rows(maker, missing[maker.folder], model, progress)


def _order(makers: Sequence[VideoMaker]) -> list[VideoMaker]:
    """Those of the same weights one after the other, the adapters of each before their base."""
    bases = list(dict.fromkeys(maker.base for maker in makers))
    return sorted(makers, key=lambda maker: (bases.index(maker.base), maker.contestant.adapter is None))


def _make_rows(maker: VideoMaker, rows: Sequence[Row], model: TextToVideoModel, progress: Progress) -> None:
    warn_of_prompts(model, list(dict.fromkeys(row.prompt for row in rows)), progress)
    progress.start(f"videos of {maker.contestant.name}", len(rows))
    for row in rows:
        maker.make(row, model)
        progress.advance()


def name_folders(names: Sequence[str]) -> list[str]:
    """Each contestant's folder: its name without what file systems dislike ("mine-@0.5"), unlike the others'."""
    given: list[str] = []
    for name in names:
        plain = "".join(c if c.isalnum() or c in "._@-" else "-" for c in name).strip(".-") or "contestant"
        shown, number = plain, 2
        while shown.lower() in {other.lower() for other in given}:
            shown, number = f"{plain}-{number}", number + 1
        given.append(shown)
    return given
