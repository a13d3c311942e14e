"""`pocketlens list KIND` prints what there is: components with their options, recipes, runs. Needs no torch."""

from __future__ import annotations

import argparse
from typing import Any

from pocketlens.api.show import KINDS, list_kind, list_kinds
from pocketlens.cli.terminal.options import add_runs, check_folders
from pocketlens.cli.terminal.parser import add_command
from pocketlens.display.screen import Screen

_EXAMPLES = ["pocketlens list models", "pocketlens list bodies", "pocketlens list runs --json"]


def add(commands: Any) -> None:
    """Adds the command."""
    parser = add_command(commands, "list", _EXAMPLES, show_list)
    about = f"one of {', '.join(KINDS)}; without it, an overview of all"
    parser.add_argument("kind", metavar="KIND", nargs="?", choices=KINDS, help=about)
    add_runs(parser)


def show_list(args: argparse.Namespace) -> int:
    """Runs the command."""
    check_folders(args)
    found = list_kinds(runs=args.runs) if args.kind is None else list_kind(args.kind, runs=args.runs)
    return Screen(args.json).show(found)
