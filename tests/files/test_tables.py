"""Tables that every spreadsheet reads."""

from __future__ import annotations

from pathlib import Path

from ivideo.files.records import write_csv


def test_a_table_keeps_commas_and_lines_and_leaves_out_what_is_not_there(tmp_path: Path) -> None:
    path = write_csv(
        tmp_path / "a.csv", ["prompt", "x"], [{"prompt": 'a "cat", a\ndog', "x": 0.5}, {"prompt": "b", "x": None}]
    )
    assert path.read_bytes() == b'prompt,x\n"a ""cat"", a\ndog",0.5\nb,\n'
