"""What a comparison checks before any work, where it keeps its videos, and what it warns of."""

from __future__ import annotations

from pathlib import Path

import pytest

from ivideo.comparing.candidates import Candidate, settle_settings
from ivideo.comparing.compare import bring_video, check_asked, check_output, lend_folder, tell_of_models
from ivideo.comparing.pairs import plan_rows
from ivideo.config.settings import GenerationSettings
from ivideo.errors import IvideoError, UsageError
from ivideo.files.run_folder import check_unlocked
from ivideo.inputs.adapters import Adapter
from ivideo.progress import Silence

BASE = Candidate("base")


class Notes(Silence):
    """Keeps what a person should act on."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, message: str) -> None:
        self.warnings.append(message)


def make_adapter(name: str, model: str) -> Candidate:
    return Candidate(name, adapter=Adapter(Path(name), name, {"model": model}))


def settle(*candidates: Candidate) -> list[GenerationSettings]:
    return settle_settings(candidates, config=None, flags={}, progress=Silence())


@pytest.mark.parametrize(
    ("models", "warnings"),
    [
        (("emoji-world", "emoji-world"), []),
        (
            ("modelscope", "emoji-world"),
            ["adapters of different models (x: modelscope, y: emoji-world); base is modelscope"],
        ),
    ],
)
def test_adapters_of_different_models_are_compared_with_a_warning(models: tuple[str, str], warnings: list[str]) -> None:
    candidates = [BASE, *(make_adapter(name, model) for name, model in zip("xy", models, strict=True))]
    settings = settle(*candidates)
    assert [one.model for one in settings] == [models[0], *models]
    notes = Notes()
    tell_of_models(candidates, settings, notes)
    assert notes.warnings == warnings


def test_the_output_may_not_hold_what_is_compared(tmp_path: Path) -> None:
    folder = Candidate("x", folder=tmp_path / "out" / "videos" / "x")
    settings = settle(BASE, BASE)
    check_output(tmp_path / "other", [folder, BASE], settings)
    check_output(None, [folder, BASE], settings)
    for output in (tmp_path / "out", tmp_path / "out" / "videos" / "x"):
        with pytest.raises(UsageError, match="holds the videos that are compared"):
            check_output(output, [BASE, folder], settings)


def test_seeds_are_those_of_folders_where_there_are_any() -> None:
    check_asked([BASE, BASE], ["a cat"], 3)
    with pytest.raises(UsageError, match="the videos in x say the seeds"):
        check_asked([BASE, Candidate("x", folder=Path("x"))], None, 1)
    with pytest.raises(UsageError, match="empty prompt"):
        check_asked([BASE, BASE], ["a cat", " "], None)


def test_without_an_output_videos_do_not_stay(tmp_path: Path) -> None:
    with lend_folder(None) as folder:
        (folder / "x").touch()
    assert not folder.exists()
    with lend_folder(tmp_path) as folder:
        assert folder == tmp_path
    assert tmp_path.exists()


def test_a_gif_brings_along_what_says_what_it_is(tmp_path: Path) -> None:
    (tmp_path / "x.GIF").write_bytes(b"gif")
    (tmp_path / "x.json").write_text("{}")
    (row,) = plan_rows([("a cat", 3)])
    path = bring_video(tmp_path / "x.GIF", tmp_path / "out", row)
    assert path == tmp_path / "out" / "000_a-cat_seed3.gif"
    assert sorted(file.name for file in path.parent.iterdir()) == ["000_a-cat_seed3.gif", "000_a-cat_seed3.json"]
    with pytest.raises(IvideoError, match="No such file"):
        bring_video(tmp_path / "y.mp4", tmp_path / "out", row)


def test_an_output_belongs_to_one_comparison_at_a_time(tmp_path: Path) -> None:
    settings = settle(BASE, BASE)
    with lend_folder(tmp_path / "out") as folder:
        with pytest.raises(IvideoError, match=f"{folder} is in use by process .*: wait for it, or choose another"):
            check_output(folder, [BASE, BASE], settings)
        with pytest.raises(IvideoError, match="is in use"), lend_folder(folder):
            pass
    check_unlocked(folder)
