"""Write `examples/guides/gpu.md` from the results that are kept in `examples/gpu/`.

    python -m examples.gpu_check.page

Numbers come from those files alone. What no file of a GPU has is said to be not measured.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from examples.gpu_check.parts import PARTS, Part
from examples.gpu_check.results import format_cell

EXAMPLES = Path(__file__).resolve().parents[1]
KEPT, PAGE = EXAMPLES / "gpu", EXAMPLES / "guides" / "gpu.md"
MACHINE = (
    "card",
    "memory_gib",
    "driver",
    "cuda",
    "processor",
    "python",
    "torch",
    "diffusers",
    "date",
    "commit",
    "note",
)
NOT_MEASURED = "Not measured on a GPU yet."

HEAD = """# ivideo on a GPU

What `python -m examples.gpu_check` found on the machines below. `python -m examples.gpu_check.page` makes this page
from the files in `examples/gpu/`; only the words between the tables are written by hand.
"""

HOW_TO = """## Measure it on your machine

```bash
python -m examples.gpu_check build/gpu                  # every part, 8 minutes at most
python -m examples.gpu_check build/gpu --device cpu     # the rehearsal: the same in small
```

It needs the repository and no network: large networks get random weights. Each part runs in a process of its own with
a time limit of its own. A part that crashes, does not fit or has no time left says so and costs only itself.
`build/gpu/gpu_check.json` has the results, with card, driver, versions, date and commit; `build/gpu/PART.log` has what
a part said. `--parts numerics,step_cost` runs some of them, `--seconds 200` shortens all. Where there is no git
repository, say which commit it is: `--commit SHA`.

A machine without a network, whose Python has torch, transformers, peft, accelerate, OpenCV, matplotlib and pytest with
xdist, needs a few wheels more. Fetch them elsewhere for its Python and system, and put them on its path:

```bash
pip download --no-deps --only-binary=:all: --python-version 3.12 --platform manylinux2014_x86_64 -d wheels \\
    diffusers open_clip_torch ftfy wcwidth pydantic pydantic_core annotated_types importlib_metadata
pip install --no-index --no-deps --target /tmp/site wheels/*.whl
PYTHONPATH=/tmp/site python -m examples.gpu_check build/gpu
```

`pydantic_core` must have the version that `pydantic` names. hpsv2, moviepy and imageio-ffmpeg may be missing.

These wheels do not include `av` (PyAV), which reads MP4 and other videos: reading videos is not part of the check on
such a machine. Where moviepy and imageio-ffmpeg are missing as well, clips are written as GIF, which Pillow reads; with
them but without `av` the clips are MP4, and scoring and comparing them fails.

To keep a result, copy it to `examples/gpu/CARD_DATE.json` and run `python -m examples.gpu_check.page`.
"""

INTRODUCTIONS = {
    "numerics": """The emoji world on the device against the CPU in float32: relative errors of a clip's latents and of
the adapter's gradient, the largest difference of a pixel (of 255) and of a drawn frame's reward. The authors' golden
numbers are held to 1e-10 in float64. Where the same seed does not give the same bits twice, the first operator that
differs is named.""",
    "main_job": """`ivideo finetune examples/prompts.txt --model emoji-world` with its held-out evaluation. Then a short
training without a break, the same again, and one that SIGTERM stops and `--resume` ends.""",
    "step_cost": """The ordinary trainer on ModelScope's networks at their published sizes (16 frames of 256 x 256, 20
steps, strength .6, reward HPSv2's ViT-H in float32), with random weights. `predicted_gib` is what
`examples/memory_budget.py` counts without a GPU. Phases are in seconds and come from a step of their own.""",
    "families": """The ordinary trainer on one clip (frames x height x width) of each model's networks at their released
sizes, in bfloat16 with random weights; the chain, the decoder's exact gradient, HPSv2's ViT-H in float32.
`predicted_gib` is what `examples/memory_video_models.py` counts without a GPU. The smaller networks come first; what
no time was left for is left out.""",
    "authors_step": """The authors' choices on the same weights, in turn with ours: guidance in two calls, the step and
its blocks both recomputed, all frames decoded. A ratio below 1 means that ours takes less.""",
    "where_time_goes": """One step of ModelScope at its real size under torch's profiler; its arithmetic against a large
bfloat16 product on the same card; the lines that make the host wait; batches, channels-last, `torch.compile`.""",
}


def read_kept(folder: Path = KEPT) -> list[dict[str, Any]]:
    """The results that are kept, newest first, GPUs before CPUs."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    newest = sorted(found, key=lambda one: one["machine"]["date"], reverse=True)
    return sorted(newest, key=lambda one: one["machine"]["device"] == "cpu")


def render(results: Sequence[dict[str, Any]]) -> str:
    """The page."""
    parts = (line for part in PARTS for line in render_part(part, results))
    return "\n".join([HEAD, *render_machines(results), *parts, HOW_TO])


def render_machines(results: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Where was measured."""
    yield "## Machines\n"
    if all(one["machine"]["device"] == "cpu" for one in results):
        yield NOT_MEASURED + "\n"
    if results:
        machines = [one["machine"] for one in results]
        yield render_table([{name: machine.get(name) for name in MACHINE} for machine in machines])


def render_part(part: Part, results: Sequence[dict[str, Any]]) -> Iterator[str]:
    """What every machine found in one part."""
    yield f"## {part.title}\n"
    yield INTRODUCTIONS[part.name] + "\n"
    found = [one for one in results if part.name in one["parts"]]
    if all(one["machine"]["device"] == "cpu" for one in found):
        yield NOT_MEASURED + "\n"
    for one in found:
        state, machine = one["parts"][part.name], one["machine"]
        ended = "" if state["state"] == "done" else f": {state['state']}, {state.get('why', 'no more was measured')}"
        yield f"**{machine['card']}**, {machine['date']}{ended}\n"
        for title, rows in state["tables"].items():
            yield f"{title[0].upper()}{title[1:]}:\n"
            yield render_table(rows)


def render_table(rows: Sequence[dict[str, Any]]) -> str:
    """A table in Markdown; columns are those of any row that has something in them."""
    named = dict.fromkeys(name for row in rows for name in row)
    columns = [name for name in named if any(row.get(name) is not None for row in rows)]
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    for row in rows:
        lines.append("| " + " | ".join(format_cell(row.get(name)).replace("|", "\\|") for name in columns) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the page."""
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(render(read_kept()), encoding="utf-8")
    print(PAGE)


if __name__ == "__main__":
    main()
