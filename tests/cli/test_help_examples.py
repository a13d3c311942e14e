"""Every example of --help, and every pocketlens line of the README and docs/, is accepted by the real parsers."""

from __future__ import annotations

import argparse
import importlib
import re
import shlex
from functools import cache
from pathlib import Path

import pytest

from pocketlens.cli import _parse, main
from pocketlens.cli.terminal.options import recipe_changes
from pocketlens.cli.terminal.parser import ALIASES, COMMANDS, Parser
from pocketlens.datasets import component
from pocketlens.own_code import forget_code, name_typed
from pocketlens.recipe import Recipe, from_dict, read_recipe
from pocketlens.studies.overrides import pointwise, read_lists, read_variant
from pocketlens.studies.space import read_space

ROOT = Path(__file__).parent.parent.parent
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
OF_OTHERS = {"--nnodes", "--rdzv-endpoint", "--budget"}  # torchrun's, and of the scripts in reproductions/


def words_of(line: str) -> list[str]:
    """The words after `pocketlens` in a line of a shell; what follows three spaces is a comment."""
    command = re.split(r"\s{3,}", line.strip())[0]
    return shlex.split(command.replace(r"\|", "|"))  # in a table of Markdown, | is escaped


def parse(words: list[str]) -> argparse.Namespace:
    """The parsed words, with the texts in them checked as far as they can be without data or runs."""
    args = _parse(words)
    recipe = Recipe()
    if hasattr(args, "recipe"):
        changes = recipe_changes(args)
        name_typed(*changes.values())
        base = recipe if args.recipe is None else read_recipe(args.recipe)
        recipe = from_dict({**base.to_dict(), **changes}, "the recipe")
        recipe.check()
    if "(" in getattr(args, "dataset", ""):
        component(args.dataset)
    if words[0] == "compare":
        for text in set(args.recipes) - {"base", "A", "B"}:
            read_variant(text, recipe)
    if words[0] == "sweep":
        pointwise(recipe, read_lists(args.lists))
    if words[0] == "search":
        read_space(args.space, recipe)
    return args


@pytest.fixture(autouse=True)
def _own_components(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder holds the README's file of components, which its lines name."""
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```python\n(# mynet\.py\n.*?)```", DOCUMENTS[0].read_text(encoding="utf-8"), re.DOTALL)
    Path("mynet.py").write_text(block, encoding="utf-8")
    forget_code()


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_the_examples_of_help_parse(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"] if command else ["--help"]) == 0
    examples = capsys.readouterr().out.split("examples:")[1]
    lines = re.findall(r"^  (?:.*\| )?pocketlens (.+)$", examples, re.MULTILINE)
    assert len(lines) >= 2
    for line in lines:
        parse(words_of(line))


@cache
def options_of(command: str) -> set[str]:
    """The options of a command."""
    commands = Parser().add_subparsers()
    importlib.import_module(f"pocketlens.cli.{command.replace('-', '_')}").add(commands)
    return set(commands.choices[command].option_names())


def lines_of(text: str) -> list[str]:
    """What follows `pocketlens` in the blocks of a document, and in the marks ` within its sentences."""
    blocks = re.findall(r"^```(?!python).*?\n(.*?)^```|((?:^ {4}.*\n)+)", text, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in "\n".join(block).splitlines()]
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    lines += [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", prose)]
    matches = [re.match(r"(?:.*-m |\w+=\S+ )?pocketlens (?=[a-z])(.+?)(?:\s+#.*)?$", line.strip()) for line in lines]
    return [match[1] for match in matches if match]


def is_outline(line: str) -> bool:
    """Whether a line shows what a command may take, as [--repeat 5], or names no more than the command."""
    bare = re.sub(r"'[^']*'|\"[^\"]*\"", "", re.split(r"\s{3,}", line)[0])
    return re.search(r"\[|\.\.|…|\w\|\w", bare) is not None or len(line.split()) == 1


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_the_lines_of_the_documents_parse(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    options = {name: options_of(name) for name in COMMANDS}
    for line in lines_of(text):
        command = line.split()[0]
        named = set(re.findall(r"(?<!\S)\[?(--[\w-]+)", line))
        assert named <= options[ALIASES.get(command, command)], line
        if not is_outline(line):
            parse(words_of(line))
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    assert set(re.findall(r"`(--[\w-]+)", prose)) <= OF_OTHERS.union(*options.values())
