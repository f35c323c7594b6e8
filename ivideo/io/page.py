"""A web page in one file: style, script and data inside, nothing asked of the network."""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Sequence
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import quote

from ivideo.io.files import explain_os_error

PAGES = Path(__file__).with_name("pages")
MAX_EMBEDDED_BYTES = 24_000_000
MIME_TYPES = {".mp4": "video/mp4", ".m4v": "video/mp4", ".webm": "video/webm", ".gif": "image/gif"}


def build_page(template: str, title: str, styles: Sequence[str], scripts: Sequence[str], data: Any) -> str:
    """Put a page together from its parts in `pages/`.

    The page's own policy lets it run this very script and style (by their SHA-256) and load videos and pictures
    from itself or the disk, nothing else; what stands in `data` can't become markup or code.

    Args:
        template: name of the HTML, with the places $title, $policy, $style, $data and $script.
        title: plain text.
        styles: names of CSS files, in order.
        scripts: names of JavaScript files, in order.
        data: what `json.dumps` takes, with finite numbers; the script reads it from the element "data".

    Returns:
        The HTML.
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
