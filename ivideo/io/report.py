"""The report of a comparison: one page that opens from disk, offline, with numbers, charts and the clips themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ivideo.io.files import write_text
from ivideo.io.page import MAX_EMBEDDED_BYTES, MIME_TYPES, build_page, data_uri, relative_uri
from ivideo.io.video import default_suffix, nearest_fps, read_video, write_video

PAGE_NAME = "report.html"
VIDEOS_NAME = "report_videos"


def write_report(
    folder: Path,
    results: Mapping[str, Any],
    meanings: Mapping[str, str],
    *,
    max_embedded_bytes: int = MAX_EMBEDDED_BYTES,
) -> Path:
    """Write `report.html` beside the results of a comparison.

    The videos are inside the page while they are small enough together; else the page links to them by relative paths,
    and works wherever the whole folder is.

    Args:
        folder: where the comparison was written; the videos' paths are relative to it.
        results: of the comparison (schema_version 2), with `preference` where people were asked.
        meanings: what each metric is, by its name.
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
            "meanings": meanings,
        },
    )
    return write_text(folder / PAGE_NAME, page)


def locate_videos(folder: Path, paths: Iterable[str], max_embedded_bytes: int) -> dict[str, str]:
    """Tell where a page in `folder` finds each video that is there.

    What no browser plays (gif and avi, say; pictures of a gif can't be stopped) is written as mp4 to `report_videos/`,
    or as gif on a machine without an encoder.

    Args:
        folder: that the paths are relative to.
        paths: of the videos.
        max_embedded_bytes: up to how much in all they are put into the page.

    Returns:
        URI by path: each holds its video, or each is relative. A missing file has none.

    Raises:
        IvideoError: a video can't be read.
    """
    shown = {path: _make_playable(folder, path) for path in paths if (folder / path).exists()}
    if sum((folder / path).stat().st_size for path in shown.values()) > max_embedded_bytes:
        return {path: relative_uri(playable) for path, playable in shown.items()}
    return {path: data_uri(folder / playable) for path, playable in shown.items()}


def _make_playable(folder: Path, path: str) -> str:
    suffix, wanted = Path(path).suffix.lower(), default_suffix()
    if suffix == wanted or (suffix in MIME_TYPES and suffix != ".gif"):
        return path
    video = read_video(folder / path)
    playable = f"{VIDEOS_NAME}/{path}{wanted}"
    write_video(folder / playable, video.frames, nearest_fps(wanted, video.fps), video.metadata)
    return playable
