"""`pocketlens explain RUN` writes a page that shows how the network responds to some images."""

from __future__ import annotations

import argparse
from typing import Any

from pocketlens.api.explain import explaining
from pocketlens.cli.terminal.opened import add_open, browser_of
from pocketlens.cli.terminal.options import add_code, add_place, add_runs, check_folders, count, seed
from pocketlens.cli.terminal.parser import add_command
from pocketlens.display.progress import follow
from pocketlens.display.screen import Screen

_EXAMPLES = [
    "pocketlens explain last                 the eight worst mistakes on the validation images",
    "pocketlens explain my-label --rows 3,14,15",
    "pocketlens explain last --worst 16 --json",
]


def add(commands: Any) -> None:
    """Adds the command."""
    parser = add_command(commands, "explain", _EXAMPLES, explain_command)
    add_runs(parser, named=True)
    add_code(parser)
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--rows",
        type=_rows,
        metavar="N,N,...",
        help="explain these images of the training and validation parts, by row number",
    )
    which.add_argument(
        "--worst",
        type=count,
        default=8,
        metavar="N",
        help="explain the N most confident mistakes on the validation images (default: %(default)s)",
    )
    add_place(parser)
    add_open(parser)


def explain_command(args: argparse.Namespace) -> int:
    """Runs the command."""
    screen = Screen(args.json)
    check_folders(args)
    with browser_of(args, screen) as browser:
        followed = follow(explaining(args.run, args.rows, args.worst, args.data, args.runs), screen)
        screen.show(followed.result)
        if followed.result is not None:
            browser.show(followed.result.page)
    return followed.exit_code


def _rows(text: str) -> list[int]:
    return [seed(part.strip()) for part in text.split(",")]
