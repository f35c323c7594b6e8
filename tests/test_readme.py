"""What README and guides tell people to type is understood, what they link to is there, and the README stays short."""

from __future__ import annotations

import ast
import importlib
import inspect
import operator
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import typer

import ivideo
from ivideo.cli.app import app
from ivideo.config.settings import FinetuneSettings, ScoreSettings

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
GUIDES = sorted((ROOT / "examples" / "guides").glob("*.md"))
PAGES = [README, *GUIDES]
MAX_WORDS = 900
PATH_IN_TEXT = re.compile(r"`((?:ivideo|examples|tests)/[\w/.]+\.(?:py|md|txt|toml))`")
NAME_IN_FILE = re.compile(r"`(\w+)`(?: and `(\w+)`)?\s+in\s+`(ivideo/[\w/]+\.py)`")


def read(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def find_blocks(text: str, *languages: str) -> list[str]:
    """The contents of the fenced blocks in one of the languages."""
    fences = re.findall(r"^```(\w+)[^\n]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [content for language, content in fences if language in languages]


def split_shell(text: str) -> list[list[str]]:
    """The words of each command in the shell blocks: joined lines, without comments, redirections and pipes."""
    commands = []
    for block in find_blocks(text, "bash", "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
            lexer.commenters, lexer.whitespace_split = "#", True
            command: list[str] = []
            for word in [*lexer, ";"]:
                if set(word) <= set("();<>|&"):
                    commands.append(command)
                    command = ["(redirected)"] if set(word) <= set("<>") else []
                else:
                    command.append(word)
    return [command for command in commands if command]


def find_commands(text: str) -> list[list[str]]:
    """What follows each `ivideo` or `... -m ivideo` in the shell blocks."""
    commands = []
    for command in split_shell(text):
        if command[0] == "ivideo":
            commands.append(command[1:])
        elif "-m" in command and command[command.index("-m") + 1] == "ivideo":
            commands.append(command[command.index("-m") + 2 :])
    return commands


def find_scripts(text: str) -> list[list[str]]:
    """Module and arguments of each `python -m examples...`, in shell blocks and in the text."""
    inline = [shlex.split(command) for command in re.findall(r"`(python\s+-m\s+examples\.[^`]+)`", text)]
    return [c[2:] for c in [*split_shell(text), *inline] if c[:2] == ["python", "-m"] and c[2].startswith("examples.")]


def find_links(text: str) -> list[str]:
    """Where links and pictures lead, but for those to other sites."""
    return [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]


def anchors_of(text: str) -> set[str]:
    """The headings as links name them."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def find_calls(text: str) -> Iterator[ast.Call]:
    """The calls of `ivideo...` in the Python blocks."""
    for block in find_blocks(text, "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("ivideo."):
                yield node


COMMANDS = [(page, command) for page in PAGES for command in find_commands(read(page))]
SCRIPTS = [(page, script) for page in PAGES for script in find_scripts(read(page))]
CALLS = [(page, call) for page in PAGES for call in find_calls(read(page))]


def label(value: Any) -> str:
    if isinstance(value, Path):
        return value.stem
    return ast.unparse(value) if isinstance(value, ast.AST) else " ".join(map(str, value))


def test_commands_are_found() -> None:
    shell = 'pip i . && ivideo a "b c" \\\n  --d | ivideo e - > f  # g\nivideo h < i\nrun --n 2 -m ivideo j\n'
    text = f"```bash\n{shell}```\n```text\nivideo no\n```"
    assert find_commands(text) == [["a", "b c", "--d"], ["e", "-"], ["h"], ["j"]]
    text = "```bash\npython -m examples.a b  # c\npython -m pip d\n```\nand `python -m no`, `python -m examples.e --f`"
    assert find_scripts(text) == [["examples.a", "b"], ["examples.e", "--f"]]


def test_the_readme_shows_every_command() -> None:
    assert {command[0] for page, command in COMMANDS if page == README} >= {"finetune", "generate", "score", "compare"}


def test_the_readme_is_short_and_begins_with_the_two_set_up_commands() -> None:
    text = read(README)
    assert len(text.split()) <= MAX_WORDS
    assert [block.strip() for block in find_blocks(text, "bash")[:2]] == [
        "pip install -e . && ivideo finetune examples/prompts.txt --model emoji-world",
        "pip install -e '.[test]' && pytest",
    ]


def test_the_readme_has_one_picture() -> None:
    assert re.findall(r"!\[[^\]]*\]\(([^)]+)\)", read(README)) == ["examples/images/before_after.gif"]


def test_every_guide_is_linked_from_the_readme() -> None:
    assert len(GUIDES) >= 10
    assert {name_of(guide) for guide in GUIDES} <= set(find_links(read(README)))


def test_every_picture_is_shown_somewhere() -> None:
    shown = {(page.parent / link).resolve() for page in PAGES for link in find_links(read(page))}
    assert set((ROOT / "examples" / "images").iterdir()) <= shown


@pytest.mark.parametrize(("page", "command"), COMMANDS, ids=label)
def test_a_command_parses(page: Path, command: Sequence[str]) -> None:
    group = typer.main.get_command(app)
    if command[0].startswith("-"):
        assert command[0] in {option for parameter in group.params for option in parameter.opts} | {"--help", "-h"}
        return
    name, *arguments = command
    assert name in group.commands
    group.commands[name].make_context(name, arguments)


@pytest.mark.parametrize("command", [["generate", "--nonsense"], ["score"], ["finetune", "p.txt", "--max-steps", "x"]])
def test_a_wrong_command_would_be_noticed(command: list[str]) -> None:
    with pytest.raises(Exception, match=r"No such option|Missing argument|valid integer|Missing parameter"):
        test_a_command_parses(README, command)


@pytest.mark.parametrize(("page", "script"), SCRIPTS, ids=label)
def test_a_script_of_the_examples_is_there_and_has_the_options(page: Path, script: Sequence[str]) -> None:
    module, *arguments = script
    path = ROOT / module.replace(".", "/")
    home = path / "__main__.py" if path.is_dir() else path.with_suffix(".py")
    assert home.is_file()
    code = "".join(read(file) for file in [home, *home.parent.glob("*.py")])
    assert [word for word in arguments if word.startswith("--") and f'"{word}"' not in code] == []


@pytest.mark.parametrize(("page", "call"), CALLS, ids=label)
def test_a_python_call_is_of_what_there_is(page: Path, call: ast.Call) -> None:
    importlib.import_module("ivideo.api")
    function = operator.attrgetter(ast.unparse(call.func).removeprefix("ivideo."))(ivideo)
    parameters = inspect.signature(function).parameters
    settings = {*FinetuneSettings.model_fields, *ScoreSettings.model_fields, "preset"}
    takes_settings = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    known = {*parameters, *(settings if takes_settings else ())}
    assert {keyword.arg for keyword in call.keywords} <= known


def test_the_python_of_the_readme_calls_what_people_need() -> None:
    called = {ast.unparse(call.func) for page, call in CALLS if page == README}
    assert called == {"ivideo.finetune", "ivideo.generate", "ivideo.score", "ivideo.compare"}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    for link in find_links(read(page)):
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.is_relative_to(ROOT), link
        assert target.exists(), link
        assert not anchor or anchor in anchors_of(read(target)), link


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_files_and_names_in_the_text_exist(page: Path) -> None:
    text = read(page)
    assert [path for path in PATH_IN_TEXT.findall(text) if not (ROOT / path).is_file()] == []
    for *names, path in NAME_IN_FILE.findall(text):
        module = importlib.import_module(path.removesuffix(".py").replace("/", "."))
        assert [name for name in names if name and not hasattr(module, name)] == [], path


def test_contributing_names_files_for_models_rewards_metrics_and_settings() -> None:
    contributing = read(README).partition("## Contributing")[2]
    items = re.findall(r"^- \*\*(.+?)\*\*(.*?)(?=^- |^$)", contributing, re.MULTILINE | re.DOTALL)
    assert [name for name, _ in items] == ["A model", "A reward model", "A metric", "A setting"]
    for name, text in items:
        assert len(text.strip().splitlines()) <= 3, name
        assert NAME_IN_FILE.search(text), name
