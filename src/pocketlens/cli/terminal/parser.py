"""The parser of the command line, and what each command is for; --help lists them without importing any."""

from __future__ import annotations

import argparse
import re
import textwrap
from collections.abc import Callable
from typing import Any, NoReturn

from pocketlens.errors import PocketlensError

COMMANDS = {  # each is a file of the folder cli, in the order in which --help lists them
    "auto": (
        "do everything: audit the data, compare and search recipes, train on all training and validation "
        "images, test once, write a report; the same command resumes an unfinished session"
    ),
    "look": "audit a data set for duplicates, outliers, label issues and more; writes an HTML page, JSON and CSV",
    "review": (
        "open a local page to decide on what look found: keep, correct or drop, one image after another; every "
        "decision is saved at once, for train --relabel"
    ),
    "train": "train a recipe on the training images and score it on the validation images",
    "compare": "train recipes with the same seeds and say which is better, or that more repeats are needed to tell",
    "sweep": "vary the values of a base recipe, one at a time or in a grid, and compare every variant with the base",
    "search": "search hyperparameters, train the best recipes again with new seeds, and estimate the selection bias",
    "transfer": (
        "compare training from a run's weights (body frozen, partly frozen, or all trained) with "
        "training from scratch, at equal cost"
    ),
    "study": "continue a study (compare, sweep, search or transfer) that was stopped or killed, or list all studies",
    "lr-range": (
        "learning-rate range test: raise the rate at every step until the training loss diverges, and suggest a rate; "
        "saves no run"
    ),
    "resume": "continue a run that was stopped or killed, or train a finished run for more epochs",
    "refit": "retrain the recipe of a finished run on its training and validation images together",
    "features": "fit a linear probe, random forest or nearest neighbours on the features of a run or a pretrained body",
    "reproduce": "train a run again and say whether the result is byte-identical, within seed noise, or different",
    "test": "score a run on the sealed test set; every opening is recorded in a ledger",
    "open": (
        "show all runs, studies, sessions of auto and looks of a folder on a local page, and follow trainings there "
        "while they run"
    ),
    "report": "write the report of a run as one self-contained HTML page, or a page that compares several runs",
    "explain": "write a page that shows a network's feature maps, filters, class activation maps and deep features",
    "robustness": (
        "measure a run's accuracy on validation images under 15 corruptions (noise, blur, weather, digital)"
    ),
    "predict": "predict the classes of image files",
    "export": "write a model as one file, with a model card",
    "serve": "serve a model as a local web page that classifies the images you drop on it, and as a JSON API",
    "list": "list data sets, models and other components with their options, recipes, or runs",
    "show": "print the layers of a model, or the settings and scores of a run",
}
ALIASES = {"audit": "look"}


class Parser(argparse.ArgumentParser):
    """argparse, whose complaints are PocketlensErrors."""

    def error(self, message: str) -> NoReturn:
        """Raises what argparse would print."""
        raise PocketlensError(f"{_plain(message)} See: {self.prog} --help")

    def section(self, title: str) -> argparse._ArgumentGroup:
        """The section of --help with this title; sections come after the command's own options."""
        sections = {section.title: section for section in self._action_groups}
        return sections.get(title) or self.add_argument_group(title)

    def option_names(self) -> list[str]:
        """All options of this command."""
        return [name for action in self._actions for name in action.option_strings]


def add_summaries(commands: Any) -> None:
    """Every command with its line in --help, and without its options."""
    for name, about in COMMANDS.items():
        commands.add_parser(name, help=about, aliases=[alias for alias, of in ALIASES.items() if of == name])


def add_command(commands: Any, name: str, examples: list[str], run: Callable[..., int]) -> Parser:
    """A command with its help, its examples and `--json`."""
    about = COMMANDS[name]
    parser: Parser = commands.add_parser(
        name,
        aliases=[alias for alias, of in ALIASES.items() if of == name],
        help=about,
        description=textwrap.fill(about[0].upper() + about[1:] + ".", 100),
        epilog="examples:\n" + "\n".join(f"  {example}" for example in examples),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.set_defaults(command=run)
    parser.add_argument(
        "--json", action="store_true", help="print the result as one JSON object; progress goes to standard error"
    )
    return parser


def _plain(message: str) -> str:
    """argparse's complaint as a sentence of ours."""
    message = message.removeprefix("argument ").replace(": must be ", " must be ", 1)
    choice = re.match(r"(.+): invalid choice: (.+) \(choose from (.+)\)$", message)
    if choice:
        name, given, known = choice.groups()
        return f"{name} must be one of {known.replace(chr(39), '')}, got {given}."
    missing = re.match(r"the following arguments are required: (.+)$", message)
    if missing:
        return f"{missing.group(1)} must be given."
    return message if message.endswith(".") else message + "."
