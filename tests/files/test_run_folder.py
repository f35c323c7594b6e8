"""A run's folder is new, and is told apart from what is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from ivideo.errors import IvideoError
from ivideo.files.atomic import prepare_folder
from ivideo.files.run_folder import RunFolder, check_new_run, open_run_folder


def test_a_new_run_is_made_only_when_asked(tmp_path: Path) -> None:
    assert check_new_run(tmp_path / "runs" / "a") == tmp_path / "runs" / "a"
    assert not (tmp_path / "runs").exists()
    run = RunFolder(prepare_folder(tmp_path / "runs" / "a"))
    run.config.write_text("seed = 1\n")
    assert open_run_folder(tmp_path / "runs" / "a") == run
    with pytest.raises(IvideoError, match="is not empty"):
        check_new_run(run.root)


def test_what_is_no_run_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for name, message in {"missing": "does not exist", "file": "is a file", ".": "neither a run folder"}.items():
        with pytest.raises(IvideoError, match=message):
            open_run_folder(tmp_path / name)


@pytest.mark.parametrize("name", ["checkpoints", "clips", "videos", "metrics.jsonl", "tracker/ivideo/hparams.yml"])
def test_a_run_whose_parts_are_links_is_not_worked_on(tmp_path: Path, name: str) -> None:
    link = tmp_path / "run" / name
    link.parent.mkdir(parents=True)
    with RunFolder(tmp_path / "run").lock():
        pass
    link.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(IvideoError, match=f"{link} is a symbolic link"), RunFolder(tmp_path / "run").lock():
        pass


def test_links_that_nothing_is_written_to_are_no_matter(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.checkpoints.mkdir()
    (run.checkpoints / "latest").symlink_to("step_00002")
    (run.root / "notes").symlink_to(tmp_path.parent)
    with run.lock():
        pass


def test_a_mount_point_is_no_new_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "is_mount", lambda path: path == tmp_path)
    with pytest.raises(IvideoError, match=f"output {tmp_path} is a mount point, .*: name a folder in it"):
        check_new_run(tmp_path)
