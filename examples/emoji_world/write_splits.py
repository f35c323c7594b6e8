"""Writes the prompt lists: the training prompts for people, the held-out ones into the package.

Run it by `python -m examples.emoji_world.write_splits`.
"""

from __future__ import annotations

from pathlib import Path

from .captions import splits

ROOT = Path(__file__).parents[2]
ABOUT = {
    "prompts": "Prompts to fine-tune on: 20 animals of the emoji world.",
    "heldout": "The training animals in captions that `examples/prompts.txt` does not have.",
    "new_animals": "Animals that `examples/prompts.txt` never names.",
    "things": "Things, no animals.",
}


def path_of(name: str) -> Path:
    """Where a split is kept."""
    if name == "prompts":
        return ROOT / "examples" / "prompts.txt"
    return ROOT / "ivideo" / "models" / "emoji_world" / "prompts" / f"{name}.txt"


def main() -> None:
    for name, prompts in splits().items():
        path_of(name).parent.mkdir(parents=True, exist_ok=True)
        path_of(name).write_text("\n".join([f"# {ABOUT[name]}", *prompts]) + "\n")


if __name__ == "__main__":
    main()
