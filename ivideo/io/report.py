"""The report of a comparison: one page that opens from disk, offline, with numbers, charts and the clips themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ivideo.io.files import explain_os_error, write_text
from ivideo.io.page import MAX_EMBEDDED_BYTES, build_page, data_uri, relative_uri

PAGE_NAME = "report.html"
MEANINGS = {
    "reward": "Mean score of the first frame of each segment by the first judge. Compare it only for the same prompt, the "
    "same judge and the same version. Single frames are judged, so a frozen clip can have a high reward.",
    "attenuated_reward": "The same scores, each weighted by exp(-rate * |frame - centre|): what training maximises.",
    "motion": "Mean optical flow in pixels a frame; 0 for a frozen clip. More is not better, but a fall from the baseline "
    "tells that a higher reward was bought with stillness.",
    "flicker": "VBench's temporal flickering, in [0, 1]: 1 is a frozen clip, less means more change from frame to frame.",
    "motion_smoothness_proxy": "How well each second frame is foretold by its neighbours, in [0, 1]; 1 for a frozen clip.",
    "dynamic_degree": "Share of pairs of neighbouring frames with fast pixels, in [0, 1]; 0 for a frozen clip.",
    "consistency": "How alike the frames' features are to the first and the previous frame's, in [0, 1]; 1 for a frozen clip.",
}


def write_report(folder: Path, results: Mapping[str, Any], *, max_embedded_bytes: int = MAX_EMBEDDED_BYTES) -> Path:
    """Write `report.html` beside the results of a comparison.

    The videos are inside the page while they are small enough together; else the page links to them by relative paths,
    and works wherever the whole folder is.

    Args:
        folder: where the comparison was written; the videos' paths are relative to it.
        results: of the comparison (schema_version 2), with `preference` where people were asked.
        max_embedded_bytes: how much video the page holds at most.

    Returns:
        The page's path.

    Raises:
        IvideoError: a video can't be read, or the page can't be written.
    """
    first, *others = [contestant["name"] for contestant in results["contestants"]]
    paths = {clip["video"] for row in results["rows"] for clip in row["clips"] if clip["video"]}
    page = build_page(
        "report.html",
        f"{', '.join(others)} against {first}",
        ("common.css", "report.css"),
        ("dom.js", "player.js", "charts.js", "overview.js", "clips.js", "settings.js", "report.js"),
        {
            "results": results,
            "sources": locate_videos(folder, sorted(paths), max_embedded_bytes),
            "meanings": {name: text for name, text in MEANINGS.items() if name in results["metrics"]},
        },
    )
    return write_text(folder / PAGE_NAME, page)


def locate_videos(folder: Path, paths: Iterable[str], max_embedded_bytes: int) -> dict[str, str]:
    """Tell where a page in `folder` finds each video that is there.

    Args:
        folder: that the paths are relative to.
        paths: of the videos.
        max_embedded_bytes: up to how much in all they are put into the page.

    Returns:
        URI by path: each holds its video, or each is relative. A missing file has none, nor has a folder of frames.

    Raises:
        IvideoError: a file can't be read.
    """
    files = {path: folder / path for path in paths if (folder / path).is_file()}
    if sum(file.stat().st_size for file in files.values()) > max_embedded_bytes:
        return {path: relative_uri(path) for path in files}
    return {path: _embed(file) for path, file in files.items()}


def _embed(file: Path) -> str:
    try:
        return data_uri(file)
    except OSError as error:
        raise explain_os_error("read", file, error) from error
