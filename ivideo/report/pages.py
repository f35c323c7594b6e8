"""Pages that open from disk, offline: the report of a comparison, with numbers, charts and the clips themselves."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import quote

from ivideo.files.atomic import explain_os_error, write_text
from ivideo.video.reader import read_video
from ivideo.video.writer import default_suffix, nearest_fps, write_video

PAGES = Path(__file__).with_name("web")
MAX_EMBEDDED_BYTES = 24_000_000
MIME_TYPES = {".mp4": "video/mp4", ".m4v": "video/mp4", ".webm": "video/webm", ".gif": "image/gif"}


def build_page(template: str, title: str, styles: Sequence[str], scripts: Sequence[str], data: Any) -> str:
    """Put a page's HTML together from its parts in `web/`.

    The page's own policy lets it run this very script and style (by their SHA-256) and load videos and pictures
    from itself or the disk, nothing else; what stands in `data` can't become markup or code.

    Args:
        template: name of the HTML, with the places $title, $policy, $style, $data and $script.
        title: plain text.
        styles: names of CSS files, in order.
        scripts: names of JavaScript files, in order.
        data: what `json.dumps` takes, with finite numbers; the script reads it from the element "data".
    """
    style, script = ("\n".join(_read(name) for name in names) for names in (styles, scripts))
    policy = (
        f"default-src 'none'; script-src '{_digest(script)}'; style-src '{_digest(style)}'; "
        "img-src 'self' data: file:; media-src 'self' data: file:; base-uri 'none'; form-action 'none'"
    )
    return Template(_read(template)).substitute(
        title=html.escape(title).encode("ascii", "xmlcharrefreplace").decode(),
        policy=policy,
        style=style,
        script=script,
        data=escape_json(data),
    )


def escape_json(value: Any) -> str:
    """JSON in plain ASCII that can stand inside <script>: no <, > or &, so no tag or comment can begin or end there."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def data_uri(path: Path) -> str:
    """A video file, of a kind that `MIME_TYPES` knows, as a URI that holds all of it.

    Raises:
        IvideoError: it can't be read.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise explain_os_error("read", path, error) from error
    return f"data:{MIME_TYPES[path.suffix.lower()]};base64,{base64.b64encode(content).decode('ascii')}"


def relative_uri(path: str) -> str:
    """A path relative to the page as a URI: every character that means something in one is escaped."""
    return quote(path.replace("\\", "/"), safe="/.-_~")


def _read(name: str) -> str:
    return (PAGES / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


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

    Raises:
        IvideoError: a video can't be read, or the page can't be written.
    """
    first, *others = [candidate["name"] for candidate in results["contestants"]]
    paths = {clip["video"] for row in results["rows"] for clip in row["clips"] if clip["video"]}
    page = build_page(
        "report.html",
        f"{', '.join(others)} against {first}",
        ("common.css", "report.css"),
        ("dom.js", "player.js", "charts.js", "overview.js", "clips.js", "settings.js", "report.js"),
        {"results": results, "sources": locate_videos(folder, sorted(paths), max_embedded_bytes), "meanings": meanings},
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
