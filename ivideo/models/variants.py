"""Which files a part of a model is loaded from: the plain weights, or a variant of them such as fp16."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from ivideo.errors import UsageError

PLAIN = "plain"  # what weights are called that are no variant
WEIGHTS = re.compile(
    r"(?:diffusion_pytorch_model|pytorch_model|model)(?:\.(\w+))?(?:-\d+-of-\d+)?(?:\.(\w+))?\.(?:safetensors|bin)"
)


def list_files(location: str) -> list[str]:
    """The files of a model by their paths in it, as far as they are known without a word of the hub.

    Args:
        location: a local folder, or a hub id.
    """
    folder = Path(location)
    if not folder.is_dir():
        import huggingface_hub

        try:
            return huggingface_hub.list_repo_files(location)
        except Exception:  # what is wrong with it is told where it is loaded
            cached = huggingface_hub.try_to_load_from_cache(location, "model_index.json")
            if not isinstance(cached, str):
                return []
            folder = Path(cached).parent
    return [path.relative_to(folder).as_posix() for path in sorted(folder.glob("*/*"))]


def choose_variants(
    name: str, location: str, parts: Iterable[str], asked: str | None
) -> tuple[dict[str, str], list[str]]:
    """The variant of each part that is not loaded from plain weights.

    Args:
        name: how the user called the model.
        location: a local folder, or a hub id.
        parts: folders in it.
        asked: the one to take where there is a choice; None: plain weights.

    Returns:
        Variants by part, and what people should be told: where it is not the one that they asked for.

    Raises:
        UsageError: no part has the one that is asked for.
    """
    there: dict[str, set[str]] = {part: set() for part in parts}
    for path in list_files(location):
        part, _, file = path.partition("/")
        if part in there and (match := WEIGHTS.fullmatch(file)):
            there[part].add(match[1] or match[2] or PLAIN)
    known = sorted(set().union(*there.values()) - {PLAIN})
    if asked and any(there.values()) and asked not in known:
        raise UsageError(f"`variant` {asked}: {name} has {', '.join(known) or 'no variants, only plain weights'}")
    wanted = asked or PLAIN
    chosen, remarks = dict[str, str](), dict[str, list[str]]()
    for part, found in there.items():
        own = wanted if wanted in found or not found else PLAIN if PLAIN in found else min(found)
        if found and own != PLAIN:
            chosen[part] = own
        if own != wanted:
            remarks.setdefault(own, []).append(part)
    told = [
        f"model {name}: there are no {wanted} weights of {', '.join(where)}; the {own} ones are taken (`variant`)"
        for own, where in remarks.items()
    ]
    return chosen, told


def name_plainly(file: str, variant: str | None) -> str | None:
    """What a file of a part is called where its variant's weights are the plain ones; None if it is not needed there.

    Args:
        file: its name.
        variant: whose weights are used; None for the plain ones.
    """
    is_index = re.fullmatch(r"(\w+\.(?:safetensors|bin)\.index)(?:\.(\w+))?\.json", file)
    match = is_index or WEIGHTS.fullmatch(file)
    if match is None:
        return file
    own = match[2] if is_index else match[1] or match[2]
    if own != variant:
        return None
    return file if own is None else re.sub(rf"\.{re.escape(own)}(?=[.-])", "", file, count=1)
