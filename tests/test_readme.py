"""What the README tells people to type is understood."""

from __future__ import annotations

import ast
import inspect
import re
import shlex
from pathlib import Path

import pytest
import typer

import ivideo
from ivideo.cli.app import app
from ivideo.config.settings import FinetuneSettings

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def find_blocks(text: str, *languages: str) -> list[str]:
    """The contents of the fenced blocks in one of the languages."""
    fences = re.findall(r"^```(\w+)[^\n]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [content for language, content in fences if language in languages]


def find_commands(text: str) -> list[list[str]]:
    """The words of each `ivideo ...` in the shell blocks: joined lines, without comments, redirections and pipes."""
    commands = []
    for block in find_blocks(text, "bash", "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
            lexer.commenters = "#"
            command: list[str] = []
            for word in [*lexer, ";"]:
                if set(word) <= set("();<>|&"):
                    commands.append(command)
                    command = ["(redirected)"] if set(word) <= set("<>") else []
                else:
                    command.append(word)
    return [command[1:] for command in commands if command[:1] == ["ivideo"]]


COMMANDS = find_commands(README)


def test_commands_are_found() -> None:
    shell = 'pip i . && ivideo a "b c" \\\n  --d | ivideo e - > f  # g\nivideo h < i\n'
    text = f"```bash\n{shell}```\n```text\nivideo no\n```"
    assert find_commands(text) == [["a", "b c", "--d"], ["e", "-"], ["h"]]


def test_the_readme_shows_every_command() -> None:
    assert {command[0] for command in COMMANDS} >= {"finetune", "generate", "score", "compare"}


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_command_of_the_readme_parses(command: list[str]) -> None:
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
        test_a_command_of_the_readme_parses(command)


def test_the_python_of_the_readme_calls_what_there_is() -> None:
    calls = [
        node
        for block in find_blocks(README, "python")
        for node in ast.walk(ast.parse(block))
        if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("ivideo.")
    ]
    assert {ast.unparse(call.func) for call in calls} >= {"ivideo.finetune", "ivideo.generate", "ivideo.score"}
    for call in calls:
        function = getattr(ivideo, ast.unparse(call.func).removeprefix("ivideo."))
        known = {*inspect.signature(function).parameters, *FinetuneSettings.model_fields, "preset"}
        assert {keyword.arg for keyword in call.keywords} <= known
