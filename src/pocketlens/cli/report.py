"""`pocketlens report RUN` writes a run's page, `pocketlens report RUN RUN ...` one that shows runs side by side."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from pocketlens.api.report import reporting
from pocketlens.cli.terminal.opened import add_open, browser_of
from pocketlens.cli.terminal.options import add_code, add_place, add_runs, check_folders
from pocketlens.cli.terminal.parser import add_command
from pocketlens.display.progress import follow
from pocketlens.display.screen import Screen

_EXAMPLES = [
    "pocketlens report last                     the page of the newest run, and summary.png",
    "pocketlens report last --slim               a page without pictures, to be sent by mail",
    "pocketlens report baseline cutout mixup     compare three runs by their labels; with CSV, Markdown and LaTeX",
]


def add(commands: Any) -> None:
    """Adds the command."""
    parser = add_command(commands, "report", _EXAMPLES, report_command)
    parser.add_argument("run", metavar="RUN", nargs="+", help="a run's folder, its id, its label, or last")
    add_runs(parser)
    add_code(parser)
    add_place(parser)
    add_open(parser)
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument(
        "--slim",
        dest="page",
        action="store_const",
        const="slim",
        default="usual",
        help="a page without pictures, small enough to be sent by mail",
    )
    kinds.add_argument(
        "--features",
        dest="page",
        action="store_const",
        const="features",
        help="compute the features of all images for the map and for the nearest training images of mistakes, however "
        "long that takes (default: as many as take a few seconds)",
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="with several runs: folder for the files (default: the folder --runs)"
    )


def report_command(args: argparse.Namespace) -> int:
    """Runs the command."""
    screen = Screen(args.json)
    check_folders(args)
    with browser_of(args, screen) as browser:
        followed = follow(reporting(args.run, args.data, args.out, args.runs, args.page), screen)
        screen.show(followed.result)
        if followed.result is not None:
            browser.show(followed.result.path)
    return followed.exit_code
